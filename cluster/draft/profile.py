"""Describes the columns of a table: which values are unique, long, or few. Pure: rows go in.

Rule: all rows are looked at, so that a guess holds for the end of a sorted file too. Memory is bounded: the
values of a column are remembered only while they are few, or while no value has occurred twice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson

from actors.core.messages.tasks import Task
from actors.core.messages.values import Json

MOST_CHOICES = 12  # different values of a column that a model could choose from
_MOST_CHOICE = 40  # characters of such a value
_ROWS_A_CHOICE = 3  # a column with fewer rows for each value is not one of few values
_MOST_KEY = 64  # characters
_UNNAMEABLE = re.compile(r"[{}]|\?$")  # in the name of a column
_MOST_UNIQUE = 2_000_000  # values that are remembered; later ones are not checked


@dataclass(slots=True)
class ColumnProfile:
    """The values of one column so far. `choices` counts text values while there are few."""

    name: str
    rows: int = 0  # with a value
    texts: int = 0  # of them, values that are text
    characters: int = 0
    longest: int = 0
    is_unique: bool = True
    choices: Counter[str] | None = field(default_factory=Counter)
    _seen: set[int] = field(default_factory=set)

    def add(self, value: Json) -> None:
        """Add the value of one row."""
        if value is None:
            return
        self.rows += 1
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        self.texts += isinstance(value, str)
        self.characters += len(text)
        self.longest = max(self.longest, len(text))
        if self.is_unique and len(self._seen) < _MOST_UNIQUE:
            digest = hash(text)
            self.is_unique = digest not in self._seen
            self._seen.add(digest)
            if not self.is_unique:
                self._seen.clear()
        if self.choices is not None:
            self.choices[text] += 1
            if len(self.choices) > MOST_CHOICES or len(text) > _MOST_CHOICE:
                self.choices = None

    @property
    def mean_length(self) -> float:
        """The mean number of characters of a value."""
        return self.characters / self.rows if self.rows else 0.0

    def is_key(self, rows: int) -> bool:
        """Return whether the column could name the `rows` rows."""
        return self.is_unique and self.rows == rows and self.longest <= _MOST_KEY

    def is_choice(self) -> bool:
        """Return whether the column has few values, which repeat."""
        few = self.choices
        return few is not None and self.texts == self.rows and 2 <= len(few) <= self.rows / _ROWS_A_CHOICE


@dataclass(frozen=True, slots=True)
class TableProfile:
    """The columns of a table, and the guesses about them; None where nothing fits."""

    rows: int
    columns: tuple[ColumnProfile, ...]

    @property
    def key(self) -> ColumnProfile | None:
        """The column that names the rows: one called id or key, or else the first that could."""
        fits = [column for column in self.columns if column.is_key(self.rows)]
        return next((column for column in fits if _is_called_id(column.name)), next(iter(fits), None))

    @property
    def text(self) -> ColumnProfile | None:
        """The column with the longest text on average, among those that a placeholder can name."""
        texts = [
            column
            for column in self.columns
            if column.texts and column is not self.key and not _UNNAMEABLE.search(column.name)
        ]
        return max(texts, key=lambda column: column.mean_length, default=None)

    @property
    def choices(self) -> tuple[ColumnProfile, ...]:
        """The columns of few values."""
        return tuple(column for column in self.columns if column.is_choice() and column is not self.text)


def profile_of(rows: Iterable[Task]) -> TableProfile:
    """Return the profile of a table."""
    columns: dict[str, ColumnProfile] = {}
    count = 0
    for task in rows:
        count += 1
        for name, value in task.params.items():
            if name not in columns:
                columns[name] = ColumnProfile(name)
            columns[name].add(value)
    return TableProfile(count, tuple(columns.values()))


def _is_called_id(name: str) -> bool:
    last = name.lower().replace("-", "_").rpartition("_")[2]
    return last in {"id", "key", "uuid", "guid"} or name.endswith(("Id", "ID"))
