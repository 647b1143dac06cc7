"""Reads tasks as a stream from a file, a range or a configuration.

Rule 1: Memory holds a few tasks, and a hash of each key to detect duplicates (about 80 bytes a key in a set).
Rule 2: Every mistake is a `TaskInputError` that names the file and the line, and says what to do.
Rule 3: Nothing is guessed or dropped: a line is a task, blank, or an error.
Rule 4: The size limit of a task holds while it is read: an endless line or quote is an error.

A task has the form ``{"key": ..., "params": {...}}``; or any object with a ``key``, whose other members are
the params; or a string, which is the key. A CSV header and a Parquet schema name the members.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import IO, TYPE_CHECKING

import orjson

from actors.core.errors import ConfigError
from actors.core.messages.tasks import Task
from actors.core.messages.values import Json
from actors.sources.files.parquet_rows import LargeRow, ParquetBoundError, read_rows
from actors.sources.records import exact_json

if TYPE_CHECKING:
    from pyarrow import parquet

MAX_TASK_BYTES = 2**20  # unless the configuration says otherwise
MAX_KEY_CHARACTERS = 512  # a key occurs in URLs, file names and log lines: 2,048 bytes at most
MAX_DEPTH = 100  # levels: encoders fail at deeper values

_LONGEST_MEASURED = 2**30  # bytes: the size of a too long line is counted up to here
_MOST_CELL = 2**30  # characters; the csv module's default of 131,072 rejects long cells

_MOST_ESCAPED = 3  # JSON may write \u00e9, six bytes, for a character that has two in UTF-8
_KEY_BYTES = 8 * 1024  # allowed for the key in a line, in addition to the params

# Control characters, line separators and overrides of the writing direction: a terminal obeys them.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")

_KINDS = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
}

_Placed = tuple[int, Task]  # the line or row, counted from 1, and its task


class TaskInputError(ConfigError):
    """The input of tasks is invalid. `place` is the file, `line` the line or row, None for the whole file."""

    def __init__(self, place: str, line: int | None, problem: str) -> None:
        super().__init__(place, line, problem)
        self.place = place
        self.line = line
        self.problem = problem

    def __str__(self) -> str:
        where = self.place if self.line is None else f"{self.place}:{self.line}"
        return f"{where}: {self.problem}"


# ---- streams of tasks ------------------------------------------------------------------------------------


def read_file(path: Path, max_task_bytes: int = MAX_TASK_BYTES) -> Iterator[Task]:
    """Return the tasks of a ``.jsonl``, ``.csv`` or ``.parquet`` file.

    Raises `TaskInputError` immediately if the file is missing or of another kind, and during iteration for an
    invalid line or a duplicate key.
    """
    readers: dict[str, Callable[[Path, int], Iterator[_Placed]]] = {
        ".jsonl": _read_jsonl,
        ".csv": _read_csv,
        ".parquet": _read_parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise TaskInputError(str(path), None, "the file type is unknown; name it .jsonl, .csv or .parquet")
    if not path.is_file():
        there = "it is not a file" if path.exists() else "there is no such file"
        raise TaskInputError(str(path), None, f"{there}; a path is relative to the working directory")
    return _refuse_duplicates(str(path), lambda: reader(path, max_task_bytes))


def make_range(count: int, prefix: str = "task-") -> Iterator[Task]:
    """Return `count` tasks: ``task-000001``, ``task-000002`` and so on. The keys sort by number."""
    width = max(6, len(str(count)))
    return (Task(f"{prefix}{number:0{width}}") for number in range(1, count + 1))


def from_inline(entries: Sequence[Json], max_task_bytes: int = MAX_TASK_BYTES) -> Iterator[Task]:
    """Return the tasks that a configuration lists. Raises `TaskInputError`, with entries counted from 1."""
    place = "tasks"

    def placed() -> Iterator[_Placed]:
        for number, entry in enumerate(entries, 1):
            yield number, _task_of(place, number, entry, max_task_bytes)

    return _refuse_duplicates(place, placed)


def take(tasks: Iterable[Task], limit: int | None) -> Iterator[Task]:
    """Return the first `limit` of `tasks`, or all if it is None. Later tasks are not read."""
    return itertools.islice(tasks, limit)


# ---- one record ------------------------------------------------------------------------------------------


def _task_of(place: str, line: int, record: Json, most: int) -> Task:
    """Return the task of `record`, of at most `most` bytes. Raises `TaskInputError`."""
    task = _described(place, line, record)
    if not task.params:
        return task
    try:
        written = orjson.dumps(task.params)
    except orjson.JSONEncodeError as error:
        raise TaskInputError(
            place, line, f"a param cannot be stored: {error}; write it as a string"
        ) from None
    if len(written) > most:
        raise TaskInputError(place, line, _too_large("the task has", len(written), most))
    if written.count(b"[") + written.count(b"{") > MAX_DEPTH and _is_deep(task.params, MAX_DEPTH):
        raise TaskInputError(place, line, f"a param is nested more than {MAX_DEPTH} levels deep; flatten it")
    return task


def _too_large(what: str, size: int, most: int) -> str:
    return f"{what} {size:,} bytes, more than {most:,}; move data to a source, or raise limits.max_task_bytes"


def _is_deep(value: Json, levels: int) -> bool:
    below = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return levels < 0 or any(_is_deep(each, levels - 1) for each in below)


def _described(place: str, line: int, record: Json) -> Task:
    if isinstance(record, str):
        return Task(_key_of(place, line, record))
    if not isinstance(record, Mapping):
        problem = f'a task is an object with a "key" or a string, not {_kind_of(record)}'
        raise TaskInputError(place, line, problem)
    if "key" not in record:
        found = ", ".join(map(str, itertools.islice(record, 8))) or "none"
        raise TaskInputError(place, line, f'the task has no "key"; its members are: {found}')
    params = {name: value for name, value in record.items() if name not in ("key", "params")}
    nested = record.get("params")
    if nested is not None:
        if not isinstance(nested, Mapping):
            problem = f'"params" must be an object of names and values, not {_kind_of(nested)}'
            raise TaskInputError(place, line, problem)
        # Two values would be ambiguous, and {key} in a template must be the task's key.
        if clash := next((name for name in nested if name in params or name == "key"), None):
            raise TaskInputError(place, line, f'"{clash}" is given both beside and within "params"; keep one')
        params.update(nested)
    return Task(_key_of(place, line, record["key"]), params)


def _key_of(place: str, line: int, value: Json) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise TaskInputError(place, line, f"the key must be a string, not {_kind_of(value)}")
    if not value.strip():
        raise TaskInputError(place, line, "the key is empty; give each task a unique key")
    if len(value) > MAX_KEY_CHARACTERS:
        problem = (
            f"the key has {len(value):,} characters, more than {MAX_KEY_CHARACTERS}; move data into params"
        )
        raise TaskInputError(place, line, problem)
    if _CONTROL.search(value):
        raise TaskInputError(place, line, f"the key contains a control character: {value[:80]!r}; remove it")
    return value


def _kind_of(value: Json) -> str:
    if isinstance(value, Mapping):
        return "an object"
    return _KINDS.get(type(value), f"a {type(value).__name__}")


def _refuse_duplicates(place: str, read: Callable[[], Iterator[_Placed]]) -> Iterator[Task]:
    """Yield the tasks of `read`. Raises `TaskInputError` at a duplicate key.

    When a hash repeats, the input is read again up to the first task with that key. This finds its line, or
    shows that two different keys share a hash.
    """
    seen: set[int] = set()
    for line, task in read():
        digest = int.from_bytes(blake2b(task.key.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        if digest in seen:
            first = next((earlier for earlier, other in read() if other.key == task.key), line)
            if first < line:
                problem = f"the key {task.key[:80]!r} is already on line {first}; keys must be unique"
                raise TaskInputError(place, line, problem)
        seen.add(digest)
        yield task


# ---- JSON lines ------------------------------------------------------------------------------------------


def _lines(path: Path, most: int, most_line: int) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line, with its line end. Raises `TaskInputError`.

    A line may have `most_line` bytes. `most` is the limit of a task, for the error message.
    """
    try:
        with path.open("rb") as file:
            for number in itertools.count(1):
                raw = file.readline(most_line + 1)
                if not raw:
                    return
                if number == 1:
                    if raw.startswith(_UTF16_BOMS):
                        raise TaskInputError(str(path), 1, "the file is UTF-16; save it as UTF-8")
                    raw = raw.removeprefix(_UTF8_BOM)
                if len(raw) > most_line:
                    problem = _too_large("the line has", len(raw) + _rest_of_line(raw, file), most)
                    raise TaskInputError(str(path), number, f"{problem}; write one task a line")
                try:
                    yield number, raw.decode()
                except UnicodeDecodeError as error:
                    problem = f"byte {error.start + 1} is not UTF-8; save the file as UTF-8"
                    raise TaskInputError(str(path), number, problem) from None
    except OSError as error:
        raise TaskInputError(str(path), None, f"cannot be read: {error.strerror}") from error


