"""Converts rows to Arrow.

Rows go through Arrow's own reader of JSON lines, with the declared types. `pyarrow.array` would take twice as
long a row, and would import pandas if it is installed, which takes 50 MB and half a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from actors.core.messages.values import Json
from cluster.report.tables.columns import Column, Row
from cluster.report.tables.lines import json_line
from cluster.report.tables.value_types import TEXT, Kind, ValueType, arrow_type, json_text


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """Return the Arrow schema of `columns`."""
    return pa.schema([(column.name, arrow_type(column.type)) for column in columns])


def arrow_table(columns: Sequence[Column], batches: Iterable[Sequence[Row]]) -> pa.Table:
    """Return `columns` of all rows as a table in memory. Raises `ValueError` for a value of another type."""
    convert = ArrowRows(columns)
    # The empty batch holds the choices of each column also for a table without rows.
    tables = (convert.table(rows) for rows in chain(([],), batches))
    return pa.concat_tables(tables)


class ArrowRows:
    """Converts rows to tables with `columns`."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.schema = arrow_schema(columns)
        self._columns = columns
        self._read = pa.schema([(column.name, arrow_type(_read_type(column.type))) for column in columns])
        self._prepared = {column.name: column.type for column in columns if _needs_preparation(column.type)}
        self._choices = {
            column.name: _texts(column.type.choices) for column in columns if column.type.kind is Kind.CHOICE
        }

    def table(self, rows: Sequence[Row]) -> pa.Table:
        """Return the rows as a table. Raises `ValueError` for a value of another type, naming the column."""
        # The reader needs a line.
        read = self._parsed(rows) if rows else self._parsed([dict.fromkeys(self._read.names)]).slice(1)
        arrays = []
        for field, column in zip(self.schema, read.columns, strict=True):
            if field.name in self._choices:
                arrays.append(_coded(column, self._choices[field.name]))
            else:
                arrays.append(column if column.type == field.type else column.cast(field.type))
        return pa.table(arrays, self.schema)

    def _parsed(self, rows: Sequence[Row]) -> pa.Table:
        names = self._read.names
        lines = []
        for row in rows:
            values = {name: row[name] for name in names}
            for name, value_type in self._prepared.items():
                values[name] = _plain(values[name], value_type)
            lines.append(json_line(values))
        data = b"".join(lines)
        return pj.read_json(
            pa.BufferReader(data),
            # One block: a row may be larger than the default.
            pj.ReadOptions(use_threads=False, block_size=len(data) + 1),
            pj.ParseOptions(explicit_schema=self._read, unexpected_field_behavior="error"),
        )


def _texts(values: Iterable[str]) -> pa.Array:
    lines = b"".join(json_line({"text": value}) for value in values)
    return pj.read_json(pa.BufferReader(lines))["text"].combine_chunks()


def _coded(column: pa.ChunkedArray, choices: pa.Array) -> pa.Array:
    """Return a column of texts as indices of `choices`."""
    texts = pa.concat_arrays(column.chunks) if column.num_chunks else column.combine_chunks()
    indices = pc.index_in(texts, value_set=choices)
    if indices.null_count > texts.null_count:
        # A configuration that was changed during the run may have had other choices.
        found = [*choices.to_pylist(), *(text for text in texts.unique().to_pylist() if text is not None)]
        choices = _texts(dict.fromkeys(found))
        indices = pc.index_in(texts, value_set=choices)
    return pa.DictionaryArray.from_arrays(indices, choices)


# ---- what the reader of JSON lines cannot read as it is --------------------------------------------------


def _read_type(value_type: ValueType) -> ValueType:
    """Return the type as which a column is read, before it is cast."""
    match value_type:
        case ValueType(Kind.CHOICE | Kind.DATE):
            return TEXT
        case ValueType(item=ValueType() as item):
            return ValueType(value_type.kind, item=_read_type(item))
        case ValueType(Kind.OBJECT, members=members):
            return ValueType(Kind.OBJECT, members=tuple((name, _read_type(inner)) for name, inner in members))
        case _:
            return value_type


def _needs_preparation(value_type: ValueType) -> bool:
    inner = [each for _, each in value_type.members]
    if value_type.item is not None:
        inner.append(value_type.item)
    return value_type.kind in (Kind.JSON, Kind.BY_NAME) or any(map(_needs_preparation, inner))


def _plain(value: Json, value_type: ValueType) -> Json:
    """Return a value with JSON text in the place of untyped values, and lists of objects by name."""
    if value is None:
        return None
    match value_type:
        case ValueType(Kind.JSON):
            return json_text(value)
        case ValueType(Kind.LIST, item=ValueType() as item):
            return [_plain(each, item) for each in value]
        case ValueType(Kind.BY_NAME, item=ValueType() as item):
            return [{"name": name, **_plain(each, item)} for name, each in value.items()]
        case ValueType(Kind.OBJECT, members=members):
            return {name: _plain(value.get(name), inner) for name, inner in members}
        case _:
            return value
