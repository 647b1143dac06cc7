"""Chooses the encoder of a table by the name of its format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Protocol

from cluster.report.tables.columns import Row
from cluster.report.tables.kinds import AnyTable
from cluster.report.tables.lines import csv_row, json_line

if TYPE_CHECKING:
    from cluster.report.tables.parquet_input import ArrowInput


class Encoder(Protocol):
    """Writes rows to a file. Each method except `discard` may raise `OSError`."""

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows. Raises `ValueError` or `TypeError` for a value that the format cannot hold."""

    def finish(self) -> None:
        """Write the end of the file."""

    def discard(self) -> None:
        """End without a complete file."""


class _Lines:
    """An encoder without an end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def finish(self) -> None:
        """Do nothing: a row is complete."""

    def discard(self) -> None:
        """Do nothing."""


class JsonLinesEncoder(_Lines):
    """Writes an object a line."""

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows."""
        self._file.writelines(map(json_line, rows))


class CsvEncoder(_Lines):
    """Writes a header and a row a line, with nested values of reports as columns."""

    def __init__(self, table: AnyTable, file: IO[bytes], separator: str) -> None:
        super().__init__(file)
        self._table = table
        self._separator = separator
        self._names = [column.name for column in table.flat_columns]
        self._file.write(csv_row(self._names, separator))

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows."""
        for row in map(self._table.flat, rows):
            # A task may lack a dimension of the configuration.
            cells = (row.get(name) for name in self._names)
            self._file.write(csv_row(cells, self._separator))


def encoder_of(
    format_name: str, table: AnyTable, file: IO[bytes], arrow_input: ArrowInput | None = None
) -> Encoder:
    """Return the encoder of a format: jsonl, csv, tsv or parquet."""
    if format_name == "parquet":
        from cluster.report.tables.parquet import ParquetEncoder  # noqa: PLC0415 - loads pyarrow: 0.1 s

        return ParquetEncoder(table, file, arrow_input)
    if format_name == "jsonl":
        return JsonLinesEncoder(file)
    return CsvEncoder(table, file, {"csv": ",", "tsv": "\t"}[format_name])
