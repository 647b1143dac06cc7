"""The sides of a comparison: a run in a store, a file with a table, or a table in memory.

Each side offers its answers at one or more levels. Both sides need a level in common.

rows   a row for each row of the input: runs without sources and their tables, and any other table
items  a row for each item: runs with sources and their table `items`
tasks  a row for each task, with its scores: runs with dimensions and their table `reports`
"""

from __future__ import annotations

import contextlib
import enum
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache, cached_property
from typing import Protocol

import msgspec
from msgspec import Struct

from actors.core.errors import ConfigError
from actors.core.messages.journal import RunView
from actors.core.messages.tasks import Report, Task, TaskState
from actors.core.messages.values import Json
from actors.journal.stores.base import Store
from cluster.compare.answers import RowAnswer
from cluster.input.formats import FileForm, form_needed
from cluster.input.local_copy import open_input
from cluster.input.records import Reading, no_column, row_key
from cluster.input.stream import records_in
from cluster.records.reading import all_ended
from cluster.report.item_columns import ERROR_COLUMN, ITEM_MEMBERS
from cluster.report.tables.columns import KEY, Layout, TableName
from cluster.report.tables.kinds import ITEM_MARKS, REPORT_MARKS, MapTable, is_beside_scores, table_of
from cluster.report.views import is_priced

_PLAIN = FileForm()
_MOST_ROW_BYTES = 2**30
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_LONGEST_INT = 15  # characters: longer ones are no JSON numbers elsewhere
_LARGEST = 1e300
_decode = msgspec.json.Decoder().decode
_GUARDED = tuple("'" + mark for mark in "=+-@\t\r")  # texts that a CSV result marks as no formula
_BOOLEANS = {"true": True, "false": False}


class TableLevel(enum.StrEnum):
    """The subject of a row of a side."""

    ROWS = "rows"
    ITEMS = "items"
    TASKS = "tasks"


class SideTotals(Struct, frozen=True):
    """The cost of one side in dollars, tokens and time. None: unknown.

    A file knows the cost of its rows if it has a column for it.
    """

    name: str
    run_id: str | None = None
    state: str | None = None
    rows: int | None = None
    failed: int | None = None
    cost_usd: float | None = None
    tokens: int | None = None
    seconds: float | None = None


class Side(Protocol):
    """One side of a comparison."""

    name: str
    key: str | None  # the column that the user named as the key

    @property
    def levels(self) -> tuple[TableLevel, ...]:
        """Return the levels at which it has answers."""

    @property
    def is_numbered(self) -> bool:
        """Whether its keys are the numbers of rows."""

    @property
    def run(self) -> RunView | None:
        """Return the run, None for a table."""

    @property
    def steps(self) -> Mapping[str, str]:
        """Return the step of each column of a run."""

    def answers(self, level: TableLevel) -> Iterator[RowAnswer]:
        """Return a new stream of its answers."""

    def inputs(self) -> Iterator[tuple[str, Mapping[str, Json]]]:
        """Return a new stream of its tasks, each with the columns that may identify it."""


# ---- a run -----------------------------------------------------------------------------------------------


