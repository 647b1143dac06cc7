"""Writes the result of ``map`` to stdout: JSON lines, or the first rows as a table for a terminal.

Says what a run that is continued cost this time.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.core.messages.journal import Spent, TaskTally
from cluster.report.console import cost_text, plain
from cluster.report.results import ResultWriter
from cluster.report.summary import RunSummary
from cluster.report.tables.columns import TableName
from cluster.report.tables.lines import json_line, printable_json
from cluster.report.tables.value_types import json_text

PREVIEWED = 10  # rows
_CELL = 60  # characters
_GAP = 2  # characters between columns
_NARROWEST = 6  # characters of a column that gives way


def write_lines(writer: ResultWriter, stdout: TextIO) -> None:
    """Write every row as a line of JSON."""
    for row in writer.rows(TableName.ITEMS):
        stdout.buffer.write(printable_json(json_line(row)))
    stdout.buffer.flush()


def preview(writer: ResultWriter, stdout: TextIO) -> None:
    """Print the first rows, and how to get all."""
    console = Console(file=stdout, markup=False, highlight=False)
    names = [plain(column.name, _CELL) for column in writer.columns(TableName.ITEMS)]
    rows = writer.rows(TableName.ITEMS)
    cells = [[_cell(value) for value in row.values()] for row in itertools.islice(rows, PREVIEWED)]
    widths = fitted([max(map(len, column)) for column in zip(names, *cells, strict=True)], console.width)
    table = Table(box=None, padding=(0, _GAP, 0, 0), header_style="bold")
    for name, width in zip(names, widths, strict=True):
        table.add_column(Text(name), overflow="ellipsis", no_wrap=True, width=width)
    for row in cells:
        table.add_row(*map(Text, row))
    console.print(table)
    if left := sum(1 for _ in rows):
        console.print(f"and {left:,} more: the same command with -o FILE writes all, and asks nothing again")


def spent_now(before: Spent, summary: RunSummary) -> str:
    """Return what was paid since `before`; the figures of `summary` are of the whole run."""
    billed = summary.calls.billed - before.counts.billed
    spent = summary.usage.less(before.usage)
    if billed <= 0:
        return f"nothing was paid this time: all {summary.calls.billed:,} answers are of earlier times"
    cost = cost_text(spent, is_priced=summary.is_priced)
    cost = "at an unknown price" if cost == "unknown" else cost
    return f"this time {billed:,} calls were billed, {cost}; the figures above are of the whole run"


def without_answer(tasks: TaskTally) -> str:
    """Return how many rows have an `_error`, and what to do about them; empty if there are none.

    A row that was skipped is a partial task.
    """
    failed, skipped = tasks.failed, tasks.partial
    if not failed + skipped:
        return ""
    have = "row has" if failed + skipped == 1 else "rows have"
    parts = [f"{failed + skipped:,} {have} no answer: their _error says why"]
    if skipped:
        parts.append(f"{skipped:,} of them were skipped, since a value that the prompt needs is null")
    if failed:
        again = "all failed rows" if skipped else "all of them"
        parts.append(f"the same command asks those again whose failure may pass, --retry-failed {again}")
    return "; ".join(parts)


def fitted(widths: Sequence[int], room: int) -> list[int]:
    """Return the widths of columns in a line of `room` characters: the widest give way to the others."""
    made = list(widths)
    while sum(made) + _GAP * len(made) > room and max(made) > _NARROWEST:
        made[made.index(max(made))] -= 1
    return made


def _cell(value: object) -> str:
    return "" if value is None else plain(value if isinstance(value, str) else json_text(value), _CELL)
