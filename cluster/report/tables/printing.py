"""Formats a table of a stored run as lines on stdout: JSON for programs, CSV for spreadsheets."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from actors.core.errors import Blame, HeadraceError
from actors.core.messages.tasks import Report, Task
from cluster.report.tables.columns import InputColumns, Layout, Row, TableName
from cluster.report.tables.kinds import AnyTable, table_of
from cluster.report.tables.lines import csv_row, json_line, printable_json

Ended = Callable[[], Iterable[tuple[Task, Report]]]
"""Returns a new stream of the ended tasks and their reports."""


class PrintedFormat(enum.StrEnum):
    """The formats on stdout."""

    JSONL = "jsonl"
    CSV = "csv"


class UnprintableError(HeadraceError):
    """A report contains text that cannot be encoded as UTF-8."""

    blame = Blame.TASK


def printed_table(name: TableName, layout: Layout, ended: Ended, form: PrintedFormat) -> Iterator[bytes]:
    """Yield the lines of a table. Raises `UnprintableError`.

    Characters that a terminal obeys are written as escapes. `ended` is read twice, because the columns of the
    input are those of all tasks.
    """
    inputs, has_text = InputColumns(), False
    for place, (task, report) in enumerate(ended()):
        inputs.add(place, task)
        has_text = has_text or any(item.text is not None for item in report.items)
    table = table_of(name, replace(layout, has_text=has_text), inputs.types)
    names = [column.name for column in table.flat_columns]
    if form is PrintedFormat.CSV:
        yield csv_row(names)
    for task, report in ended():
        try:
            yield from _lines(table, names, table.rows(task, report), form)
        except (TypeError, ValueError) as error:
            problem = f"the report of task {task.key!r} contains text that is not Unicode: {error}"
            raise UnprintableError(problem) from error


def _lines(table: AnyTable, names: list[str], rows: Iterable[Row], form: PrintedFormat) -> Iterator[bytes]:
    for row in rows:
        if form is PrintedFormat.CSV:
            flat = table.flat(row)
            yield csv_row(flat.get(name) for name in names)
        else:
            yield printable_json(json_line(row))