class RunSide:
    """A run in a store. With `key`, the rows are named by that column of its input."""

    def __init__(self, store: Store, run: RunView, key: str | None = None) -> None:
        self.name = run.run_id
        self.key = key
        self.run = run
        self._store = store
        self._layout = Layout.stored(run.config, is_priced=is_priced(run))
        self._table = table_of(TableName.ITEMS, self._layout, {})

    @property
    def levels(self) -> tuple[TableLevel, ...]:
        """Return the levels at which the run has answers."""
        if self._layout.is_map:
            return (TableLevel.ROWS,)
        return (TableLevel.ITEMS, TableLevel.TASKS) if self._layout.dimensions else (TableLevel.ITEMS,)

    @cached_property
    def is_numbered(self) -> bool:
        """Whether the rows of the input had no key."""
        first = next(all_ended(self._store, self.name), None)
        return self.key is None and first is not None and bool(re.fullmatch(r"row-\d{6,}", first[0].key))

    @property
    def steps(self) -> Mapping[str, str]:
        """Return the step of each column."""
        return {column.name: column.step for column in self._layout.outputs}

    def answers(self, level: TableLevel) -> Iterator[RowAnswer]:
        """Yield the answers of tasks that have ended, in the order of the input."""
        for task, report in all_ended(self._store, self.name):
            yield from self._of_task(level, task, report)

    def inputs(self) -> Iterator[tuple[str, Mapping[str, Json]]]:
        """Yield the tasks that have ended, with the rows of the input."""
        for task, _ in all_ended(self._store, self.name):
            yield self._key(task), task.params

    def _of_task(self, level: TableLevel, task: Task, report: Report) -> Iterator[RowAnswer]:
        key = self._key(task)
        if level is TableLevel.TASKS:
            scores = {one.name: one.score for one in report.dimensions}
            has_failed = report.state in (TaskState.FAILED, TaskState.CANCELLED)
            yield RowAnswer(key, "", {"overall": report.overall, **scores}, has_failed, task.params)
            return
        for row in self._table.rows(task, report):
            values = {column.name: row[column.name] for column in self._layout.outputs}
            if isinstance(self._table, MapTable):
                yield RowAnswer(key, "", values, row[ERROR_COLUMN] is not None, task.params)
            else:
                shown = {**task.params, **{name: row[name] for name in ("text",) if name in row}}
                yield RowAnswer(key, str(row["item"]), values, row["state"] != "succeeded", shown)

    def _key(self, task: Task) -> str:
        if self.key is None:
            return task.key
        if self.key not in task.params:
            raise ConfigError(f"run {self.name}: {no_column(self.key, list(task.params))}")
        if task.params[self.key] is None:
            raise ConfigError(
                f"run {self.name}: the key {self.key!r} of task {task.key!r} is null; name another column"
            )
        return key_text(task.params[self.key])


# ---- a table ---------------------------------------------------------------------------------------------