def _rest_of_line(begun: bytes, file: IO[bytes]) -> int:
    """Skip the rest of a line; return its size in bytes."""
    size = 0
    while not begun.endswith(b"\n") and size < _LONGEST_MEASURED and (begun := file.readline(2**20)):
        size += len(begun)
    return size


def _read_jsonl(path: Path, most: int) -> Iterator[_Placed]:
    for number, line in _lines(path, most, _MOST_ESCAPED * most + _KEY_BYTES):
        if not line.strip():
            continue
        try:
            record = exact_json(line.encode())
        except orjson.JSONDecodeError as error:
            problem = f"not JSON: {error.msg} at column {error.colno}; write one JSON object a line"
            raise TaskInputError(str(path), number, problem) from None
        yield number, _task_of(str(path), number, record, most)


# ---- CSV -------------------------------------------------------------------------------------------------


class _RowLines:
    """Iterates over the lines of a CSV file, and limits the bytes of a row, which may span many lines."""

    def __init__(self, path: Path, most: int) -> None:
        self._path = path
        self._most = most
        self._first = self._size = 0

    def __iter__(self) -> Iterator[str]:
        for number, line in _lines(self._path, self._most, self._most):
            self._first = self._first or number
            self._size += len(line.encode())
            if self._size > self._most:
                problem = _too_large("the row has at least", self._size, self._most)
                hint = f"{problem}; perhaps a quote is not closed"
                raise TaskInputError(str(self._path), self._first, hint)
            yield line

    def begin_row(self) -> None:
        """Start counting a new row with the next line."""
        self._first = self._size = 0


