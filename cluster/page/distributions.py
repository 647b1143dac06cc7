"""How the values of a column spread: numbers in a histogram with quantiles, labels by their counts.

Rule: memory is bounded, whatever the number of values. Up to `MOST_VALUES` numbers, the quantiles are exact;
of more, they are those of a random sample. Counts, mean and deviation are always exact.
"""

from __future__ import annotations

import math
import random
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from actors.core.messages.values import Json

_Vector: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]

MOST_VALUES = 100_000
MOST_LABELS = 500
SHOWN_LABELS = 12
MOST_BINS = 24
_LABEL_CHARACTERS = 60  # of a free text that is a label
_FEW_LABELS = 30  # a text column with more different values has no labels


@dataclass(frozen=True, slots=True)
class Bin:
    """The number of values from `low` to `high`."""

    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class NumberSpread:
    """How numbers spread. The quantiles are None without a value."""

    name: str
    count: int
    missing: int
    mean: float | None
    deviation: float | None
    low: float | None
    first_quartile: float | None
    median: float | None
    third_quartile: float | None
    high: float | None
    bins: tuple[Bin, ...]
    unit: str = ""


@dataclass(frozen=True, slots=True)
class LabelSpread:
    """How often labels occur, the most frequent first. `others` counts those that are not shown."""

    name: str
    count: int
    missing: int
    labels: tuple[tuple[str, int], ...]
    others: int
    unit: str = ""


class ColumnNumbers:
    """Gathers the numbers of a column. `scale` is the declared range of its values."""

    def __init__(
        self, name: str, scale: tuple[float | None, float | None], unit: str, *, whole: bool
    ) -> None:
        self.name = name
        self._scale = scale
        self._unit = unit
        self._whole = whole
        self._values = array("d")
        self._random = random.Random(name)
        self._count = self._missing = 0
        self._mean = self._squares = 0.0

    def add(self, value: Json) -> None:
        """Count a value. Anything but a finite number counts as missing."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e100:
            self._missing += 1
            return
        number = float(value)
        self._count += 1
        step = number - self._mean
        self._mean += step / self._count
        self._squares += step * (number - self._mean)
        if len(self._values) < MOST_VALUES:
            self._values.append(number)
        elif (place := self._random.randrange(self._count)) < MOST_VALUES:
            self._values[place] = number

    def outlying(self, value: float) -> float:
        """Return the distance of a value from the median in robust standard deviations, 0 without them."""
        values = np.array(self._values)
        if len(values) < 10:
            return 0.0
        median = float(np.median(values))
        deviation = 1.4826 * float(np.median(np.abs(values - median)))
        return (value - median) / deviation if deviation > 0 else 0.0

    def spread(self) -> NumberSpread:
        """Return how the values so far spread."""
        values = np.array(self._values)
        if not len(values):
            nothing = (None,) * 7
            return NumberSpread(self.name, 0, self._missing, *nothing, (), self._unit)
        quantiles = [float(each) for each in np.quantile(values, (0, 0.25, 0.5, 0.75, 1))]
        deviation = math.sqrt(self._squares / (self._count - 1)) if self._count > 1 else 0.0
        bins = tuple(self._bins(values, quantiles[0], quantiles[-1]))
        low, first, median, third, high = quantiles
        counts = (self.name, self._count, self._missing)
        spread = (self._mean, deviation, low, first, median, third, high)
        return NumberSpread(*counts, *spread, bins, self._unit)

    def _bins(self, values: _Vector, low: float, high: float) -> Iterable[Bin]:
        least, most = self._scale
        begin, end = low if least is None else min(least, low), high if most is None else max(most, high)
        if self._whole and end - begin < MOST_BINS:
            edges = np.arange(math.floor(begin), math.floor(end) + 2) - 0.5
        elif begin == end:
            edges = np.array([begin - 0.5, begin + 0.5])
        else:
            edges = np.linspace(begin, end, 21)
        counts, _ = np.histogram(values, edges)
        scaled = self._count / len(values)
        return (
            Bin(float(edges[place]), float(edges[place + 1]), round(int(count) * scaled))
            for place, count in enumerate(counts)
        )


class Labels:
    """Counts the labels of a column: choices, booleans, and the entries of lists."""

    def __init__(self, name: str, unit: str, *, declared: Iterable[str] = (), free: bool = False) -> None:
        self.name = name
        self._unit = unit
        self._free = free
        self._counts: Counter[str] = Counter(dict.fromkeys(declared, 0))
        self._count = self._missing = self._others = 0

    def add(self, value: Json) -> None:
        """Count a value."""
        if value is None:
            self._missing += 1
            return
        self._count += 1
        entries = value if isinstance(value, list | tuple) else (value,)
        for label in dict.fromkeys(map(label_of, entries)):  # a label counts once for each value
            if label in self._counts or len(self._counts) < MOST_LABELS:
                self._counts[label] += 1
            else:
                self._others += 1

    def spread(self) -> LabelSpread | None:
        """Return how often the labels occur, None for a text column whose values are rarely equal."""
        seen = [pair for pair in self._counts.most_common() if pair[1] or not self._free]
        if self._free and not self._recur([label for label, _ in seen]):
            return None
        others = self._others + sum(count for _, count in seen[SHOWN_LABELS:])
        return LabelSpread(
            self.name, self._count, self._missing, tuple(seen[:SHOWN_LABELS]), others, self._unit
        )

    def _recur(self, labels: Sequence[str]) -> bool:
        """Return whether free texts are labels: few, short, and each found several times on average."""
        is_few = 0 < len(labels) <= min(_FEW_LABELS, self._count / 2)
        return is_few and max(map(len, labels)) <= _LABEL_CHARACTERS


def label_of(value: Json) -> str:
    """Return a value as a label."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)[:200]
