"""Writes a table as Parquet, with a schema that is fixed before the first row."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.report.tables.arrow_rows import ArrowRows
from cluster.report.tables.columns import Column, Row
from cluster.report.tables.kinds import AnyTable, MapTable
from cluster.report.tables.parquet_input import ArrowInput, InputRows

ROW_GROUP_ROWS = 10_000
_ROW_GROUP_BYTES = 2**25


class ParquetEncoder:
    """Writes rows to `file`, one row group at a time.

    In map form the columns of the input keep their types with an `arrow_input`.
    """

    def __init__(self, table: AnyTable, file: IO[bytes], arrow_input: ArrowInput | None = None) -> None:
        self._input = None
        columns: Sequence[Column] = table.columns
        fields, metadata = [], None
        if arrow_input is not None and isinstance(table, MapTable):
            self._input = given = InputRows(arrow_input, table.inputs)
            columns, fields, metadata = table.new_columns, given.fields, given.metadata
        self._converted = ArrowRows(columns)
        self._schema = pa.schema([*fields, *self._converted.schema], metadata)
        self._writer: pq.ParquetWriter | None = pq.ParquetWriter(file, self._schema, compression="zstd")
        self._tables: list[pa.Table] = []
        self._rows = self._bytes = 0

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows. Raises `OSError`, and `ValueError` for a value of another type."""
        made = self._converted.table(rows)
        if self._input is not None:
            made = pa.table([*self._input.take(rows).columns, *made.columns], self._schema)
        self._tables.append(made)
        self._rows += len(rows)
        self._bytes += made.nbytes
        if self._rows >= ROW_GROUP_ROWS or self._bytes >= _ROW_GROUP_BYTES:
            self._write_group()

    def _write_group(self) -> None:
        if self._tables and self._writer is not None:
            group = pa.concat_tables(self._tables).unify_dictionaries()
            self._writer.write_table(group, row_group_size=max(1, self._rows))
            self._tables.clear()
            self._rows = self._bytes = 0

    def finish(self) -> None:
        """Write the last row group and the footer."""
        if self._writer is not None:
            self._write_group()
            self._writer.close()
            self._writer = None

    def discard(self) -> None:
        """End without a complete file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            # A second error from the same full disk would hide the first.
            with contextlib.suppress(OSError, pa.ArrowException):
                writer.close()
