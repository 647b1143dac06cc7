"""Checks a backup as a whole before anything of it is restored."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from actors.core.errors import ConfigError, text_of
from actors.core.journal import keys
from actors.core.journal.batch import MOST_KEY_BYTES
from actors.core.journal.format import VERSION
from actors.journal.stores.base import key_text
from actors.journal.stores.file_access import trusted_users
from cluster.backup.file_format import BackupError, BackupReader, Row
from cluster.backup.forms import WRONG, check_value, checked_run

_OTHERS_WRITE = 0o022  # the group, too
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was read to its end. `states` has the wanted runs and their states in it."""

    path: Path
    made_at: float
    states: dict[str, str]
    is_all: bool

    @classmethod
    def checked(cls, path: Path, run_ids: Sequence[str]) -> Backup:
        """Read the whole file. Raises `BackupError`, and `ConfigError` if a named run is not in it."""
        states: dict[str, str] = {}
        last = None
        with _opened(path) as reader:
            for key, value in reader.rows():
                run_id = _run_of(path, key)
                if run_id != last and run_id is not None:
                    if key != keys.run(run_id) or run_id in states:
                        raise BackupError(f"{path} is no backup: the rows of run {run_id!r} are not in order")
                    states[run_id] = _state(path, run_id, value)
                elif not run_ids or run_id in run_ids:
                    _check(path, run_id, key, value)
                last = run_id
        for run_id in run_ids:
            if run_id not in states:
                has = ", ".join(list(states)[:_SHOWN]) or "none"
                raise ConfigError(f"{path} has no run {run_id}; it has {has}")
        wanted = {run_id: state for run_id, state in states.items() if not run_ids or run_id in run_ids}
        return cls(path, reader.head.made_at, wanted, not run_ids)

    def rows(self) -> Iterator[Row]:
        """Yield the wanted rows: of all runs with the shared answers, or of the named runs without."""
        with _opened(self.path) as reader:
            for key, value in reader.rows():
                run_id = keys.run_of(key)
                if run_id in self.states or (run_id is None and self.is_all):
                    yield key, value


@contextmanager
def _opened(path: Path) -> Iterator[BackupReader]:
    try:
        with open(path, "rb", opener=_at_once) as file:
            _check_access(path, os.fstat(file.fileno()))
            reader = BackupReader(file, str(path))
            if reader.head.rows > VERSION:
                raise BackupError(
                    f"the rows of {path} have format version {reader.head.rows}; this Headrace reads up "
                    f"to {VERSION}. Use the newer Headrace that wrote it"
                )
            yield reader
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror}") from error


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # to open a FIFO without a writer would block


def _check_access(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise BackupError(f"{path} is not a backup of Headrace: it is not a file")
    if found.st_uid not in trusted_users() or found.st_mode & _OTHERS_WRITE:
        raise BackupError(
            f"others may write to {path}, and could have placed answers in it. If you trust it, copy it: "
            f"`install -m 600 {shlex.quote(str(path))} FILE`"
        )


def _state(path: Path, run_id: str, value: bytes) -> str:
    try:
        return checked_run(run_id, value).state
    except WRONG as error:
        what = f"run {run_id!r} cannot be restored: {text_of(error)}"
        raise BackupError(f"{path} is no backup: {what}") from error


def _check(path: Path, run_id: str | None, key: bytes, value: bytes) -> None:
    """Check a row that is not the first one of its run."""
    kind = key[0]
    if run_id is not None and kind in keys.ONE_PER_RUN and key[1:] != keys.part(run_id):
        raise BackupError(f"{path} is no backup: it has a row of an unknown kind")
    try:
        check_value(kind, value)
    except WRONG as error:
        raise BackupError(
            f"{path} is no backup: the row {key_text(key)} has no form of any version ({text_of(error)})"
        ) from error


def _run_of(path: Path, key: bytes) -> str | None:
    try:
        run_id = keys.run_of(key)
    except ValueError:
        run_id = None
        is_known = False
    else:
        is_known = key[:1] == keys.KNOWN_ANSWERS or (run_id is not None and key[0] in keys.OF_DATA)
    if not is_known or len(key) > MOST_KEY_BYTES:
        raise BackupError(f"{path} is no backup: it has a row of an unknown kind")
    return run_id
