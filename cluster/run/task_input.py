"""Reads the tasks of a run as a stream: from a file, a range or a list in the configuration."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from actors.core.censor import Censor
from actors.core.errors import ConfigError
from actors.core.messages.tasks import Task
from actors.core.messages.values import Json
from cluster.checks.placeholders import check_placeholders
from cluster.config.model import HeadraceConfig
from cluster.config.tasks import FileTasks, InlineTasks, RangeTasks
from cluster.input.formats import FileForm
from cluster.input.local_copy import open_input
from cluster.input.problems import MAX_TASK_BYTES
from cluster.input.records import Reading
from cluster.input.stream import tasks_in, unique_tasks
from cluster.report.item_columns import refuse_name_clash
from cluster.report.tables.parquet_input import ArrowInput, ParquetInput, refuse_unwritable, unread_of


@dataclass(frozen=True, slots=True)
class TaskReader:
    """Returns a new stream of the tasks at each call.

    `arrow_input` are the same rows as Arrow, if they are those of the result and in a Parquet file.
    """

    read: Callable[[], Iterator[Task]]
    arrow_input: ArrowInput | None = None

    def __call__(self) -> Iterator[Task]:
        """Return a new stream. It raises `TaskInputError`."""
        return self.read()


def reader_of(config: HeadraceConfig) -> TaskReader:
    """Return the reader of the tasks. Stdin and URLs are read only once.

    Raises `ConfigError` if the configuration has no tasks, or their file is missing.
    """
    most = config.limits.max_task_bytes
    match config.tasks:
        case FileTasks() as given:
            file = open_input(given.path, FileForm(given.format, given.delimiter, given.encoding))
            reading = Reading(given.key, rows=config.is_map, max_bytes=most)
            is_arrow = config.is_map and file.format == "parquet"
            given_rows = ParquetInput(file.path) if is_arrow else None
            return TaskReader(lambda: tasks_in(file, reading), given_rows)
        case RangeTasks(count=count, prefix=prefix):
            return TaskReader(lambda: make_range(count, prefix))
        case InlineTasks(tasks=tasks):
            entries = [task.model_dump() for task in tasks]
            return TaskReader(lambda: from_inline(entries, most))
        case None:
            raise ConfigError("this configuration has no tasks: add `tasks`, or give --tasks FILE")


def place_of(config: HeadraceConfig) -> str:
    """Return the name of the input in errors."""
    return Censor()(config.tasks.path) if isinstance(config.tasks, FileTasks) else "tasks"


def check_columns(
    config: HeadraceConfig, columns: Collection[str], count: int, arrow_input: ArrowInput | None = None
) -> None:
    """Raise `ConfigError` if prompts, sources or results do not go with the columns of `count` tasks."""
    unread = unread_of(arrow_input)
    check_placeholders(config, [name for name in columns if name not in unread], count)
    if config.is_map:
        refuse_name_clash(config, columns)
        formats = [("output.format", form) for form in config.output.format]
        sinks = [(f"output.sinks ({sink.kind})", "JSON") for sink in config.output.sinks]
        refuse_unwritable(arrow_input, [*formats, *sinks])


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
