"""What an endpoint did, one line per request: the other side of the client's books.

The ledger shares no code and no storage with what it is compared to. `Sums` is the only place that adds
entries up, so what a running simulator reports and what its file adds up to are equal by construction.

Rule 1: an entry is written once, when its request has ended, and never changed.
Rule 2: lines are buffered for up to `FLUSH_S`; a clean end loses none, a crash loses those.
"""

from __future__ import annotations

import asyncio
import enum
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, Self

import orjson

FLUSH_S: Final = 0.05


class Phase(enum.StrEnum):
    """How far a request came."""

    RECEIVED = "received"  # read, and its connection dropped before any work
    REFUSED = "refused"  # turned away with an HTTP status before any work
    STARTED = "started"  # let in, but the work never ended
    FINISHED = "finished"  # worked on and billed, and its answer dropped on purpose
    SENT = "sent"  # worked on, billed and answered
    CLIENT_GONE = "client_gone"  # nobody was there to take the answer
    REPLAYED = "replayed"  # answered from an equal request's work, at no charge


class Entry(NamedTuple):
    """One request. Times are seconds since the epoch.

    `attempt` counts the requests with this key from 1; `status` is 0 where no status was sent; `in_flight`
    is the number of admitted requests as it came in, itself included where it was admitted; `billed` is 0 or
    1, and the tokens are 0 where it is 0; `retry_after` is the header that was sent;
    `not_before_violated` says that it came before the time that an earlier refusal had asked to wait for;
    `body` is the beginning of the SHA-256 of the request's body.
    """

    seq: int
    t_in: float
    t_out: float
    key: str
    attempt: int
    phase: Phase
    status: int
    fault: str | None
    input_tokens: int
    output_tokens: int
    billed: int
    in_flight: int
    retry_after: str | None
    not_before_violated: bool
    body: str


@dataclass(slots=True)
class Sums:
    """Entries, added up. Holds every key once, about 200 bytes each."""

    requests: int = 0
    billed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    refused: int = 0
    replayed: int = 0
    max_in_flight: int = 0
    retry_after_violations: int = 0
    by_status: Counter[int] = field(default_factory=Counter)
    by_fault: Counter[str] = field(default_factory=Counter)
    keys: set[str] = field(default_factory=set)

    def add(self, entry: Entry) -> None:
        """Count one more entry."""
        self.requests += 1
        self.billed += entry.billed
        self.input_tokens += entry.input_tokens
        self.output_tokens += entry.output_tokens
        self.refused += entry.phase is Phase.REFUSED
        self.replayed += entry.phase is Phase.REPLAYED
        self.max_in_flight = max(self.max_in_flight, entry.in_flight)
        self.retry_after_violations += entry.not_before_violated
        self.by_status[entry.status] += 1
        if entry.fault is not None:
            self.by_fault[entry.fault] += 1
        self.keys.add(entry.key)

    def as_dict(self) -> dict[str, Any]:
        """Return the sums as a JSON document, the same that ``GET /stats`` begins with."""
        return {
            "requests": self.requests,
            "billed": self.billed,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "refused": self.refused,
            "replayed": self.replayed,
            "distinct_keys": len(self.keys),
            "max_in_flight": self.max_in_flight,
            "retry_after_violations": self.retry_after_violations,
            "by_status": {str(status): n for status, n in sorted(self.by_status.items())},
            "by_fault": dict(sorted(self.by_fault.items())),
        }


class LedgerWriter:
    """Adds entries up, and appends them to a file where there is one. Lives on one event loop."""

    def __init__(self, path: Path | None) -> None:
        self.sums = Sums()
        self._file: BinaryIO | None = None if path is None else _open(path)
        self._buffer: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, entry: Entry) -> None:
        """Count `entry`, and write it within `FLUSH_S`."""
        self.sums.add(entry)
        if self._file is None:
            return
        self._buffer.append(orjson.dumps(entry._asdict(), option=orjson.OPT_APPEND_NEWLINE))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Write what is buffered, so that a reader of the file sees it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._file is not None and self._buffer:
            lines, self._buffer = self._buffer, []
            self._file.write(b"".join(lines))
            self._file.flush()

    def close(self) -> None:
        """Write what is buffered and let go of the file. May be called after the loop has ended."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger that was read. `torn` counts lines that a crash cut off."""

    entries: tuple[Entry, ...]
    torn: int

    def sums(self) -> Sums:
        """Return the entries added up."""
        sums = Sums()
        for entry in self.entries:
            sums.add(entry)
        return sums

    def by_key(self) -> dict[str, list[Entry]]:
        """Return the entries of each key, in the order in which they ended."""
        groups: dict[str, list[Entry]] = {}
        for entry in self.entries:
            groups.setdefault(entry.key, []).append(entry)
        return groups


def read_ledger(path: Path | str) -> Ledger:
    """Return what the file holds. Raises `OSError`, and `ValueError` where a whole line is no entry."""
    entries: list[Entry] = []
    torn = 0
    for line in Path(path).read_bytes().splitlines():
        try:
            fields = orjson.loads(line)
        except orjson.JSONDecodeError:
            torn += 1
            continue
        try:
            entries.append(Entry(**{**fields, "phase": Phase(fields["phase"])}))
        except (TypeError, KeyError) as error:
            raise ValueError(f"not an entry of a ledger: {line[:200]!r}") from error
    return Ledger(tuple(entries), torn)


def _open(path: Path) -> BinaryIO:
    file = path.open("a+b")
    if file.seek(0, os.SEEK_END):
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            # A process that crashed left half a line; without this the first new entry would be lost with it.
            file.write(b"\n")
    return file
