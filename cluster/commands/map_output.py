"""Writes the result of ``map`` to stdout: JSON lines, or the first rows as a table for a terminal."""

from __future__ import annotations

import itertools
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster.report.console import plain
from cluster.report.results import ResultWriter
from cluster.report.tables.columns import TableName
from cluster.report.tables.lines import json_line
from cluster.report.tables.value_types import json_text

PREVIEWED = 10  # rows
_CELL = 40  # characters


def write_lines(writer: ResultWriter, stdout: TextIO) -> None:
    """Write every row as a line of JSON."""
    for row in writer.rows(TableName.ITEMS):
        stdout.buffer.write(json_line(row))
    stdout.buffer.flush()


def preview(writer: ResultWriter, stdout: TextIO) -> None:
    """Print the first rows, and how to get all."""
    console = Console(file=stdout, markup=False, highlight=False)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in writer.columns(TableName.ITEMS):
        table.add_column(Text(plain(column.name, _CELL)), overflow="ellipsis", no_wrap=True, max_width=_CELL)
    rows = writer.rows(TableName.ITEMS)
    for row in itertools.islice(rows, PREVIEWED):
        table.add_row(*(Text(_cell(value)) for value in row.values()))
    console.print(table)
    if left := sum(1 for _ in rows):
        console.print(f"and {left:,} more: the same command with -o FILE writes all, and asks nothing again")


def _cell(value: object) -> str:
    return "" if value is None else plain(value if isinstance(value, str) else json_text(value), _CELL)
