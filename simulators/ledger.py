"""The ledger of an endpoint: one line for each request, independent of what the client records.

The ledger shares no code and no storage with the records that it is compared to. Only `Sums` adds entries up,
so that a running simulator and its file report the same.

Rule 1: an entry is written once, when its request has ended, and never changed.
Rule 2: lines are buffered for up to `FLUSH_S`. An orderly end loses none; a crash loses those in the buffer.
"""

from __future__ import annotations

import asyncio
import enum
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import msgspec

FLUSH_S: Final = 0.05


class Phase(enum.StrEnum):
    """How far a request came."""

    RECEIVED = "received"  # read; the connection was reset before any work
    REFUSED = "refused"  # refused with an HTTP status before any work
    STARTED = "started"  # admitted; the work did not end
    FINISHED = "finished"  # worked on and billed; the answer was dropped by a fault
    SENT = "sent"  # worked on, billed and answered
    CLIENT_GONE = "client_gone"  # the client left before it had the answer
    REPLAYED = "replayed"  # answered with the result of an equal request, not billed


class LedgerEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request. Times are seconds since the epoch.

    `attempt` numbers the requests with this key from 1. `status` is 0 if none was sent. `in_flight` is the
    number of admitted requests at its arrival, including itself if it was admitted. `billed` is 0 or 1; the
    tokens are 0 if it is 0. `cached_tokens` and `reasoning_tokens` are parts of the input and of the output.
    `retry_after` is the header that was sent. `not_before_violated`: the request
    came before the time that an earlier refusal had named. `body` begins the SHA-256 of the request's body.
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
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(slots=True)
class Sums:
    """The sums of entries. Holds every key once, about 200 bytes each."""

    requests: int = 0
    billed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    refused: int = 0
    replayed: int = 0
    max_in_flight: int = 0
    retry_after_violations: int = 0
    by_status: Counter[int] = field(default_factory=Counter)
    by_fault: Counter[str] = field(default_factory=Counter)
    keys: set[str] = field(default_factory=set)

    def add(self, entry: LedgerEntry) -> None:
        """Add an entry."""
        self.requests += 1
        self.billed += entry.billed
        self.input_tokens += entry.input_tokens
        self.output_tokens += entry.output_tokens
        self.cached_tokens += entry.cached_tokens
        self.reasoning_tokens += entry.reasoning_tokens
        self.refused += entry.phase is Phase.REFUSED
        self.replayed += entry.phase is Phase.REPLAYED
        self.max_in_flight = max(self.max_in_flight, entry.in_flight)
        self.retry_after_violations += entry.not_before_violated
        self.by_status[entry.status] += 1
        if entry.fault is not None:
            self.by_fault[entry.fault] += 1
        self.keys.add(entry.key)

    def as_dict(self) -> dict[str, Any]:
        """Return the sums as a JSON document; ``GET /stats`` begins with it."""
        return {
            "requests": self.requests,
            "billed": self.billed,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cached_tokens": self.cached_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "refused": self.refused,
            "replayed": self.replayed,
            "distinct_keys": len(self.keys),
            "max_in_flight": self.max_in_flight,
            "retry_after_violations": self.retry_after_violations,
            "by_status": {str(status): n for status, n in sorted(self.by_status.items())},
            "by_fault": dict(sorted(self.by_fault.items())),
        }


class LedgerWriter:
    """Adds entries up and appends them to a file, if there is one. Belongs to one event loop."""

    def __init__(self, path: Path | None) -> None:
        self.sums = Sums()
        self._file: BinaryIO | None = None if path is None else _open(path)
        self._buffer: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, entry: LedgerEntry) -> None:
        """Add `entry`, and write it within `FLUSH_S`."""
        self.sums.add(entry)
        if self._file is None:
            return
        self._buffer.append(msgspec.json.encode(entry))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Write the buffer to the file, for readers of the file."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._file is not None and self._buffer:
            lines, self._buffer = self._buffer, []
            self._file.write(b"\n".join(lines) + b"\n")
            self._file.flush()

    def close(self) -> None:
        """Write the buffer and close the file. May be called after the loop has ended."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger that was read. `torn` is the number of lines that a crash cut off."""

    entries: tuple[LedgerEntry, ...]
    torn: int

    def sums(self) -> Sums:
        """Return the sums of the entries."""
        sums = Sums()
        for entry in self.entries:
            sums.add(entry)
        return sums

    def by_key(self) -> dict[str, list[LedgerEntry]]:
        """Return the entries of each key, in the order in which they ended."""
        groups: dict[str, list[LedgerEntry]] = {}
        for entry in self.entries:
            groups.setdefault(entry.key, []).append(entry)
        return groups


def read_ledger(path: Path | str) -> Ledger:
    """Return the entries of a file. Raises `OSError`, and `ValueError` if a complete line is not an entry."""
    entries: list[LedgerEntry] = []
    torn = 0
    decode = msgspec.json.Decoder(LedgerEntry).decode
    for line in Path(path).read_bytes().splitlines():
        try:
            entries.append(decode(line))
        except msgspec.ValidationError as error:
            raise ValueError(f"not an entry of a ledger: {line[:200]!r}: {error}") from error
        except msgspec.DecodeError:
            torn += 1
    return Ledger(tuple(entries), torn)


def _open(path: Path) -> BinaryIO:
    file = path.open("a+b")
    if file.seek(0, os.SEEK_END):
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            # A crash may leave half a line. The first new entry would become a part of it.
            file.write(b"\n")
    return file
