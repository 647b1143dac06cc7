"""Describes the objects of a table's JSON lines as JSON Schema, for the page about results and its tests."""

from __future__ import annotations

from actors.core.messages.values import Json
from cluster.report.tables.columns import Column
from cluster.report.tables.kinds import AnyTable
from cluster.report.tables.value_types import Kind, ValueType


def table_schema(table: AnyTable) -> dict[str, Json]:
    """Return the JSON Schema of a row. Every column is a member of every row."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": table.name.value,
        "type": "object",
        "properties": {column.name: _described(column) for column in table.columns},
        "required": [column.name for column in table.columns],
        "additionalProperties": False,
    }


def _described(column: Column) -> dict[str, Json]:
    schema = _schema_of(column.type)
    return {**schema, "description": column.description} if column.description else schema


def _schema_of(value_type: ValueType) -> dict[str, Json]:
    """Return the JSON Schema of a column's values in JSON lines."""
    name = _JSON_NAMES.get(value_type.kind, value_type.kind.value)
    schema: dict[str, Json] = {"type": [name, "null"] if value_type.is_nullable else name}
    match value_type:
        case ValueType(Kind.JSON):
            schema = {}
        case ValueType(Kind.DATE):
            schema["format"] = "date"
        case ValueType(Kind.CHOICE, choices=choices):
            schema = {"enum": [*choices, None]}
        case ValueType(Kind.LIST, item=ValueType() as item):
            schema["items"] = _schema_of(item)
        case ValueType(Kind.OBJECT, members=members):
            schema["properties"] = {name: _schema_of(inner) for name, inner in members}
        case ValueType(Kind.BY_NAME, item=ValueType() as item):
            schema["additionalProperties"] = _schema_of(item)
    return schema


_JSON_NAMES = {
    Kind.TEXT: "string",
    Kind.DATE: "string",
    Kind.CHOICE: "string",
    Kind.LIST: "array",
    Kind.BY_NAME: "object",
}
