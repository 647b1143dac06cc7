"""A histogram with cumulative buckets, as Prometheus defines it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from msgspec import Struct

from actors.core.errors import InvariantError


class HistogramTotals(Struct, frozen=True):
    """A snapshot. `at_most[i]` values were at most `bounds[i]`; `count` and `total` cover all values."""

    bounds: tuple[float, ...]
    at_most: tuple[int, ...]
    count: int
    total: float


class Histogram:
    """Counts values in buckets with the ascending upper `bounds`. Adding a value costs a bisection."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def totals(self) -> HistogramTotals:
        """Return a frozen snapshot."""
        running = tuple(accumulate(self._counts))
        return HistogramTotals(self._bounds, running[:-1], running[-1], self._total)

    def check_invariants(self) -> None:
        """Raise InvariantError if a count is negative or the bounds do not ascend."""
        if min(self._counts) < 0 or list(self._bounds) != sorted(set(self._bounds)):
            raise InvariantError(f"a histogram of {self._bounds} holds {self._counts}")
