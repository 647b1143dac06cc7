"""Reads the tasks of a file, as a run does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from actors.core.messages.tasks import Task
from cluster.input.local_copy import open_input
from cluster.input.problems import MAX_TASK_BYTES
from cluster.input.records import Reading
from cluster.input.stream import tasks_in


def read_file(path: Path | str, max_task_bytes: int = MAX_TASK_BYTES) -> Iterator[Task]:
    """Return the tasks of the file or the URL at `path`; its suffix is its format.

    Raises `TaskInputError` immediately if the file is missing or of another kind, and during iteration for an
    invalid line or a duplicate key.
    """
    return tasks_in(open_input(str(path)), Reading(max_bytes=max_task_bytes))
