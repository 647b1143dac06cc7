"""Rewrites the rows of earlier versions in the present form.

Every version reads the rows of all earlier ones, so no run needs this. It prepares a store for a later
version that no longer reads an early form.

Rule: a run is claimed before its rows are rewritten, and one whose owner is alive is left alone.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from actors.core.errors import FencedError, StoreError
from actors.core.journal import keys
from actors.core.journal.batch import CheckedCodec, WriteBatch, range_of
from actors.core.journal.format import check_format, raise_format
from actors.core.journal.rows import INCOMPLETE, RUNNING
from actors.core.journal.turn import Observed
from actors.core.messages.journal import RunView
from actors.journal.stores.base import Store, key_text
from cluster.backup.forms import FORMS
from cluster.backup.rows import known_answers, paged
from cluster.records.owner_watch import Sign, watched
from cluster.records.reading import all_runs
from cluster.records.records import CODEC

_MOST_ROWS = 1_000  # in one commit


@dataclass(slots=True)
class Migrated:
    """The format of the rows before, the rewritten rows by run ("" for shared answers), and the runs left."""

    was: int
    rows: dict[str, int] = field(default_factory=dict)
    kept: list[tuple[str, str]] = field(default_factory=list)


class Migrator:
    """Migrates the rows of `store`. `lease_of` returns the lease of a run's owner, in seconds."""

    def __init__(
        self,
        store: Store,
        lease_of: Callable[[RunView], float],
        *,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._lease_of = lease_of
        self._pause = pause
        self._clock = clock
        self._codec = CheckedCodec(CODEC)
        self._me = f"migrate:{secrets.token_hex(6)}".encode()

    def migrate(self, *, dry_run: bool) -> Migrated:
        """Rewrite the rows of all runs without a live owner, and of the shared answers."""
        done = Migrated(check_format(self._store))
        for run in all_runs(self._store):
            count = sum(1 for _ in self._old_rows(run.run_id))
            if not count:
                continue
            why = self._claim(run, dry_run=dry_run)
            if why:
                done.kept.append((run.run_id, why))
                continue
            done.rows[run.run_id] = count
            if not dry_run:
                self._rewrite(self._old_rows(run.run_id), {keys.writer(run.run_id): self._me})
        shared = sum(1 for _ in self._old(known_answers(self._store)))
        if shared:
            done.rows[""] = shared
        if not dry_run:
            self._rewrite(self._old(known_answers(self._store)), {})
            self._store.commit(raise_format(self._store))
        return done

    def _old_rows(self, run_id: str) -> Iterator[tuple[bytes, bytes]]:
        for kind in FORMS:
            if kind != keys.KNOWN_ANSWERS[0]:
                yield from self._old(paged(self._store, *range_of(bytes((kind,)) + keys.part(run_id))))

    def _old(self, rows: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """Yield the keys of the rows in an earlier form, each with its present form."""
        for key, value in rows:
            try:
                present = FORMS[key[0]](self._codec, value)
            except (TypeError, ValueError, LookupError) as error:
                raise StoreError(
                    f"the store is damaged: the row {key_text(key)} has no form of any version "
                    f"({type(error).__name__}: {error}). Restore its run from a backup, or remove it with "
                    "`prune`"
                ) from error
            if present != value:
                yield key, present

    def _claim(self, run: RunView, *, dry_run: bool) -> str:
        """Claim a run, or return why it is left as it is."""
        if run.state in INCOMPLETE:
            return f"its state is {run.state}: `prune {run.run_id}` removes it"
        writer = keys.writer(run.run_id)
        fences = {writer: self._store.get(writer)}
        if run.state == RUNNING:
            sign, seen = self._watched(run)
            if sign is not Sign.SILENT:
                return "it is running, or its owner could not be watched: stop it and repeat the command"
            fences = {writer: seen.writer, keys.heartbeat(run.run_id): seen.heartbeat}
        if not dry_run:
            try:
                self._store.commit(WriteBatch({writer: self._me}, (), fences))
            except FencedError:
                return "another process has just opened it: stop it and repeat the command"
        return ""

    def _watched(self, run: RunView) -> tuple[Sign, Observed]:
        return watched(self._store, run.run_id, self._lease_of(run), pause=self._pause, clock=self._clock)

    def _rewrite(self, rows: Iterator[tuple[bytes, bytes]], fences: Mapping[bytes, bytes | None]) -> None:
        puts: dict[bytes, bytes] = {}
        for key, value in rows:
            puts[key] = value
            if len(puts) >= _MOST_ROWS:
                self._store.commit(WriteBatch(puts, (), fences))
                puts = {}
        if puts:
            self._store.commit(WriteBatch(puts, (), fences))
