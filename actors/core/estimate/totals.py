"""Estimates a total over all rows from a simple random sample of them.

Rule 1: rows are drawn at random, without replacement, and never from the beginning of the input. Files are
    often sorted: the first 30 rows of a file sorted by length miss its total by 65 %, random ones by 22 %.
Rule 2: the interval covers the true total in at least 93 of 100 samples of 30 rows, also if few rows cause
    most of the cost (`tests/unit/core/estimate/test_coverage.py`).

The length of an answer is skewed: a few are much longer than the rest. For such values the t interval fails
on one side. Of 100 samples of 30 log-normal values (coefficient of variation 0.9) it covers the mean in 91.
It covers 87 if a tenth of the rows has a second, longer answer. Cochran's rule (*Sampling Techniques*, 1977,
section 2.15) wants 25 times the squared skewness as sample: hundreds of rows. So the t statistic is corrected
for skewness by Hall's monotone transformation (`student`). It covers more than the correction of Johnson
(*JASA* 73, 1978), and as much as the bootstrap-t interval, which fails where most values are equal. A
sample understates the skewness of its population, so the tails are set to 2 % below and 0.75 % above: in the
simulation the interval then covers 93 % or more, and 97 % in most cases.

The finite-population factor ``1 - n / N`` shrinks the interval to the sum when every row is in the sample.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from statistics import fmean, median, stdev
from typing import Generic, TypeVar

from msgspec import Struct

from actors.core.estimate.student import t_quantile, untransformed

ENOUGH = 30  # sampled rows; an interval from fewer is rough
LEAST = 5  # sampled rows; fewer give no interval

_BELOW, _ABOVE = 0.02, 0.0075  # the tails of the t statistic
_Row = TypeVar("_Row")


class Span(Struct, frozen=True):
    """An estimated total between two bounds. `high` is infinite if nothing bounds it."""

    low: float
    mid: float
    high: float

    def __add__(self, other: Span) -> Span:
        """Return the sum. Its bounds are those of the case in which both totals are at their bounds."""
        return Span(self.low + other.low, self.mid + other.mid, self.high + other.high)

    def shifted(self, known: float) -> Span:
        """Return this span with the exactly known total `known` added."""
        return Span(self.low + known, self.mid + known, self.high + known)

    def within(self, floor: float, ceiling: float) -> Span:
        """Return this span, cut to what is possible: from `floor` to `ceiling`."""
        low, mid, high = (min(max(value, floor), ceiling) for value in (self.low, self.mid, self.high))
        return Span(low, mid, high)


class Reservoir(Generic[_Row]):
    """Draws a simple random sample of `size` rows from a stream of unknown length.

    Every subset of the rows has the same chance, and equal seeds draw the same rows of a stream (algorithm R;
    Vitter, *ACM Transactions on Mathematical Software* 11, 1985). `rows` are in the order of the stream.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._random = random.Random(seed)
        self._drawn: dict[int, _Row] = {}
        self._places: list[int] = []
        self.seen = 0

    def offer(self, row: _Row) -> None:
        """Draw the next row of the stream, or pass it over."""
        number = self.seen
        self.seen += 1
        if number < self._size:
            self._places.append(number)
        else:
            place = self._random.randrange(self.seen)
            if place >= self._size:
                return
            del self._drawn[self._places[place]]
            self._places[place] = number
        self._drawn[number] = row

    @property
    def rows(self) -> tuple[_Row, ...]:
        """The rows drawn so far."""
        return tuple(self._drawn.values())


def total(sample: Sequence[float], population: int) -> Span:
    """Return the total over `population` rows, of which `sample` holds the values of a random sample.

    The bounds are infinite with fewer than `LEAST` values; `Span.within` then applies what else is known.
    """
    n = len(sample)
    if n == 0:
        return Span(-math.inf, 0.0, math.inf) if population else Span(0.0, 0.0, 0.0)
    mean = fmean(sample)
    if n >= population:
        exact = math.fsum(sample)
        return Span(exact, exact, exact)
    middle = mean * population
    if n < LEAST:
        return Span(-math.inf, middle, math.inf)
    deviation = stdev(sample)
    if deviation <= 1e-12 * abs(mean):  # equal but for rounding
        return Span(middle, middle, middle)
    skewness = n / ((n - 1) * (n - 2)) * math.fsum(((value - mean) / deviation) ** 3 for value in sample)
    error = population * deviation / math.sqrt(n) * math.sqrt(1 - n / population)
    slant = skewness / math.sqrt(n)
    low = middle - max(0.0, untransformed(t_quantile(1 - _BELOW, n - 1), slant)) * error
    high = middle - min(0.0, untransformed(t_quantile(_ABOVE, n - 1), slant)) * error
    return Span(low, middle, high)


def total_beside(
    sample: Sequence[float], known: Sequence[float], known_total: float, population: int, slope: float
) -> Span:
    """Return the total of a value of which `slope` times another one is a part that is known for every row.

    `known` holds the other value of the sampled rows, and `known_total` its sum over all rows (the difference
    estimator). Where the input, which is counted, makes most of the cost, this is far more precise than
    `total`. `slope` must not follow from the sum of `sample`: the ratio estimator, whose slope does, covered
    the total in as few as 91 of 100 samples in the simulation. `typical_ratio` may be part of it.
    """
    rest = [value - slope * other for value, other in zip(sample, known, strict=True)]
    return total(rest, population).shifted(slope * known_total)


def typical_ratio(sample: Sequence[float], known: Sequence[float]) -> float:
    """Return the median ratio of two values of the sampled rows, which no few rows decide; 1 for no rows."""
    ratios = [value / other for value, other in zip(sample, known, strict=True) if value and other]
    return median(ratios) if ratios else 1.0


def unseen(sampled: int, population: int) -> float:
    """Return how many rows may have a property that none of `sampled` random rows has.

    It is the upper end of the exact interval for a share of which no case was seen ("rule of three").
    """
    if sampled <= 0:
        return float(population)
    share: float = 1 - _BELOW ** (1 / sampled)
    return share * max(0, population - sampled)
