"""Restores runs into a store of any kind.

Rule 1: a run is restored under a new writer, which every commit has as a fence, so that no earlier owner can
    write to it. It has no heartbeat: no process runs it.
Rule 2: until all rows of a run are there, its state refuses to open it. A run of a few rows is one commit.
Rule 3: a run whose owner is alive is not replaced.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from actors.core.errors import ConfigError, RunTakenError
from actors.core.journal import keys
from actors.core.journal.batch import CheckedCodec, WriteBatch, range_of
from actors.core.journal.format import raise_format
from actors.core.journal.rows import INCOMPLETE, INTERRUPTED, RESTORING, RUNNING, dump_run, load_run
from actors.core.messages.journal import RunView
from actors.journal.stores.base import Store
from cluster.backup.file_format import Row
from cluster.records.prune import Pruner
from cluster.records.records import CODEC

_CODEC = CheckedCodec(CODEC)
_MOST_ROWS = 5_000  # in one commit
_MOST_BYTES = 4 << 20
_SHOWN = 5


def is_same_store(one: Store, other: Store) -> bool:
    """Return whether both are one database, by whatever path or URL each was opened.

    A row written by one is looked for in the other, and removed. It belongs to no run.
    """
    key, value = keys.heartbeat(f"probe-{secrets.token_hex(8)}"), b"1"
    one.commit(WriteBatch({key: value}))
    try:
        return other.get(key) is not None
    finally:
        one.commit(WriteBatch(deletions=(range_of(key),)))


@dataclass(slots=True)
class _Part:
    """Rows of one commit."""

    puts: dict[bytes, bytes] = field(default_factory=dict)
    size: int = 0

    def add(self, key: bytes, value: bytes) -> bool:
        """Add a row. Return whether the part is full."""
        self.puts[key] = value
        self.size += len(key) + len(value)
        return len(self.puts) >= _MOST_ROWS or self.size >= _MOST_BYTES


class Restorer:
    """Restores runs into `store`. `lease_of` returns the lease of a run's owner, in seconds."""

    def __init__(
        self,
        store: Store,
        lease_of: Callable[[RunView], float],
        *,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._pruner = Pruner(store, lease_of, unfinished=True, pause=pause, clock=clock)
        self._me = f"restore:{secrets.token_hex(6)}".encode()

    def restore(self, run_ids: Sequence[str], rows: Iterable[Row], *, replaces: bool) -> int:
        """Restore these runs. `rows` are theirs in the order of a backup. Return how many were written.

        Raises `ConfigError` if one of the runs exists and `replaces` is false, and `RunTakenError` if the
        owner of one that exists is alive. Then nothing was changed.
        """
        self._make_room(run_ids, replaces=replaces)
        self._store.commit(raise_format(self._store))
        count = 0
        run: _RestoredRun | None = None
        shared = _Part()
        for key, value in rows:
            run_id = keys.run_of(key)
            if run is not None and run.run_id != run_id:
                run.finish()
                run = None
            if run_id is None:
                if self._store.get(key) is not None:
                    continue  # the first stored answer stands
                if shared.add(key, value):
                    self._store.commit(WriteBatch(shared.puts))
                    shared = _Part()
            elif run is None:
                run = _RestoredRun(self._store, self._me, run_id, value)
            else:
                run.add(key, value)
            count += 1
        if run is not None:
            run.finish()
        self._store.commit(WriteBatch(shared.puts))
        return count

    def conflicts(self, run_ids: Sequence[str]) -> list[str]:
        """Return which of these runs exist and are complete."""
        return [run_id for run_id in run_ids if self._state(run_id) not in (None, *INCOMPLETE)]

    def _make_room(self, run_ids: Sequence[str], *, replaces: bool) -> None:
        existing = [run_id for run_id in run_ids if self._state(run_id) is not None]
        if not replaces and (conflicts := self.conflicts(existing)):
            more = f" and {len(conflicts) - _SHOWN:,} more" if len(conflicts) > _SHOWN else ""
            raise ConfigError(
                f"the store has these runs: {', '.join(conflicts[:_SHOWN])}{more}. Nothing was changed. "
                "--replace removes them and restores those of the backup"
            )
        kept = self._pruner.prune_named(existing, or_none=True).kept
        if kept:
            run, why = kept[0]
            raise RunTakenError(f"run {run.run_id} is not replaced: {why}. Stop it first")

    def _state(self, run_id: str) -> str | None:
        data = self._store.get(keys.run(run_id))
        return None if data is None else load_run(_CODEC, data).state


class _RestoredRun:
    """A run that is being restored. `value` is the row of the run."""

    def __init__(self, store: Store, me: bytes, run_id: str, value: bytes) -> None:
        self.run_id = run_id
        self._store = store
        self._me = me
        self._is_claimed = False
        self._part = _Part()
        row = load_run(_CODEC, value)
        self._restoring = dump_run(_CODEC, replace(row, state=RESTORING))
        # Its owner is not restored. As an interrupted run it is resumed without waiting for a lease.
        is_running = row.state == RUNNING
        self._whole = dump_run(_CODEC, replace(row, state=INTERRUPTED)) if is_running else value

    def add(self, key: bytes, value: bytes) -> None:
        """Add a row. Commits many of them at once."""
        if self._part.add(key, value):
            self._commit(self._restoring)
            self._part = _Part()

    def finish(self) -> None:
        """Commit what is left, and the state of the run."""
        self._commit(self._whole)

    def _commit(self, row: bytes) -> None:
        writer = keys.writer(self.run_id)
        fences = {writer: self._me if self._is_claimed else None}
        puts = {**self._part.puts, keys.run(self.run_id): row, writer: self._me}
        self._store.commit(WriteBatch(puts, (), fences))
        self._is_claimed = True
