"""Keeps the reports of a run on disk until it ends, and returns them in the order of the input.

Tasks end in another order than that of the input, and a resumed run reads the ended ones from the journal.
Rule: memory grows by eight bytes a task.
"""

from __future__ import annotations

import contextlib
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from actors.core.messages.tasks import Report, Task
from cluster.report.tables.columns import InputColumns

_BUFFER_BYTES = 256 * 1024
_BATCH_TASKS, _BATCH_BYTES = 1_000, 4 * 2**20
_NOT_ENDED = -1


class _Spooled(Struct, frozen=True, array_like=True):
    task: Task
    report: Report


class Spool:
    """A file without a name in `directory`, which ends with the process. Its methods may raise `OSError`."""

    def __init__(self, directory: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=directory, buffering=_BUFFER_BYTES)  # noqa: SIM115 - `close` closes it
        self._offsets = array("q")
        self._end = 0
        self._encoder = msgspec.json.Encoder()
        self.inputs = InputColumns()

    def add(self, ordinal: int, task: Task, report: Report) -> None:
        """Add the report of the task with this place in the input, counted from 0.

        Raises `ValueError` if a text is not Unicode.
        """
        line = self._encoder.encode(_Spooled(task, report)) + b"\n"
        self._offsets.extend(_NOT_ENDED for _ in range(ordinal + 1 - len(self._offsets)))
        self._file.write(line)
        self._offsets[ordinal] = self._end
        self._end += len(line)
        self.inputs.add(ordinal, task)

    def in_order(self) -> Iterator[list[tuple[Task, Report]]]:
        """Yield the tasks that ended, and their reports, in the order of the input. A list is never empty."""
        decoder = msgspec.json.Decoder(_Spooled)
        batch: list[tuple[Task, Report]] = []
        size = 0
        for offset in self._offsets:
            if offset == _NOT_ENDED:
                continue
            self._file.seek(offset)
            line = self._file.readline()
            entry = decoder.decode(line)
            batch.append((entry.task, entry.report))
            size += len(line)
            if len(batch) == _BATCH_TASKS or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def close(self) -> None:
        """Delete the file. Does not raise."""
        # On a full disk the last of the buffer cannot be written, and that error would hide the first.
        with contextlib.suppress(OSError):
            self._file.close()
