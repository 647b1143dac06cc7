"""Makes tasks of the records of a file or a list.

A record is ``{"key": ..., "params": {...}}``; or any object with a ``key``, whose other members are the
params; or a string, which is the key. With `Reading.key` another member is the key, and all members are
params. With `Reading.rows` a record is a row of a table: all members are params, and without a key its number
is the key.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

import orjson
from msgspec import Struct

from actors.core.messages.tasks import Task
from actors.core.messages.values import Json
from cluster.input.problems import MAX_TASK_BYTES, TaskInputError, too_large

MAX_KEY_CHARACTERS = 512  # a key occurs in URLs, file names and log lines: 2,048 bytes at most
MAX_DEPTH = 100  # levels: encoders fail at deeper values

# Control characters, line separators and marks of the writing direction: a terminal obeys them.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")

_KINDS = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
}


class Reading(Struct, frozen=True):
    """How the records of an input become tasks.

    `key` names the member that is the key. `rows`: without a member ``key`` the key is the row's number, and
    an empty cell of a CSV file is null, as in pandas. `max_bytes` bounds the params of a task.
    """

    key: str | None = None
    rows: bool = False
    max_bytes: int = MAX_TASK_BYTES


class TaskMaker:
    """Makes the tasks of one pass over an input. `place` names the input in errors."""

    def __init__(self, place: str, reading: Reading) -> None:
        self._place = place
        self._reading = reading
        self._made = 0
        self.is_numbered: bool | None = None  # decided by the first record

    def task(self, line: int, record: Json) -> Task:
        """Return the task of the record on `line`. Raises `TaskInputError`."""
        self._made += 1
        task = self._described(line, record)
        if task.params:
            self._check_params(line, task.params)
        return task

    def _described(self, line: int, record: Json) -> Task:
        if isinstance(record, str) and self._reading.key is None:
            return Task(self._key(line, record))
        if not isinstance(record, Mapping):
            problem = f'a task is an object with a "key" or a string, not {_kind_of(record)}'
            raise TaskInputError(self._place, line, problem)
        if self._reading.key not in (None, "key"):
            return self._keyed(line, record, str(self._reading.key))
        if self.is_numbered is None:
            self.is_numbered = self._reading.rows and self._reading.key is None and "key" not in record
        if self.is_numbered:
            if "key" in record:
                problem = (
                    'the row has a "key", but the first row has none: give every row one, or name a column'
                )
                raise TaskInputError(self._place, line, f"{problem} as the key")
            return Task(row_key(self._made), record)
        if self._reading.rows and not _is_task(record):
            return self._keyed(line, record, "key")  # a column as any other, with its place and its type
        return self._with_params(line, record)

    def _keyed(self, line: int, record: Mapping[str, Json], column: str) -> Task:
        if column not in record:
            raise TaskInputError(self._place, line, no_column(column, list(record)))
        return Task(self._key(line, record[column]), record)

    def _with_params(self, line: int, record: Mapping[str, Json]) -> Task:
        if "key" not in record:
            found = ", ".join(map(str, itertools.islice(record, 8))) or "none"
            raise TaskInputError(self._place, line, f'the task has no "key"; its members are: {found}')
        params = {name: value for name, value in record.items() if name not in ("key", "params")}
        nested = record.get("params")
        if nested is not None:
            if not isinstance(nested, Mapping):
                problem = f'"params" must be an object of names and values, not {_kind_of(nested)}'
                raise TaskInputError(self._place, line, problem)
            # Two values would be ambiguous, and {key} in a template must be the task's key.
            if clash := next((name for name in nested if name in params or name == "key"), None):
                problem = f'"{clash}" is given both beside and within "params"; keep one'
                raise TaskInputError(self._place, line, problem)
            params.update(nested)
        return Task(self._key(line, record["key"]), params)

    def _key(self, line: int, value: Json) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise TaskInputError(self._place, line, f"the key must be a string, not {_kind_of(value)}")
        if not value.strip():
            raise TaskInputError(self._place, line, "the key is empty; give each task a unique key")
        if len(value) > MAX_KEY_CHARACTERS:
            size = f"the key has {len(value):,} characters, more than {MAX_KEY_CHARACTERS}"
            raise TaskInputError(self._place, line, f"{size}; move data into params")
        if _CONTROL.search(value):
            problem = f"the key contains a control character: {value[:80]!r}; remove it"
            raise TaskInputError(self._place, line, problem)
        return value

    def _check_params(self, line: int, params: Mapping[str, Json]) -> None:
        try:
            written = orjson.dumps(params)
        except orjson.JSONEncodeError as error:
            problem = f"a param cannot be stored: {error}; write it as a string"
            raise TaskInputError(self._place, line, problem) from None
        if len(written) > self._reading.max_bytes:
            problem = too_large("the task has", len(written), self._reading.max_bytes)
            raise TaskInputError(self._place, line, problem)
        if written.count(b"[") + written.count(b"{") > MAX_DEPTH and _is_deep(params, MAX_DEPTH):
            problem = f"a param is nested more than {MAX_DEPTH} levels deep; flatten it"
            raise TaskInputError(self._place, line, problem)


def _is_task(record: Mapping[str, Json]) -> bool:
    """Return whether a row is written as a task, with its columns in ``params``."""
    return record.keys() == {"key", "params"} and isinstance(record["params"], Mapping)


def row_key(number: int) -> str:
    """Return the key of a row without one. Keys sort by number up to 999,999."""
    return f"row-{number:06}"


def no_column(column: str, names: Sequence[str]) -> str:
    """Return the problem that the key column is missing, and the remedy."""
    known = ", ".join(map(str, names[:8]))
    return f'no column is named "{column}"; the columns are: {known}; name the one that is the key'


def _is_deep(value: Json, levels: int) -> bool:
    below = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return levels < 0 or any(_is_deep(each, levels - 1) for each in below)


def _kind_of(value: Json) -> str:
    if isinstance(value, Mapping):
        return "an object"
    return _KINDS.get(type(value), f"a {type(value).__name__}")