class TableSide:
    """A table, whose rows `read` yields again and again. `names` are its columns.

    The columns that a result of Headrace has besides its answers are recognized. `is_text`: cells are texts,
    which may be written numbers.
    """

    run = None

    def __init__(
        self,
        name: str,
        read: Callable[[], Iterable[Mapping[str, Json]]],
        *,
        key: str | None = None,
        is_text: bool = False,
    ) -> None:
        self.name = name
        self.key = key
        self._read = read
        self._is_text = is_text
        first = next(iter(read()), None)
        if first is None:
            raise ConfigError(f"{name}: the table has no rows; there is nothing to compare")
        self.names = tuple(first)
        if key is not None and key not in first:
            raise ConfigError(f"{name}: {no_column(key, self.names)}")
        self._level = _level_of(first.keys())

    @classmethod
    def of_file(cls, path: str, key: str | None = None, form: FileForm = _PLAIN) -> TableSide:
        """Return the table at a path or URL: CSV, TSV, JSON lines, Parquet. Raises `TaskInputError`."""
        file = open_input(path, form_needed(path, form))
        reading = Reading(key, rows=True, max_bytes=_MOST_ROW_BYTES)

        def read() -> Iterator[Mapping[str, Json]]:
            for number, record in records_in(file, reading):
                if not isinstance(record, Mapping):
                    raise ConfigError(f"{file.place}:{number}: a row is an object with columns")
                yield record

        return cls(file.place, read, key=key, is_text=file.format in ("csv", "tsv"))

    @property
    def levels(self) -> tuple[TableLevel, ...]:
        """Return the level of the rows."""
        return (self._level,)

    @property
    def is_numbered(self) -> bool:
        """Whether no column is the key."""
        return self._key is None

    @property
    def _key(self) -> str | None:
        return self.key or (KEY.name if KEY.name in self.names else None)

    @property
    def steps(self) -> Mapping[str, str]:
        """Return none: a table does not name them."""
        return {}

    def answers(self, level: TableLevel) -> Iterator[RowAnswer]:  # noqa: ARG002 - a table has one level
        """Yield the answers in the order of the rows."""
        reads_text, has_scores = self._is_text, self._level is TableLevel.TASKS
        is_answer = cache(self._is_answer)
        for number, row in enumerate(self._read(), 1):
            values = {name: value for name, value in row.items() if is_answer(name)}
            if has_scores:
                values = {name.removesuffix(".score"): value for name, value in values.items()}
                values.update((one["name"], one["score"]) for one in row.get("dimensions") or ())
            if reads_text:
                values = {name: _of_text(value) for name, value in values.items()}
            task = self._task(number, row)
            item = key_text(row.get("item")) if self._level is TableLevel.ITEMS else ""
            yield RowAnswer(task, item, values, self._has_failed(row))

    def inputs(self) -> Iterator[tuple[str, Mapping[str, Json]]]:
        """Yield the rows with their keys."""
        for number, row in enumerate(self._read(), 1):
            yield self._task(number, row), row

    def keyed_by(self, column: str) -> TableSide:
        """Return the table with another key."""
        return TableSide(self.name, self._read, key=column, is_text=self._is_text)

    def _task(self, number: int, row: Mapping[str, Json]) -> str:
        key = self._key
        if key is None:
            return row_key(number)
        if key not in row:
            raise ConfigError(f"{self.name}, row {number}: {no_column(key, list(row))}")
        if row[key] is None:
            raise ConfigError(f"{self.name}, row {number}: the key {key!r} is null; give each row one")
        return key_text(row[key])

    def _is_answer(self, name: str) -> bool:
        """Return whether a column may hold answers."""
        if name == self._key:
            return False
        if self._level is TableLevel.TASKS:
            return not is_beside_scores(name)
        return not name.startswith("_") and not (self._level is TableLevel.ITEMS and name in ITEM_MEMBERS)

    def _has_failed(self, row: Mapping[str, Json]) -> bool:
        if self._level is TableLevel.ROWS:
            return row.get(ERROR_COLUMN) is not None
        return row.get("state") not in ("succeeded", TaskState.PARTIAL.value)


def _level_of(names: Collection[str]) -> TableLevel:
    if set(names) >= REPORT_MARKS:
        return TableLevel.TASKS
    return TableLevel.ITEMS if set(names) >= ITEM_MARKS else TableLevel.ROWS


def key_text(value: Json) -> str:
    """Return a key as text. In Parquet a key may be a number, in CSV it is a text."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else "" if value is None else str(value)


def _of_text(value: Json) -> Json:
    """Return the value that a cell of a CSV file stands for."""
    if not isinstance(value, str):
        return value
    if _JSON_NUMBER.fullmatch(value):
        return int(value) if value.lstrip("-").isdigit() and len(value) <= _LONGEST_INT else float(value)
    if value.startswith(_GUARDED):
        return value[1:]
    if value.startswith(("[", "{")):
        with contextlib.suppress(msgspec.DecodeError):
            return _decode(value)
    return _BOOLEANS.get(value.lower(), value)


def number_of(value: Json) -> float | None:
    """Return the number that a value stands for, None if it is none. A text may be one."""
    if isinstance(value, str):
        value = float(text) if _JSON_NUMBER.fullmatch(text := value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _LARGEST:
        return None
    return float(value)


# ---- totals ----------------------------------------------------------------------------------------------


def totals_of(side: Side, *, rows: int, failed: int) -> SideTotals:
    """Return what a side took; `rows` and `failed` are those of its first level."""
    run = side.run
    if run is None:
        return SideTotals(side.name, rows=rows, failed=failed)
    usage = run.spent.usage
    return SideTotals(
        side.name,
        run_id=run.run_id,
        state=run.state,
        rows=rows,
        failed=failed,
        cost_usd=usage.known_cost(is_priced=is_priced(run)),
        tokens=usage.tokens,
        seconds=None if run.ended_at is None else max(0.0, run.ended_at - run.began_at),
    )
