"""Reads the columns that a call names: texts of the column grammar, Python types, models and JSON Schemas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from actors.core.errors import ConfigError
from actors.core.messages.values import Json
from actors.core.task.column_words import Spec
from actors.core.task.columns import ColumnError, parse_columns, parse_entry

_WAYS = 'a dict such as {"score": "1..5 = how angry"}, a list of such columns, or a pydantic model'


def output_of(columns: object) -> dict[str, Spec]:
    """Return the fields of ``evaluate.output`` that `columns` names. Raises `ConfigError`.

    A mapping has an entry for each column: a text of the grammar, the choices as a list, a Python type, or
    the mapping form of the configuration. A list holds whole columns as texts. A pydantic model, a dataclass,
    a TypedDict and a JSON Schema name all columns.
    """
    if isinstance(columns, str):
        return parse_columns([columns])
    if isinstance(columns, Mapping):
        made = _of_schema(columns) if _is_schema(columns) else dict(map(_column, columns, columns.values()))
    elif isinstance(columns, type):
        from actors.llm.json_schema import fields_of_type  # noqa: PLC0415 - loads pydantic

        made = fields_of_type(columns)
    elif isinstance(columns, Iterable):
        made = parse_columns(_texts(columns))
    else:
        raise ConfigError(f"a {type(columns).__name__} names no columns: give {_WAYS}")
    if not made:
        raise ConfigError(f"no column is named: give {_WAYS}")
    return made


def _texts(columns: Iterable[object]) -> Iterable[str]:
    for column in columns:
        if not isinstance(column, str):
            raise ConfigError(f"a list of columns holds texts, not a {type(column).__name__}: give {_WAYS}")
        yield column


def _is_schema(columns: Mapping[Any, object]) -> bool:
    """Return whether the mapping is a JSON Schema. The grammar has no type "object"."""
    return columns.get("type") == "object" or "$schema" in columns or "$ref" in columns


def _of_schema(schema: Mapping[str, Json]) -> dict[str, Spec]:
    from actors.llm.json_schema import fields_of_schema  # noqa: PLC0415 - loads pydantic

    return fields_of_schema(schema, "columns")


def _column(name: object, wanted: object) -> tuple[str, Spec]:
    """Return the column of an entry of a mapping."""
    if not isinstance(name, str):
        raise ConfigError(f"the name of a column is a text, not {name!r}")
    if isinstance(wanted, str):
        return parse_entry(name, wanted)
    bare, mark = name.removesuffix("?"), {"nullable": True} if name.endswith("?") else {}
    parse_entry(bare, "str")  # checks the name
    if isinstance(wanted, Mapping):
        return bare, {**wanted, **mark}
    if isinstance(wanted, list | tuple):
        if not wanted or not all(isinstance(choice, str) for choice in wanted):
            raise ColumnError(name, "a list holds the choices, as texts; a list of values is list[str]")
        return bare, {"type": "string", "choices": list(wanted), **mark}
    return bare, {**_of_type(bare, wanted), **mark}


def _of_type(name: str, wanted: Any) -> Spec:
    """Return the mapping form of a Python type, such as ``Literal["a", "b"] | None``."""
    from pydantic import TypeAdapter  # noqa: PLC0415 - not every call needs it
    from pydantic.errors import PydanticUserError  # noqa: PLC0415 - same

    try:
        schema = TypeAdapter(wanted).json_schema()
    except (PydanticUserError, TypeError, NameError) as error:
        cause = str(error).splitlines()[0]
        raise ColumnError(name, f"{wanted!r} is not a type with a JSON Schema: {cause}") from error
    root = {"type": "object", "properties": {name: schema}, "$defs": schema.pop("$defs", {})}
    return _of_schema(root)[name]
