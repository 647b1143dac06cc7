"""The file of a golden set: JSON lines to which records are only added.

Rule 1: a record is durable when `append` returns.
Rule 2: one process at a time writes a file. It holds a lock on it.
Rule 3: a line that a crash has cut has no end. Readers leave it out, and the next writer removes it. A line
    without an end that does not begin as a record does is no such line: the file is something else.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from actors.core.run_id import check_directory_name
from actors.journal.stores.opening import DEFAULT_PATH, SqliteSettings, StoreSettings
from cluster.golden.records import (
    BEGINNING,
    MOST_LINE_BYTES,
    GoldenError,
    GoldenRecord,
    dump_line,
    load_line,
)
from cluster.golden.standing import GoldenSet

_DIRECTORY = "golden"
_MOST_BYTES = 1 << 30  # a file of this size holds millions of decisions, or is no golden set


def golden_path(settings: StoreSettings, run_id: str) -> Path:
    """Return where the golden set of a run lies: ``golden/RUN_ID.jsonl`` beside the SQLite store.

    With another store it is ``.headrace/golden/RUN_ID.jsonl`` in the working directory.
    """
    check_directory_name(run_id)
    store = Path(settings.path if isinstance(settings, SqliteSettings) else DEFAULT_PATH)
    return store.parent / _DIRECTORY / f"{run_id}.jsonl"


def read_golden(path: Path) -> GoldenSet:
    """Return the golden set in a file; it is empty if there is no file. Raises `GoldenError`."""
    try:
        with path.open("rb") as file:
            return GoldenSet(_records(file.fileno(), path))
    except FileNotFoundError:
        return GoldenSet()
    except OSError as error:
        raise GoldenError(f"{path} cannot be read: {error.strerror}") from error


class GoldenFile:
    """A golden set that is open for writing. `golden` has the decisions that stand.

    As a context manager it is closed at the end. Raises `GoldenError` if another process writes the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explained():
            self._file = _opened(path)
        try:
            with self._explained():
                self._lock()
                self.golden = GoldenSet(_records(self._file, path))
                self._end = _repair(self._file)
        except BaseException:
            os.close(self._file)
            raise

    def append(self, record: GoldenRecord) -> None:
        """Add a record. It is durable on return. After an error the file is as it was before."""
        line = dump_line(record)
        with self._explained():
            try:
                left = line
                while left:
                    left = left[os.write(self._file, left) :]
                os.fsync(self._file)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, self._end)  # else the next line would follow a part of this one
                raise
        self._end += len(line)
        self.golden.add(record)

    def close(self) -> None:
        """Close the file, which ends the lock."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise GoldenError(
                f"another review writes {self.path}: end it, or name another file with --golden FILE"
            ) from error

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise GoldenError(
                f"{self.path} cannot be written: {error.strerror}; name another file with --golden FILE"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _opened(path: Path) -> int:
    """Open a file for reading and adding. It and its directories are created for the user alone."""
    missing = [each for each in path.parents if not each.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    for made in missing:
        made.chmod(0o700)  # decisions quote answers
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for directory in (path.parent, *(made.parent for made in missing)):
        _sync_directory(directory)  # else a power cut could remove the new file
    return file


def _sync_directory(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _records(file: int, path: Path) -> Iterator[GoldenRecord]:
    """Yield the records of an open file, without a last line that has no end and is no record."""
    size = os.fstat(file).st_size
    if size > _MOST_BYTES:
        raise GoldenError(f"{path} has {size:,} bytes; a golden set has at most {_MOST_BYTES:,}")
    with os.fdopen(os.dup(file), "rb") as lines:
        lines.seek(0)
        number = 0
        while line := lines.readline(MOST_LINE_BYTES + 1):
            number += 1
            try:
                if len(line) > MOST_LINE_BYTES:
                    raise ValueError(f"longer than {MOST_LINE_BYTES:,} bytes")  # noqa: TRY301 - one message
                yield load_line(line)
            except ValueError as error:
                is_cut = not line.endswith(b"\n") and len(line) <= MOST_LINE_BYTES
                is_cut &= isinstance(error, json.JSONDecodeError | UnicodeDecodeError)
                if is_cut and line.startswith(BEGINNING[: len(line)]):
                    return
                raise GoldenError(
                    f"{path}, line {number}, is no decision: {error}. Correct or remove the line"
                ) from error


def _repair(file: int) -> int:
    """Give the last line its end, or remove it if it is no record. Return the size of the file."""
    size = os.fstat(file).st_size
    tail = os.pread(file, MOST_LINE_BYTES, max(0, size - MOST_LINE_BYTES))
    _, _, torn = tail.rpartition(b"\n")
    if not torn:
        return size
    try:
        load_line(torn)
    except ValueError:
        size -= len(torn)
        os.ftruncate(file, size)
    else:
        size += os.write(file, b"\n")
    os.fsync(file)
    return size
