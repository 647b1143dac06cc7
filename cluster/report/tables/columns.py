"""The names of the tables, their columns in general, and what decides which columns a run has."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.core.messages.tasks import Task
from actors.core.messages.values import Json
from cluster.input.records import row_key
from cluster.report.item_columns import (
    ItemColumn,
    item_columns,
    named_columns,
    stored_steps,
)
from cluster.report.tables.value_types import (
    NULL,
    TEXT,
    ValueType,
    common_type,
    never_null,
    type_of_value,
)

if TYPE_CHECKING:
    from cluster.config.model import HeadraceConfig

Row = Mapping[str, Json]


class TableName(enum.StrEnum):
    """The tables of a run."""

    REPORTS = "reports"  # a row for each task
    ITEMS = "items"  # a row for each item; in map form, for each row of the input


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. In JSON lines it is a member of each object."""

    name: str
    type: ValueType
    description: str = ""


KEY = Column("key", never_null(TEXT), "the task")


@dataclass(frozen=True, slots=True)
class Layout:
    """The settings that decide the columns of both tables. The input decides the rest.

    `extras` are optional columns of the map form: the keys of `MAP_EXTRAS`. `has_text`: a row of `items`
    holds the text of the item. `is_priced`: the prices of all endpoints are known.
    """

    is_map: bool
    outputs: tuple[ItemColumn, ...]
    dimensions: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    has_text: bool = False
    is_priced: bool = True

    @classmethod
    def of(cls, config: HeadraceConfig, extras: Sequence[str] = ()) -> Layout:
        """Return the layout of a run with this configuration."""
        dimensions = tuple(dimension.name for dimension in config.dimensions)
        outputs = item_columns(config)
        return cls(
            config.is_map,
            outputs,
            dimensions,
            tuple(extras),
            has_text=config.output.text,
            is_priced=config.llm.is_priced,
        )

    @classmethod
    def stored(cls, config: Mapping[str, Json], *, is_priced: bool = True) -> Layout:
        """Return the layout of a run by the configuration in its journal, which has no section `output`."""
        from pydantic import TypeAdapter  # noqa: PLC0415 - most commands need no configuration

        from actors.llm.fields import ColumnSpec  # noqa: PLC0415 - loads pydantic

        specs: TypeAdapter[dict[str, ColumnSpec]] = TypeAdapter(dict[str, ColumnSpec])
        outputs = [(step["name"], specs.validate_python(step["output"])) for step in stored_steps(config)]
        is_map = not config.get("sources")
        names = tuple(one["name"] for one in config.get("dimensions", ()))
        return cls(is_map, named_columns(outputs, is_map=is_map), names, is_priced=is_priced)


class InputColumns:
    """Gathers the columns of the input from the tasks, in the order in which they occur."""

    def __init__(self) -> None:
        self._types: dict[str, ValueType] = {}
        self._is_numbered = True
        self._key_columns: set[str] | None = None  # the columns that have been equal to the key in all tasks

    def add(self, place: int, task: Task) -> None:
        """Add a task, which stands at this place in the input, counted from 0."""
        for name, value in task.params.items():
            self._types[name] = common_type(self._types.get(name, NULL), type_of_value(value))
        self._is_numbered = self._is_numbered and task.key == row_key(place + 1)
        candidates = task.params if self._key_columns is None else self._key_columns
        self._key_columns = {name for name in candidates if str(task.params.get(name)) == task.key}

    @property
    def types(self) -> dict[str, ValueType]:
        """The types of the columns by name.

        The key stands first, unless a column of the input holds it, or all keys are numbers of rows.
        """
        if self._is_numbered or self._key_columns or KEY.name in self._types:
            return {**self._types}
        return {KEY.name: KEY.type, **self._types}
