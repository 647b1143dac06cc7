"""The columns of the tables of a page: their names, and what the page has to know to show them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from actors.core.messages.values import Json
from cluster.page.figures import RunFigures
from cluster.report.item_columns import ItemColumn
from cluster.report.tables.value_types import Kind, ValueType

_OF_KIND = {
    Kind.INTEGER: "integer",
    Kind.NUMBER: "number",
    Kind.SINGLE: "number",
    Kind.BOOLEAN: "choice",
    Kind.CHOICE: "choice",
    Kind.LIST: "labels",
}


@dataclass(frozen=True, slots=True)
class PageColumn:
    """A column. `kind` decides how the page shows, sorts and filters its values.

    given: its name in the input or in the results, if the page shows another.
    role: where the values come from: "input", "output", or empty for the columns of every run. step: of an
    output. low, high: the scale of numbers, None if it is unknown. is_hidden: the page shows it elsewhere.
    """

    name: str
    kind: str
    role: str = ""
    step: str = ""
    field: str = ""
    low: float | None = None
    high: float | None = None
    is_hidden: bool = False
    given: str = ""

    def document(self) -> dict[str, Json]:
        """Return the column as the page reads it."""
        given = {
            "name": self.name,
            "kind": self.kind,
            "role": self.role,
            "step": self.step,
            "field": self.field,
            "low": self.low,
            "high": self.high,
            "hidden": self.is_hidden,
        }
        return {
            name: value
            for name, value in given.items()
            if value is not None and value is not False and value != ""
        }


@dataclass(frozen=True, slots=True)
class PageTables:
    """The columns of the table of tasks and of that of items, which the map form does not have.

    inputs: the names of the columns of the input.
    """

    tasks: tuple[PageColumn, ...]
    items: tuple[PageColumn, ...]
    inputs: tuple[str, ...]


def page_tables(figures: RunFigures) -> PageTables:
    """Return the columns for a run."""
    types = figures.input_types()
    inputs = tuple(_input_column(name, kind, figures) for name, kind in types.items())
    outputs = tuple(map(_output_column, figures.layout.outputs))
    error = PageColumn("error", "text")  # beside the state, where a reader looks for it
    before = (PageColumn("key", "key"), PageColumn("state", "state"), PageColumn("cause", "cause"), error)
    after = (PageColumn("cost", "money"), PageColumn("seconds", "seconds"))
    scores = tuple(
        PageColumn(one.name, "score", low=one.minimum, high=one.maximum) for one in figures.dimensions
    )
    overall = (PageColumn("overall", "score", low=0.0, high=1.0),) if scores else ()
    ends = tuple(
        PageColumn(f"{one.name}.{end}", "number", is_hidden=True)
        for one in (*overall, *scores)
        for end in ("low", "high")
    )
    if figures.layout.is_map:
        tasks = (*before, *inputs, *outputs, *overall, *scores, *after, *ends)
        return PageTables(_apart(tasks), (), tuple(types))
    counts = (
        PageColumn("items", "integer"),
        PageColumn("not answered", "integer"),
        PageColumn("calls", "integer"),
    )
    first = PageColumn("first item", "integer", is_hidden=True)
    tasks = (*before, *inputs, *overall, *scores, *counts, *after, *ends, first)
    items = (
        PageColumn("task", "task"),
        PageColumn("item", "item"),
        PageColumn("state", "state"),
        error,
        PageColumn("source", "choice"),
        *outputs,
        PageColumn("cost", "money"),
    )
    return PageTables(_apart(tasks), _apart(items), tuple(types))


def _apart(columns: Iterable[PageColumn]) -> tuple[PageColumn, ...]:
    """Return the columns with different names: the page finds its own columns by their names."""
    columns = tuple(columns)
    taken = {column.name for column in columns if not column.role}
    apart = []
    for column in columns:
        name = column.name
        while column.role and name in taken:
            name = f"{column.role} {name}"
        taken.add(name)
        apart.append(column if name == column.name else replace(column, name=name, given=column.name))
    return tuple(apart)


def _input_column(name: str, value_type: ValueType, figures: RunFigures) -> PageColumn:
    kind = _OF_KIND.get(value_type.kind, "text")
    is_key = name in (figures.key_columns or ())
    return PageColumn(name, kind, "input", is_hidden=is_key)


def _output_column(column: ItemColumn) -> PageColumn:
    kind = _OF_KIND.get(column.type.kind, "text")
    inner = column.type.item
    if kind == "labels" and (inner is None or inner.kind not in (Kind.TEXT, Kind.CHOICE)):
        kind = "text"
    low, high = (getattr(column.spec, end, None) for end in ("min", "max"))
    return PageColumn(column.name, kind, "output", column.step, column.field, low, high)
