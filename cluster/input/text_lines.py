"""Parses JSON lines, and CSV with any delimiter."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence

import orjson

from actors.core.messages.values import Json
from actors.sources.records import exact_json
from cluster.input.decoded_lines import decoded_lines
from cluster.input.formats import DELIMITERS
from cluster.input.local_copy import InputFile
from cluster.input.problems import TaskInputError, too_large
from cluster.input.records import Reading, no_column

_MOST_CELL = 2**30  # characters; the csv module's default of 131,072 rejects long cells

_USUAL = ";\t,|"  # delimiters that a header with one column shows to be the right ones

_MOST_ESCAPED = 3  # JSON may write \u00e9, six bytes, for a character that has two in UTF-8
_KEY_BYTES = 8 * 1024  # allowed for the key in a line, in addition to the params


# ---- JSON lines ------------------------------------------------------------------------------------------


def json_records(file: InputFile, reading: Reading) -> Iterator[tuple[int, Json]]:
    """Yield the line and the document of every line that is not blank. Raises `TaskInputError`."""
    most = reading.max_bytes
    for number, line in decoded_lines(file, most, _MOST_ESCAPED * most + _KEY_BYTES):
        if not line.strip():
            continue
        try:
            yield number, exact_json(line.encode())
        except orjson.JSONDecodeError as error:
            problem = f"not JSON: {error.msg} at column {error.colno}; write one JSON object a line"
            raise TaskInputError(file.place, number, problem) from None


# ---- CSV and TSV -----------------------------------------------------------------------------------------


class _RowLines:
    """Iterates over the lines of a CSV file, and limits the bytes of a row, which may span many lines."""

    def __init__(self, file: InputFile, most: int) -> None:
        self._file = file
        self._most = most
        self._first = self._size = 0

    def __iter__(self) -> Iterator[str]:
        for number, line in decoded_lines(self._file, self._most, self._most):
            self._first = self._first or number
            self._size += len(line.encode())
            if self._size > self._most:
                problem = too_large("the row has at least", self._size, self._most)
                raise TaskInputError(
                    self._file.place, self._first, f"{problem}; perhaps a quote is not closed"
                )
            yield line

    def begin_row(self) -> None:
        """Start counting a new row with the next line."""
        self._first = self._size = 0


def delimited_records(file: InputFile, reading: Reading) -> Iterator[tuple[int, Json]]:
    """Yield the line and the cells by column of every row below the header. Raises `TaskInputError`."""
    rows = _delimited(file, reading)
    _, header = next(rows, (0, None))
    if header is None:
        return
    for line, row in rows:
        if len(row) != len(header):
            counts = f"the row has {len(row)} fields, the header {len(header)}"
            hint = f"quote fields that hold {shown_delimiter(file.delimiter)}"
            raise TaskInputError(file.place, line, f"{counts}; {hint}")
        cells = (cell or None for cell in row) if reading.rows else row
        yield line, dict(zip(header, cells, strict=True))


def delimited_columns(file: InputFile, reading: Reading) -> Sequence[str]:
    """Return the columns that the header names. Raises `TaskInputError` if there is no header."""
    _, header = next(_delimited(file, reading), (0, None))
    if header is None:
        problem = "the file is empty: it lacks even a header, which names the columns"
        raise TaskInputError(file.place, None, problem)
    return header


def _delimited(file: InputFile, reading: Reading) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the cells of the header, which is checked, and then of every row."""
    csv.field_size_limit(_MOST_CELL)  # the csv module has only this process-wide limit
    lines = _RowLines(file, reading.max_bytes)
    rows = csv.reader(iter(lines), strict=True, delimiter=file.delimiter)
    has_header = False
    try:
        for row in rows:
            lines.begin_row()
            if row:
                if not has_header:
                    row = _checked_header(file, rows.line_num, row, reading)  # noqa: PLW2901 - names without blanks
                has_header = True
                yield rows.line_num, row
    except csv.Error as error:
        raise TaskInputError(file.place, rows.line_num, f"not CSV: {error}; check the quotes") from None


def shown_delimiter(mark: str) -> str:
    """Return a delimiter for a message, as a shell takes it."""
    return "tab" if mark == "\t" else f"'{mark}'"


def _checked_header(file: InputFile, line: int, row: Sequence[str], reading: Reading) -> list[str]:
    header = [name.strip() for name in row]
    place = file.place
    key = reading.key or "key"
    found = next((mark for mark in _USUAL if mark != file.delimiter and mark in header[0]), None)
    is_meant = file.is_told and file.delimiter == DELIMITERS[file.format]
    if len(header) == 1 and found is not None and not is_meant:
        remedy = f"use --delimiter {shown_delimiter(found)}, or tasks.delimiter in a configuration"
        raise TaskInputError(place, line, f"the header has one column {header[0]!r}; {remedy}")
    if key not in header and (reading.key or not reading.rows):
        raise TaskInputError(place, line, no_column(key, header))
    if "" in header:
        hint = "; pandas writes its index so: use df.to_csv(..., index=False)" if header[0] == "" else ""
        raise TaskInputError(place, line, f"column {header.index('') + 1} has no name: name it{hint}")
    # To count each name in the list would take the square of the columns.
    if twice := next((name for name, number in Counter(header).items() if number > 1), None):
        numbers = " and ".join(str(number) for number, name in enumerate(header, 1) if name == twice)
        raise TaskInputError(place, line, f"columns {numbers} have the same name {twice!r}: rename one")
    if "params" in header and key in header and key == "key" and not reading.rows:
        raise TaskInputError(place, line, 'a cell cannot hold "params"; use a column for each param')
    return header
