"""Reads a text file line by line, with bounds, and parses JSON lines, CSV and TSV."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from typing import IO

import orjson

from actors.core.messages.values import Json
from actors.sources.records import exact_json
from cluster.input.local_copy import InputFile
from cluster.input.problems import TaskInputError, too_large
from cluster.input.records import Reading, no_column

_LONGEST_MEASURED = 2**30  # bytes: the size of a too long line is counted up to here
_MOST_CELL = 2**30  # characters; the csv module's default of 131,072 rejects long cells

# How to convert a file with another separator, by the separator.
_CONVERSIONS = {
    ";": "; with pandas: pd.read_csv(FILE, sep=';').to_csv('commas.csv', index=False)",
    "\t": ", or name the file .tsv",
    ",": ", or name the file .csv",
}

_MOST_ESCAPED = 3  # JSON may write \u00e9, six bytes, for a character that has two in UTF-8
_KEY_BYTES = 8 * 1024  # allowed for the key in a line, in addition to the params

_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


def _lines(file: InputFile, most: int, most_line: int) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line, with its line end. Raises `TaskInputError`.

    A line may have `most_line` bytes. `most` is the limit of a task, for the error message.
    """
    try:
        with file.path.open("rb") as opened:
            for number in itertools.count(1):
                raw = opened.readline(most_line + 1)
                if not raw:
                    return
                if number == 1:
                    if raw.startswith(_UTF16_BOMS):
                        raise TaskInputError(file.place, 1, "the file is UTF-16; save it as UTF-8")
                    raw = raw.removeprefix(_UTF8_BOM)
                if len(raw) > most_line:
                    problem = too_large("the line has", len(raw) + _rest_of_line(raw, opened), most)
                    raise TaskInputError(file.place, number, f"{problem}; write one task a line")
                try:
                    yield number, raw.decode()
                except UnicodeDecodeError as error:
                    problem = f"byte {error.start + 1} is not UTF-8; save the file as UTF-8"
                    raise TaskInputError(file.place, number, problem) from None
    except OSError as error:
        raise TaskInputError(file.place, None, f"cannot be read: {error.strerror}") from error


def _rest_of_line(begun: bytes, file: IO[bytes]) -> int:
    """Skip the rest of a line; return its size in bytes."""
    size = 0
    while not begun.endswith(b"\n") and size < _LONGEST_MEASURED and (begun := file.readline(2**20)):
        size += len(begun)
    return size


# ---- JSON lines ------------------------------------------------------------------------------------------


def json_records(file: InputFile, reading: Reading) -> Iterator[tuple[int, Json]]:
    """Yield the line and the document of every line that is not blank. Raises `TaskInputError`."""
    most = reading.max_bytes
    for number, line in _lines(file, most, _MOST_ESCAPED * most + _KEY_BYTES):
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
        for number, line in _lines(self._file, self._most, self._most):
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


def delimited_records(file: InputFile, reading: Reading, delimiter: str) -> Iterator[tuple[int, Json]]:
    """Yield the line and the cells by column of every row below the header. Raises `TaskInputError`."""
    rows = _delimited(file, reading, delimiter)
    _, header = next(rows, (0, None))
    if header is None:
        return
    for line, row in rows:
        if len(row) != len(header):
            counts = f"the row has {len(row)} fields, the header {len(header)}"
            what = "commas" if delimiter == "," else "tabs"
            raise TaskInputError(file.place, line, f"{counts}; quote fields that hold {what}")
        cells = (cell or None for cell in row) if reading.rows else row
        yield line, dict(zip(header, cells, strict=True))


def delimited_columns(file: InputFile, reading: Reading, delimiter: str) -> Sequence[str]:
    """Return the columns that the header names. Raises `TaskInputError` if there is no header."""
    _, header = next(_delimited(file, reading, delimiter), (0, None))
    if header is None:
        problem = "the file is empty: it lacks even a header, which names the columns"
        raise TaskInputError(file.place, None, problem)
    return header


def _delimited(file: InputFile, reading: Reading, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the cells of the header, which is checked, and then of every row."""
    csv.field_size_limit(_MOST_CELL)  # the csv module has only this process-wide limit
    lines = _RowLines(file, reading.max_bytes)
    rows = csv.reader(iter(lines), strict=True, delimiter=delimiter)
    has_header = False
    try:
        for row in rows:
            lines.begin_row()
            if row:
                if not has_header:
                    row = _checked_header(file.place, rows.line_num, row, reading, delimiter)  # noqa: PLW2901 - names without blanks
                has_header = True
                yield rows.line_num, row
    except csv.Error as error:
        raise TaskInputError(file.place, rows.line_num, f"not CSV: {error}; check the quotes") from None


def _checked_header(place: str, line: int, row: Sequence[str], reading: Reading, delimiter: str) -> list[str]:
    header = [name.strip() for name in row]
    key = reading.key or "key"
    what = "commas" if delimiter == "," else "tabs"
    if len(header) == 1 and (found := next((other for other in _CONVERSIONS if other in header[0]), None)):
        problem = f"the only column is named {header[0]!r}; separate columns by {what}{_CONVERSIONS[found]}"
        raise TaskInputError(place, line, problem)
    if key not in header and (reading.key or not reading.rows):
        raise TaskInputError(place, line, no_column(key, header))
    if "" in header:
        hint = "; pandas writes its index so: use df.to_csv(..., index=False)" if header[0] == "" else ""
        raise TaskInputError(place, line, f"column {header.index('') + 1} has no name: name it{hint}")
    if twice := next((name for name in header if header.count(name) > 1), None):
        numbers = " and ".join(str(number) for number, name in enumerate(header, 1) if name == twice)
        raise TaskInputError(place, line, f"columns {numbers} have the same name {twice!r}: rename one")
    if "params" in header and key in header and key == "key" and not reading.rows:
        raise TaskInputError(place, line, 'a cell cannot hold "params"; use a column for each param')
    return header
