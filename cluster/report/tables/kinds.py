"""The columns and the rows of the tables `reports` and `items`.

Pure. Rule: a report makes the same rows in every format and on stdout. Formats only encode values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from actors.core.messages.tasks import RAW, ItemResult, ItemState, Report, Task, TaskState
from actors.core.messages.values import Json, Usage
from actors.core.task.reports import report_line
from actors.core.vectors import unpacked
from cluster.report.item_columns import (
    ERROR_COLUMN,
    EXTRA_COLUMNS,
    ITEM_MEMBERS,
    ItemColumn,
)
from cluster.report.summary import COUNTS
from cluster.report.tables.columns import KEY, Column, Layout, Row, TableName
from cluster.report.tables.value_types import (
    INTEGER,
    JSON,
    NUMBER,
    TEXT,
    ValueType,
    by_name,
    json_text,
    list_of,
    never_null,
    object_of,
)

_TOKENS = tuple(Usage().kinds())
_SOME_TEXT, _COUNT, _AMOUNT = never_null(TEXT), never_null(INTEGER), never_null(NUMBER)
_TEXTS = never_null(list_of(_SOME_TEXT))
_DIMENSION_PARTS = {
    "name": _SOME_TEXT,
    "score": NUMBER,
    "low": NUMBER,
    "high": NUMBER,
    "n": _COUNT,
    "finding": _SOME_TEXT,
    "evidence": _TEXTS,
    "flags": _TEXTS,
}
_DIMENSION = never_null(object_of(_DIMENSION_PARTS))
_SOURCE = never_null(object_of({"items": _COUNT, "error": TEXT}))
_FLAT_PARTS = tuple(part for part in _DIMENSION_PARTS if part not in ("name", "evidence"))

REPORT_MEMBERS = (
    Column(
        "state",
        _SOME_TEXT,
        "succeeded, partial (something is missing), failed (no usable result) or cancelled",
    ),
    Column("overall", NUMBER, "mean of the scores by weight, from 0 (worst) to 1 (best)"),
    Column("dimensions", never_null(list_of(_DIMENSION)), "an entry for each dimension"),
    Column("sources", by_name(_SOURCE), "an entry for each source"),
    Column("calls", never_null(object_of(dict.fromkeys(COUNTS, _COUNT))), "counts of calls"),
    Column("tokens", never_null(object_of(dict.fromkeys(_TOKENS, _COUNT))), "billed tokens"),
    Column("cost_usd", NUMBER, "billed, at the configured or listed prices; null: no price is known"),
    Column("elapsed_s", _AMOUNT, "seconds from acceptance to the report"),
    Column("errors", _TEXTS, "everything that is missing, with its cause"),
)
_ITEM_BEFORE = (
    Column("source", _SOME_TEXT, "the source of the item"),
    Column("item", _SOME_TEXT, "the item's id, unique within the task"),
)
_ITEM_TEXT = Column("text", TEXT, "the text of the item; null: it was not asked about")
_ITEM_AFTER = (
    Column("state", _SOME_TEXT, "succeeded, failed or skipped (a placeholder of the prompt had no value)"),
    Column("error", TEXT, "the cause, if a step failed; null: every step answered"),
    Column(
        "cost_usd", NUMBER, "billed for the item, at the configured or listed prices; null: no price is known"
    ),
)
MAP_ERROR = Column(ERROR_COLUMN, TEXT, "the cause, if the row has no complete answer; null: it has")
MAP_EXTRAS = {
    "cost": Column(
        EXTRA_COLUMNS["cost"],
        NUMBER,
        "billed for the row, at the configured or listed prices; null: no price is known",
    ),
    "latency": Column(EXTRA_COLUMNS["latency"], _AMOUNT, "seconds from acceptance to the answer"),
    "raw": Column(EXTRA_COLUMNS["raw"], TEXT, "the text of the answer; with several steps, JSON by step"),
}

# By these columns a table that was written earlier is recognized. People may have left out others.
REPORT_MARKS = frozenset(("state", "overall", "elapsed_s"))
ITEM_MARKS = frozenset(("source", "item", "state", "error"))
_BESIDE_SCORES = frozenset(
    (
        *(each.name for each in (KEY, *REPORT_MEMBERS) if each.name != "overall"),
        *(f"calls.{name}" for name in COUNTS),
        *(f"tokens.{name}" for name in _TOKENS),
    )
)
_BESIDE_SCORE = tuple(f".{part}" for part in _FLAT_PARTS if part != "score")


def is_beside_scores(name: str) -> bool:
    """Return whether a column of the table `reports`, nested or flat, has no score."""
    return name in _BESIDE_SCORES or name.endswith(_BESIDE_SCORE)


class ReportsTable:
    """A row for each task. An input column whose name is taken is named ``input.NAME``."""

    name = TableName.REPORTS

    def __init__(self, layout: Layout, inputs: Mapping[str, ValueType]) -> None:
        self._is_priced = layout.is_priced
        taken = {column.name for column in (KEY, *REPORT_MEMBERS)}
        self._inputs = _named_apart(inputs, taken)
        given = _input_columns(self._inputs, inputs)
        self.columns = (KEY, *given, *REPORT_MEMBERS)
        before = tuple(each for each in REPORT_MEMBERS if each.name in ("state", "overall"))
        scores = [
            Column(f"{name}.{part}", _DIMENSION_PARTS[part])
            for name in layout.dimensions
            for part in _FLAT_PARTS
        ]
        after = (
            Column("sources", JSON),
            *(Column(f"calls.{name}", INTEGER) for name in COUNTS),
            *(Column(f"tokens.{name}", INTEGER) for name in _TOKENS),
            *(each for each in REPORT_MEMBERS if each.name in ("cost_usd", "elapsed_s", "errors")),
        )
        self.flat_columns = (KEY, *given, *before, *scores, *after)

    def rows(self, task: Task, report: Report) -> Iterator[Row]:
        """Yield the row of a task."""
        line = report_line(report, is_priced=self._is_priced)
        key = line.pop(KEY.name)
        yield {KEY.name: key, **{column: task.params.get(name) for column, name in self._inputs}, **line}

    def flat(self, row: Row) -> Row:
        """Return a row with a column for each part of each dimension, for formats without nested values."""
        scores = {f"{one['name']}.{part}": one[part] for one in row["dimensions"] for part in _FLAT_PARTS}
        counts = {f"{of}.{name}": count for of in ("calls", "tokens") for name, count in row[of].items()}
        return {**row, **scores, **counts}


class ItemsTable:
    """A row for each item of each task. An input column whose name is taken is named ``input.NAME``."""

    name = TableName.ITEMS

    def __init__(self, layout: Layout, inputs: Mapping[str, ValueType]) -> None:
        self._outputs = layout.outputs
        self._is_priced = layout.is_priced
        taken = {*ITEM_MEMBERS, *(column.name for column in layout.outputs)}
        self._inputs = _named_apart(inputs, taken)
        outputs = (Column(column.name, column.type) for column in layout.outputs)
        before = (*_ITEM_BEFORE, _ITEM_TEXT) if layout.has_text else _ITEM_BEFORE
        self._has_text = layout.has_text
        self.columns = (KEY, *_input_columns(self._inputs, inputs), *before, *outputs, *_ITEM_AFTER)
        self.flat_columns = self.columns

    def rows(self, task: Task, report: Report) -> Iterator[Row]:
        """Yield the rows of a task."""
        inputs = {column: task.params.get(name) for column, name in self._inputs}
        for item in report.items:
            yield {
                KEY.name: task.key,
                **inputs,
                "source": item.source,
                "item": item.item_id,
                **({"text": item.text} if self._has_text else {}),
                **{column.name: _answer(column, item) for column in self._outputs},
                "state": item.state.value,
                "error": _cause(item),
                "cost_usd": item.usage.known_cost(is_priced=self._is_priced),
            }

    def flat(self, row: Row) -> Row:
        """Return a row for formats without nested values."""
        return row


class MapTable:
    """The table `items` in map form: a row for each task, with the columns of the input as they are.

    Input columns come first, then the answers, `_error`, and the extras. They replace input columns with
    their names, such as the `_error` of an earlier run. `inputs` includes the task's key if the input has it
    under the name ``key``.
    """

    name = TableName.ITEMS

    def __init__(self, layout: Layout, inputs: Mapping[str, ValueType]) -> None:
        self._outputs = layout.outputs
        self._extras = layout.extras
        self._is_priced = layout.is_priced
        extras = (MAP_EXTRAS[extra] for extra in layout.extras)
        outputs = (Column(column.name, column.type) for column in layout.outputs)
        self.new_columns = (*outputs, MAP_ERROR, *extras)
        made = {column.name for column in self.new_columns}
        self.inputs = tuple(name for name in inputs if name not in made)
        self.columns = (*(Column(name, inputs[name]) for name in self.inputs), *self.new_columns)
        self.flat_columns = self.columns

    def rows(self, task: Task, report: Report) -> Iterator[Row]:
        """Yield the row of a task."""
        row: dict[str, Json] = {name: task.params.get(name) for name in self.inputs}
        if KEY.name in row and KEY.name not in task.params:
            row[KEY.name] = task.key
        item = report.items[0] if report.items else None
        for column in self._outputs:
            row[column.name] = None if item is None else _answer(column, item)
        row[MAP_ERROR.name] = _map_error(report, item)
        for extra in self._extras:
            row[MAP_EXTRAS[extra].name] = _extra(extra, report, item, is_priced=self._is_priced)
        yield row

    def flat(self, row: Row) -> Row:
        """Return a row for formats without nested values."""
        return row


AnyTable = ReportsTable | ItemsTable | MapTable


def table_of(name: TableName, layout: Layout, inputs: Mapping[str, ValueType]) -> AnyTable:
    """Return a table. `inputs` are the types of the input columns by name, in order."""
    if name is TableName.REPORTS:
        return ReportsTable(layout, inputs)
    return MapTable(layout, inputs) if layout.is_map else ItemsTable(layout, inputs)


def _named_apart(inputs: Iterable[str], taken: Collection[str]) -> tuple[tuple[str, str], ...]:
    """Return the name of each input column in the table, and its name in the input."""
    return tuple((f"input.{name}" if name in taken else name, name) for name in inputs if name != KEY.name)


def _input_columns(names: Iterable[tuple[str, str]], inputs: Mapping[str, ValueType]) -> list[Column]:
    return [Column(column, inputs[name]) for column, name in names]


def _answer(column: ItemColumn, item: ItemResult) -> Json:
    _, value = column.answer(item)
    return unpacked(value) if column.spec.type == "vector" and value is not None else value


def _cause(item: ItemResult) -> str | None:
    if item.error is None:
        return None
    return item.error.message if item.state is ItemState.SKIPPED else str(item.error)


def _extra(name: str, report: Report, item: ItemResult | None, *, is_priced: bool) -> Json:
    if name == "raw":
        texts = {} if item is None else {step: values.get(RAW) for step, values in item.values.items()}
        return json_text(texts) if len(texts) > 1 else next(iter(texts.values()), None)
    return report.usage.known_cost(is_priced=is_priced) if name == "cost" else round(report.elapsed_s, 9)


def _map_error(report: Report, item: ItemResult | None) -> str | None:
    if item is not None:
        return _cause(item)
    if report.state is TaskState.SUCCEEDED:
        return None
    return "; ".join(report.errors) or report.state.value
