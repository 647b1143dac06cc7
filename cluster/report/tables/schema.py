"""Describes the objects of a table's JSON lines as JSON Schema."""

from __future__ import annotations

from actors.core.messages.values import Json
from cluster.report.tables.columns import AnyTable, Column
from cluster.report.tables.value_types import json_schema


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
    schema = json_schema(column.type)
    return {**schema, "description": column.description} if column.description else schema
