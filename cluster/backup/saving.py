"""Writes a backup of a store, also while its runs are in progress."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.core.errors import ConfigError, RunTakenError
from actors.core.journal.batch import KeyReader
from actors.core.journal.format import OLDEST, check_format
from actors.core.journal.rows import INCOMPLETE, RUNNING
from actors.core.messages.journal import RunView
from actors.journal.stores.base import Store
from cluster.backup.file_format import BackupError, BackupWriter, Row
from cluster.backup.rows import known_answers, rows_of_all_runs, rows_of_runs
from cluster.program import COMMAND, VERSION
from cluster.records.owner_watch import Sign, watched
from cluster.records.reading import all_runs
from cluster.records.records import found_run
from cluster.report.tables.targets import LocalPart

_PRIVATE = 0o600  # a backup holds prompts and answers, as a store does


@dataclass(slots=True)
class Content:
    """The complete runs of a snapshot that are wanted: all, or the named ones.

    `running` are those in progress or killed, `in_clear` those whose configuration has the first format.
    `lacking` are left out: they lack rows, as they are being removed or restored.
    """

    runs: list[str]
    running: list[str]
    in_clear: list[str]
    lacking: list[str]
    is_all: bool

    @classmethod
    def of(cls, snapshot: KeyReader, run_ids: Sequence[str]) -> Content:
        """Find the runs. Raises `ConfigError` if a named run lacks rows."""
        content = cls([], [], [], [], not run_ids)
        for row in rows_of_all_runs(snapshot):
            if run_ids and row.run_id not in run_ids:
                continue
            if row.state in INCOMPLETE:
                content.lacking.append(row.run_id)
                continue
            content.runs.append(row.run_id)
            if row.state == RUNNING:
                content.running.append(row.run_id)
            if row.config_format == OLDEST:
                content.in_clear.append(row.run_id)
        if missing := sorted({*run_ids} - {*content.runs}):
            raise ConfigError(f"run {missing[0]} lacks rows: it is being removed or restored")
        return content

    def rows(self, snapshot: KeyReader) -> Iterator[Row]:
        """Yield all rows in the order of a backup."""
        yield from rows_of_runs(snapshot, self.runs)
        if self.is_all:
            yield from known_answers(snapshot)


@dataclass(frozen=True, slots=True)
class Saved:
    """A written backup."""

    content: Content
    rows: int
    size: int


def back_up(store: Store, path: Path, run_ids: Sequence[str], now: float) -> Saved:
    """Write the named runs of `store`, or the whole store, to a new file at `path`.

    The file appears whole or not at all. Raises `BackupError` if it exists or cannot be written,
    `ConfigError` for an unknown run, and the errors of the store.
    """
    if path.exists() or path.is_symlink():
        raise BackupError(f"{path} exists: name a new file, or remove it")
    for run_id in run_ids:
        found_run(store, run_id)
    try:
        part = LocalPart(path)
        try:
            os.fchmod(part.file.fileno(), _PRIVATE)
            saved = _written(store, part, run_ids, now)
            part.finish()
            part.publish()
        finally:
            part.discard()
    except OSError as error:
        raise BackupError(f"{path} cannot be written: {error.strerror}. Name another file") from error
    return saved


def refuse_live(
    store: Store,
    lease_of: Callable[[RunView], float],
    *,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Raise `RunTakenError` if a process may run one of the runs: then two stores would have it."""
    for run in all_runs(store):
        if run.state == RUNNING:
            sign, _ = watched(store, run.run_id, lease_of(run), pause=pause, clock=clock)
            if sign is not Sign.SILENT:
                raise RunTakenError(f"run {run.run_id} is running: stop it first, or use `backup`")


def _written(store: Store, part: LocalPart, run_ids: Sequence[str], now: float) -> Saved:
    with store.snapshot() as snapshot:
        content = Content.of(snapshot, run_ids)
        head = {"rows": check_format(snapshot), "made_at": now, "made_by": f"{COMMAND} {VERSION}"}
        writer = BackupWriter(part.file, head)
        for key, value in content.rows(snapshot):
            writer.add(key, value)
        writer.end()
    return Saved(content, writer.count, writer.size)
