"""The types of table columns, and their forms in Arrow.

Rule 1: The type of an output column is declared. It never depends on the answers.
Rule 2: The type of an input column is what all its values have in common: the rows are on disk before the
    first one is formatted.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from actors.core.messages.values import Json

if TYPE_CHECKING:
    import pyarrow as pa

_INT64 = range(-(2**63), 2**63)


class Kind(enum.StrEnum):
    """The kind of a column's values."""

    NULL = "null"  # no row has a value
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    SINGLE = "single"  # a number of 32 bits
    BOOLEAN = "boolean"
    DATE = "date"  # ISO 8601 text in JSON and CSV
    CHOICE = "choice"  # one of several texts
    LIST = "list"
    OBJECT = "object"  # with declared members
    BY_NAME = "by_name"  # objects by name in JSON; a list of objects with `name` in Arrow
    JSON = "json"  # any value; JSON text outside of JSON lines


@dataclass(frozen=True, slots=True)
class ValueType:
    """The type of a column's values.

    choices: of a CHOICE. item: the type of the entries of a LIST or BY_NAME. members: of an OBJECT.
    is_nullable: whether null may occur. Formats do not depend on it.
    """

    kind: Kind
    choices: tuple[str, ...] = ()
    item: ValueType | None = None
    members: tuple[tuple[str, ValueType], ...] = ()
    is_nullable: bool = True


NULL = ValueType(Kind.NULL)
TEXT = ValueType(Kind.TEXT)
INTEGER = ValueType(Kind.INTEGER)
NUMBER = ValueType(Kind.NUMBER)
BOOLEAN = ValueType(Kind.BOOLEAN)
DATE = ValueType(Kind.DATE)
JSON = ValueType(Kind.JSON)


def never_null(value_type: ValueType) -> ValueType:
    """Return the type of the same values without null."""
    return replace(value_type, is_nullable=False)


def list_of(item: ValueType) -> ValueType:
    """Return the type of lists of `item`."""
    return ValueType(Kind.LIST, item=item)


def object_of(members: Mapping[str, ValueType]) -> ValueType:
    """Return the type of objects with these members."""
    return ValueType(Kind.OBJECT, members=tuple(members.items()))


def by_name(entry: ValueType) -> ValueType:
    """Return the type of an object whose members are of the type `entry`."""
    return ValueType(Kind.BY_NAME, item=entry, is_nullable=False)


# ---- where types come from -------------------------------------------------------------------------------


def type_of_spec(spec: Any) -> ValueType:
    """Return the type of a field of ``evaluate.output``."""
    match spec.type:
        case "string" if spec.choices:
            return ValueType(Kind.CHOICE, choices=tuple(spec.choices))
        case "array":
            return list_of(type_of_spec(spec.items))
        case "vector":
            return list_of(ValueType(Kind.SINGLE))
        case "object" if spec.fields:
            return object_of({name: type_of_spec(inner) for name, inner in spec.fields.items()})
        case name:
            return _OF_SPEC.get(name, JSON)


_OF_SPEC = {"string": TEXT, "integer": INTEGER, "number": NUMBER, "boolean": BOOLEAN, "date": DATE}


def type_of_value(value: Json) -> ValueType:
    """Return the type of one value of the input."""
    if value is None:
        return NULL
    if isinstance(value, str):
        return TEXT
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, int):
        return INTEGER if value in _INT64 else JSON
    return NUMBER if isinstance(value, float) else JSON


def common_type(one: ValueType, other: ValueType) -> ValueType:
    """Return the type that holds the values of both types."""
    if other in (one, NULL):
        return one
    if one == NULL:
        return other
    return NUMBER if {one, other} == {INTEGER, NUMBER} else JSON


# ---- Arrow -----------------------------------------------------------------------------------------------


def arrow_type(value_type: ValueType) -> pa.DataType:
    """Return the Arrow type of a column."""
    import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s to load, and JSON lines do not need it

    made: pa.DataType
    match value_type:
        case ValueType(Kind.CHOICE):
            made = pa.dictionary(pa.int32(), pa.string())
        case ValueType(Kind.LIST, item=ValueType() as item):
            made = pa.list_(_nested_type(item))
        case ValueType(Kind.OBJECT, members=members):
            made = pa.struct([(name, _nested_type(inner)) for name, inner in members])
        case ValueType(Kind.BY_NAME, item=ValueType(members=members)):
            inner = [(name, _nested_type(inner)) for name, inner in members]
            made = pa.list_(pa.struct([("name", pa.string()), *inner]))
        case _:
            made = getattr(pa, _ARROW_NAMES.get(value_type.kind, "string"))()
    return made


_ARROW_NAMES = {
    Kind.INTEGER: "int64",
    Kind.NUMBER: "float64",
    Kind.SINGLE: "float32",
    Kind.BOOLEAN: "bool_",
    Kind.DATE: "date32",
}


def _nested_type(value_type: ValueType) -> pa.DataType:
    # Few readers take a dictionary within a list or a struct.
    return arrow_type(TEXT if value_type.kind is Kind.CHOICE else value_type)


def json_text(value: Json) -> str:
    """Return a value as JSON text."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # an integer beyond 64 bits
        import json  # noqa: PLC0415 - rare

        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