def _read_csv(path: Path, most: int) -> Iterator[_Placed]:
    csv.field_size_limit(_MOST_CELL)  # the csv module has only this process-wide limit
    lines = _RowLines(path, most)
    rows = csv.reader(iter(lines), strict=True)
    header: list[str] | None = None
    try:
        for row in rows:
            lines.begin_row()
            if not row:
                continue
            if header is None:
                header = _checked_header(path, rows.line_num, row)
                continue
            if len(row) != len(header):
                problem = (
                    f"the row has {len(row)} fields, the header {len(header)}; quote fields that hold commas"
                )
                raise TaskInputError(str(path), rows.line_num, problem)
            record = dict(zip(header, row, strict=True))
            yield rows.line_num, _task_of(str(path), rows.line_num, record, most)
    except csv.Error as error:
        raise TaskInputError(str(path), rows.line_num, f"not CSV: {error}; check the quotes") from None


def _checked_header(path: Path, line: int, row: Sequence[str]) -> list[str]:
    header = [name.strip() for name in row]
    if "key" not in header:
        found = ", ".join(header[:8])
        problem = f'no column is named "key"; the columns are: {found}; separate columns by commas'
        raise TaskInputError(str(path), line, problem)
    if "" in header or len(set(header)) != len(header):
        raise TaskInputError(str(path), line, "a column has no name, or two have the same; name each once")
    if "params" in header:
        raise TaskInputError(str(path), line, 'a cell cannot hold "params"; use a column for each param')
    return header


# ---- Parquet ---------------------------------------------------------------------------------------------


def _read_parquet(path: Path, most: int) -> Iterator[_Placed]:
    # Loading these takes 0.1 s, for which every command would wait.
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    def opened(coded: Sequence[str]) -> parquet.ParquetFile:
        file = pq.ParquetFile(path, read_dictionary=list(coded))
        _check_columns(path, file.schema_arrow.names)
        return file

    row = 0
    try:
        for row, record in enumerate(read_rows(opened, most_row_bytes=most), 1):
            if isinstance(record, LargeRow):
                raise TaskInputError(str(path), row, _too_large("the row has", record.size, most))
            yield row, _task_of(str(path), row, _as_json(path, row, record), most)
    except ParquetBoundError as error:
        problem = f"{error}; a task may have {most:,} bytes: raise limits.max_task_bytes, or write a new file"
        raise TaskInputError(str(path), None, problem) from None
    except (pa.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
        problem = f"cannot be read as Parquet: {error}; write a new file"
        raise TaskInputError(str(path), row + 1 if row else None, problem) from error


def _check_columns(path: Path, names: Sequence[str]) -> None:
    if "key" not in names:
        found = ", ".join(names[:8])
        raise TaskInputError(str(path), None, f'no column is named "key"; the columns are: {found}')
    if len(set(names)) < len(names):
        raise TaskInputError(str(path), None, "two columns have the same name; rename or drop one")


def _as_json(path: Path, row: int, record: Mapping[str, object]) -> Json:
    """Return `record` as JSON: dates become ISO 8601 strings, and decimals become strings."""
    try:
        return orjson.loads(orjson.dumps(record, default=_json_of_other))
    except orjson.JSONEncodeError as error:
        problem = f"a column has a type that JSON lacks: {error.__cause__ or error}; convert or drop it"
        raise TaskInputError(str(path), row, problem) from error


def _json_of_other(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(type(value).__name__)
