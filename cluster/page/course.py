"""How a run went over time, from its attempts: throughput, attempts in flight, refusals, latency.

Rule: memory is bounded: a fixed number of equal intervals, whatever the number of attempts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from actors.core.errors import FailureKind
from actors.core.messages.journal import AttemptView
from actors.core.messages.values import Json

INTERVALS = 120
_PER_DECADE = 40  # buckets of latencies: each is 6 % wide
_SHORTEST_S = 0.001
_BUCKETS = 7 * _PER_DECADE  # up to 10,000 s
_ANSWERED = ("answered", FailureKind.UNUSABLE.value)
_SLOW = ("p50", 0.5), ("p95", 0.95), ("p99", 0.99)


@dataclass(slots=True)
class EndpointCounts:
    """The attempts at one endpoint by outcome, and their latencies. `latencies` counts by bucket."""

    attempts: int
    answered: int
    refused: int
    failed: int
    in_doubt: int
    latencies: np.ndarray[tuple[int], np.dtype[np.int64]]

    def percentiles(self) -> dict[str, float | None]:
        """Return the percentiles of the latencies of answers, in seconds."""
        return {name: _quantile(self.latencies, share) for name, share in _SLOW}


class Course:
    """Counts the attempts of a run by time, and by endpoint."""

    def __init__(self, began_at: float, ended_at: float) -> None:
        self._began_at = began_at
        self._width = max(ended_at - began_at, 0.001) / INTERVALS
        shape = INTERVALS + 1
        self._answered = np.zeros(shape, np.int64)
        self._refused = np.zeros(shape, np.int64)
        self._failed = np.zeros(shape, np.int64)
        self._area = np.zeros(shape + 1)  # seconds of attempts in flight
        self._full = np.zeros(shape + 1)  # changes of the number of attempts that fill whole intervals
        self._latencies = np.zeros((shape, _BUCKETS), np.int32)
        self.endpoints: dict[str, EndpointCounts] = {}

    def add(self, attempts: Iterable[AttemptView]) -> None:
        """Count the attempts of a task."""
        for one in attempts:
            if one.outcome == "reused":
                continue
            counts = self._endpoint(one.endpoint)
            counts.attempts += one.repeats
            ended_at = one.ended_at
            if ended_at is None or one.outcome is None:
                counts.in_doubt += one.repeats
                continue
            place = self._place(ended_at)
            if one.outcome in _ANSWERED:
                counts.answered += 1
                self._answered[place] += 1
                bucket = _bucket(ended_at - one.began_at)
                counts.latencies[bucket] += 1
                self._latencies[place, bucket] += 1
            elif one.outcome == FailureKind.REFUSED:
                counts.refused += one.repeats
                self._spread(self._refused, one)
            elif one.outcome == FailureKind.IN_DOUBT:
                counts.in_doubt += one.repeats
            else:
                counts.failed += one.repeats
                self._spread(self._failed, one)
            if one.repeats == 1:
                self._fly(one.began_at, ended_at)

    def series(self) -> dict[str, Json]:
        """Return the intervals as columns. `t` is in seconds since the beginning, rates are per second."""
        width, last = self._width, INTERVALS
        flying = (self._area + np.cumsum(self._full)) / width
        latencies = [self._latencies[place].astype(np.int64) for place in range(last)]
        return {
            "t": [round((place + 0.5) * width, 3) for place in range(last)],
            "answered": _rounded(self._answered[:last] / width),
            "refused": _rounded(self._refused[:last] / width),
            "failed": _rounded(self._failed[:last] / width),
            "in_flight": _rounded(flying[:last]),
            **{name: [_quantile(each, share) for each in latencies] for name, share in _SLOW},
        }

    def _endpoint(self, name: str) -> EndpointCounts:
        known = self.endpoints.get(name)
        if known is None:
            known = EndpointCounts(0, 0, 0, 0, 0, np.zeros(_BUCKETS, np.int64))
            self.endpoints[name] = known
        return known

    def _place(self, at: float) -> int:
        return min(max(int((at - self._began_at) / self._width), 0), INTERVALS - 1)

    def _spread(self, counts: np.ndarray[tuple[int], np.dtype[np.int64]], one: AttemptView) -> None:
        """Count an attempt; one that represents several covers the time of all of them."""
        first, last = self._place(one.began_at), self._place(one.ended_at or one.began_at)
        if one.repeats == 1:
            first = last
        span = last - first + 1
        share, rest = divmod(one.repeats, span)
        counts[first : last + 1] += share
        counts[first : first + rest] += 1

    def _fly(self, began_at: float, ended_at: float) -> None:
        begin, end = (max(0.0, (at - self._began_at) / self._width) for at in (began_at, ended_at))
        first, last = self._place(began_at), self._place(ended_at)
        if first == last:
            self._area[first] += max(0.0, min(end - begin, 1.0)) * self._width
            return
        self._area[first] += (first + 1 - begin) * self._width
        self._area[last] += min(end - last, 1.0) * self._width
        self._full[first + 1] += self._width
        self._full[last] -= self._width


def _bucket(seconds: float) -> int:
    place = math.log10(max(seconds, _SHORTEST_S) / _SHORTEST_S) * _PER_DECADE
    return min(int(place), _BUCKETS - 1)


def _quantile(counts: np.ndarray[tuple[int], np.dtype[np.int64]], share: float) -> float | None:
    total = int(counts.sum())
    if not total:
        return None
    bucket = int(np.searchsorted(np.cumsum(counts), share * total))
    return float(f"{_SHORTEST_S * 10 ** ((bucket + 0.5) / _PER_DECADE):.3g}")


def _rounded(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
    return [round(float(each), 3) for each in values]
