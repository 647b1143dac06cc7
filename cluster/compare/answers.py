"""Keeps the answers of one side of a comparison as arrays of numbers, and pairs those of two sides.

Rule 1: a value takes 8 bytes, and 16 in a column with numbers, whatever its size. So a million rows with ten
    columns take 160 MB, and texts are never in memory together.
Rule 2: equal values have equal codes. A code is the value's hash of 64 bits: that two of a million different
    values share one has a chance of 3 in 100 million.
Rule 3: the order of the rows decides, never that of the codes, which differ from process to process.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from msgspec import Struct

from actors.core.messages.values import Json
from cluster.report.tables.value_types import json_text

_NO_STEPS: Mapping[str, str] = MappingProxyType({})
NULL = 0  # the code of null, and of a column that a row lacks
MOST_LABELS = 50  # different values; a column with more has texts
_LONGEST_LABEL = 100  # characters

Codes: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]
Numbers: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]
Flags: TypeAlias = np.ndarray[tuple[int], np.dtype[np.bool_]]


class RowAnswer(Struct, frozen=True):
    """The answers about one row or item: `values` by column. `task` is the independent unit it belongs to.

    `input` is what was asked about, None if it is not known apart from the answers.
    """

    task: str
    item: str
    values: Mapping[str, Json]
    has_failed: bool = False
    input: Mapping[str, Json] | None = None


def code_of(value: Json) -> int:
    """Return the code of a value. 1 and 1.0 have the same, and so have 0 and -0.0; true has another."""
    if value is None:
        return NULL
    if isinstance(value, str):
        return hash(value) or 1
    if isinstance(value, bool):
        return hash(("bool", value)) or 1
    if isinstance(value, int | float):
        return hash(("number", value)) or 1
    return hash(("json", json_text(_ordered(value)))) or 1


def key_of(task: str, item: str) -> int:
    """Return the code of the key of a row or item."""
    return hash((task, item))


def _ordered(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {name: _ordered(value[name]) for name in sorted(value)}
    return [_ordered(each) for each in value] if isinstance(value, list | tuple) else value


class AnswerColumn:
    """The values of one column."""

    def __init__(self, rows: int) -> None:
        self._codes = array("q", bytes(8 * rows))
        self._numbers: array[float] | None = None
        self.labels: dict[int, Json] = {}  # by code, at most one more than MOST_LABELS
        self.has_texts = self.has_numbers = self.has_booleans = self.has_others = self.has_long = False

    def add(self, value: Json) -> None:
        """Add the value of the next row."""
        code = code_of(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            self.has_numbers = True
            if self._numbers is None:
                self._numbers = array("d", [math.nan]) * len(self._codes)
            self._numbers.append(float(value) if abs(value) < 1e300 else math.nan)
        elif self._numbers is not None:
            self._numbers.append(math.nan)
        self._codes.append(code)
        if code not in self.labels and len(self.labels) <= MOST_LABELS and code != NULL:
            self._look(code, value)

    def _look(self, code: int, value: Json) -> None:
        if isinstance(value, str):
            self.has_texts = True
            self.has_long = self.has_long or len(value) > _LONGEST_LABEL
            value = value[:_LONGEST_LABEL]
        elif isinstance(value, bool):
            self.has_booleans = True
        elif not isinstance(value, int | float):
            self.has_others = True
            value = None
        self.labels[code] = value

    @property
    def codes(self) -> Codes:
        """The code of each row."""
        return np.frombuffer(self._codes, dtype=np.int64)

    @property
    def numbers(self) -> Numbers:
        """The number of each row, NaN where it has none."""
        if self._numbers is None:
            return np.full(len(self._codes), math.nan)
        return np.frombuffer(self._numbers, dtype=np.float64)


class AnswerTable:
    """The answers of one side, row by row. Rows with equal keys are repeats.

    `steps` has the step of each column, if it is known.
    """

    def __init__(self, answers: Iterable[RowAnswer], steps: Mapping[str, str] = _NO_STEPS) -> None:
        self.steps = steps
        keys, tasks, failed = array("q"), array("q"), bytearray()
        self.columns: dict[str, AnswerColumn] = {}
        for answer in answers:
            if not answer.values.keys() <= self.columns.keys():
                new = (name for name in answer.values if name not in self.columns)
                self.columns.update({name: AnswerColumn(len(keys)) for name in new})
            keys.append(key_of(answer.task, answer.item))
            tasks.append(hash(answer.task))
            failed.append(answer.has_failed)
            for name, column in self.columns.items():
                column.add(answer.values.get(name))
        self.count = len(keys)
        self._keys = np.frombuffer(keys, dtype=np.int64) if keys else np.empty(0, np.int64)
        self._tasks = np.frombuffer(tasks, dtype=np.int64) if keys else np.empty(0, np.int64)
        self.failed: Flags = np.frombuffer(bytes(failed), dtype=np.bool_)

    @cached_property
    def groups(self) -> Groups:
        """The rows of each key."""
        return Groups.of(self._keys)

    @property
    def keys(self) -> Codes:
        """The code of each key, in order of first occurrence."""
        return self._keys[self.groups.first]

    @property
    def tasks(self) -> Codes:
        """The code of the task of each key."""
        return self._tasks[self.groups.first]

    @property
    def key_failed(self) -> Flags:
        """Whether all rows of a key have failed."""
        failed: Flags = self.groups.means(self.failed.astype(np.float64)) == 1
        return failed

    def numbers(self, name: str) -> Numbers:
        """Return the mean number of each key, NaN without any."""
        return self.groups.means(self.columns[name].numbers)

    def codes(self, name: str) -> Codes:
        """Return the most frequent code of each key."""
        return self.groups.modes(self.columns[name].codes)


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows with equal keys. Keys are in order of first occurrence: `first` has the row at which each does.

    `of_row` has the place of each row's key among the keys.
    """

    first: Codes
    of_row: Codes

    @classmethod
    def of(cls, keys: Codes) -> Groups:
        """Return the groups of rows with these keys."""
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        return cls(first[order], rank[inverse])

    @property
    def are_single(self) -> bool:
        """Whether each key has one row."""
        return len(self.first) == len(self.of_row)

    @property
    def most(self) -> int:
        """The largest number of rows with one key."""
        return int(np.bincount(self.of_row).max()) if len(self.of_row) else 0

    def means(self, values: Numbers) -> Numbers:
        """Return the mean of the values of each key that are not NaN; NaN without any."""
        if self.are_single:
            return values
        known = ~np.isnan(values)
        counts = np.bincount(self.of_row[known], minlength=len(self.first))
        sums = np.bincount(self.of_row[known], weights=values[known], minlength=len(self.first))
        with np.errstate(invalid="ignore"):
            means: Numbers = sums / counts
        return means

    def modes(self, codes: Codes) -> Codes:
        """Return the most frequent code of each key, the first of those that are equally frequent."""
        if self.are_single:
            return codes
        pairs, first, counts = np.unique(
            np.stack((self.of_row, codes)), axis=1, return_index=True, return_counts=True
        )
        order = np.lexsort((first, -counts, pairs[0]))
        _, best = np.unique(pairs[0][order], return_index=True)
        modes: Codes = pairs[1][order][best]
        return modes


def matched(a: Codes, b: Codes) -> tuple[Codes, Codes]:
    """Return the places in `a` and in `b` of the keys that both have, in the order of `a`."""
    if not len(a) or not len(b):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    order = np.argsort(b, kind="stable")
    places = np.minimum(np.searchsorted(b[order], a), len(b) - 1)
    found = order[places]
    is_there = b[found] == a
    return np.nonzero(is_there)[0], found[is_there]
