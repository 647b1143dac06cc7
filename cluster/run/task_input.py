"""Reads the tasks of a run as a stream: from a file, a range or a list in the configuration."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from actors.core.censor import Censor
from actors.core.errors import ConfigError
from actors.core.messages.tasks import Task
from actors.core.messages.values import Json
from cluster.config.model import HeadraceConfig
from cluster.config.tasks import FileTasks, InlineTasks, RangeTasks
from cluster.input.formats import FileForm, format_of
from cluster.input.local_copy import is_url, open_input
from cluster.input.problems import MAX_TASK_BYTES
from cluster.input.records import Reading
from cluster.input.stream import tasks_in, unique_tasks
from cluster.report.tables.parquet_input import ArrowInput, ParquetInput


def tasks_of(config: HeadraceConfig) -> Iterator[Task]:
    """Return a stream of the tasks of `config`. Raises `ConfigError` if it has none."""
    return reader_of(config)()


def reader_of(config: HeadraceConfig) -> Callable[[], Iterator[Task]]:
    """Return the function that returns a new stream of the tasks. Stdin and URLs are read only once.

    Raises `ConfigError` if the configuration has no tasks, or their file is missing.
    """
    most = config.limits.max_task_bytes
    match config.tasks:
        case FileTasks() as given:
            file = open_input(given.path, FileForm(given.format, given.delimiter, given.encoding))
            reading = Reading(given.key, rows=config.is_map, max_bytes=most)
            return lambda: tasks_in(file, reading)
        case RangeTasks(count=count, prefix=prefix):
            return lambda: make_range(count, prefix)
        case InlineTasks(tasks=tasks):
            entries = [task.model_dump() for task in tasks]
            return lambda: from_inline(entries, most)
        case None:
            raise ConfigError("this configuration has no tasks: add `tasks`, or give --tasks FILE")


def place_of(config: HeadraceConfig) -> str:
    """Return the name of the input in errors."""
    return Censor()(config.tasks.path) if isinstance(config.tasks, FileTasks) else "tasks"


def arrow_input_of(config: HeadraceConfig) -> ArrowInput | None:
    """Return the rows of the input as Arrow, if they are those of the result, and a local Parquet file."""
    match config.tasks:
        case FileTasks(path=path, format=form) if config.is_map and not is_url(path):
            return ParquetInput(Path(path)) if (form or format_of(path)) == "parquet" else None
        case _:
            return None


def make_range(count: int, prefix: str = "task-") -> Iterator[Task]:
    """Return `count` tasks: ``task-000001``, ``task-000002`` and so on. The keys sort by number."""
    width = max(6, len(str(count)))
    return (Task(f"{prefix}{number:0{width}}") for number in range(1, count + 1))


def from_inline(entries: Sequence[Json], max_task_bytes: int = MAX_TASK_BYTES) -> Iterator[Task]:
    """Return the tasks that a configuration lists. Raises `TaskInputError`, with entries counted from 1."""
    return unique_tasks("tasks", Reading(max_bytes=max_task_bytes), lambda: enumerate(entries, 1))


def take(tasks: Iterable[Task], limit: int | None) -> Iterator[Task]:
    """Return the first `limit` of `tasks`, or all if it is None. Later tasks are not read."""
    return itertools.islice(tasks, limit)
