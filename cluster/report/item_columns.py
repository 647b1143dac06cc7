"""Names the output columns of the table `items`: one for each field of each step.

Rule: a column's name and type come from the configuration alone, so that they are known before the first
answer, and are the same for a run without any answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.core.errors import ConfigError
from actors.core.messages.tasks import RAW, ItemResult
from actors.core.messages.values import Json
from actors.core.task.field_names import UNNAMED_STEP
from cluster.report.tables.value_types import ValueType, type_of_spec

if TYPE_CHECKING:
    from actors.llm.fields import ColumnSpec
    from cluster.config.model import HeadraceConfig

# The other columns of `items`. In map form they begin with an underscore, as no field may.
ITEM_MEMBERS = ("key", "source", "item", "text", "state", "error", "cost_usd")
ERROR_COLUMN = "_error"
EXTRA_COLUMNS = {"cost": "_cost_usd", "latency": "_latency_s", "raw": RAW}  # by their words in `--with`
_OTHER_NAME = "choose another name for the new column, or rename the column of the input"


@dataclass(frozen=True, slots=True)
class ItemColumn:
    """A column with the answers to one field of one step."""

    name: str
    step: str
    field: str
    spec: ColumnSpec

    @property
    def type(self) -> ValueType:
        """The type of the values."""
        return type_of_spec(self.spec)

    @property
    def has_choices(self) -> bool:
        """Whether the values are few, and known beforehand."""
        return self.spec.type == "boolean" or (self.spec.type == "string" and self.spec.choices is not None)

    @property
    def has_labels(self) -> bool:
        """Whether equal values are frequent, so that agreement can be measured."""
        return self.has_choices or self.spec.type == "integer"

    def answer(self, item: ItemResult) -> tuple[bool, Json]:
        """Return whether an item has an answer, and the answer."""
        values = item.values.get(self.step, {})
        return self.field in values, values.get(self.field)


def item_columns(config: HeadraceConfig) -> tuple[ItemColumn, ...]:
    """Return the output columns of a configuration, in the order of the steps and fields."""
    steps = [(step.name, step.output) for step in config.steps]
    return named_columns(steps, is_map=config.is_map)


def stored_steps(config: Mapping[str, Json]) -> list[Mapping[str, Json]]:
    """Return the steps of a stored configuration, each with its name and its output."""
    asked = config.get("evaluate", {})
    steps = asked if isinstance(asked, list) else [asked]
    return [{"name": UNNAMED_STEP, "output": {}, **step} for step in steps]


def named_columns(
    steps: Iterable[tuple[str, Mapping[str, ColumnSpec]]], *, is_map: bool
) -> tuple[ItemColumn, ...]:
    """Return a column for each field. It is named ``step.field`` if the name of the field alone is taken."""
    fields = [(step, field, spec) for step, output in steps for field, spec in output.items()]
    uses = Counter(field for _, field, _ in fields)
    taken = () if is_map else ITEM_MEMBERS
    return tuple(
        ItemColumn(f"{step}.{field}" if uses[field] > 1 or field in taken else field, step, field, spec)
        for step, field, spec in fields
    )


def refuse_name_clash(
    config: HeadraceConfig, input_columns: Collection[str], *, remedy: str = _OTHER_NAME
) -> None:
    """Raise `ConfigError` if an answer of the map form would replace a column of the input.

    `_error` and the extras of an earlier run are replaced: no answer has such a name. `remedy` says what
    to do.
    """
    clashes = [column.name for column in item_columns(config) if column.name in set(input_columns)]
    if clashes:
        names = ", ".join(repr(name) for name in clashes)
        raise ConfigError(f"the input already has {names} among its columns: {remedy}")
