"""The history of the endpoints of a run, as a time series with a bounded number of points.

Rule 1: a point covers at least one interval of activity. When the series is full, neighbours are merged and
    the interval doubles, so that a run of any length has a series of the same size. Idle time is one point.
Rule 2: merging keeps the sums of counts, the least and the most of gauges, and their mean over time.
Rule 3: durations come from the monotonic clock, dates from the wall clock. The wall clock may jump: a point
    never begins before the end of the one before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from actors.core.errors import InvariantError

MOST_POINTS = 240
MOST_SERIES = 64  # endpoints; those that are configured no more give way
_MOST_VALUES = 8 * MOST_POINTS  # points of all endpoints together
_FEWEST_POINTS = 30
_SAMPLE_S = 0.25
_FIRST_INTERVAL_S = 0.5
_LONGEST_INTERVAL_S = 2.0**40
_GAP_S = 1.0  # without a dispatcher, between two points
_JUMP_S = 5.0  # a difference of the clocks from which a new point begins
_LATEST_S = 1e11  # seconds since 1970
COUNTS = ("answered", "refused", "failed", "in_doubt", "cuts")
GAUGES = ("limit", "in_flight", "queued")


class EndpointReading(Struct, frozen=True):
    """The state of an endpoint at one moment. Counts are totals since the start of the dispatcher.

    answered: attempts with an answer, usable or not.
    cuts: reductions of the limit after refusals, and openings of the breaker.
    queued: calls that wait and may use the endpoint, at the dispatcher or at a client.
    """

    name: str
    answered: int = 0
    refused: int = 0
    failed: int = 0
    in_doubt: int = 0
    cuts: int = 0
    limit: int = 0
    in_flight: int = 0
    queued: int = 0


class GaugeHistory(Struct, frozen=True, array_like=True):
    """The values of a gauge, a column each: `mean` is the mean over time."""

    least: tuple[int, ...] = ()
    mean: tuple[float, ...] = ()
    most: tuple[int, ...] = ()


class EndpointHistory(Struct, frozen=True, array_like=True):
    """The counts and gauges of one endpoint: a value for each point of the `History`.

    `EndpointReading` defines the names. Counts are of the point alone. All values are 0 where the endpoint
    was not configured.
    """

    name: str
    answered: tuple[int, ...]
    refused: tuple[int, ...]
    failed: tuple[int, ...]
    in_doubt: tuple[int, ...]
    cuts: tuple[int, ...]
    limit: GaugeHistory
    in_flight: GaugeHistory
    queued: GaugeHistory

    @property
    def is_used(self) -> bool:
        """Whether any attempt was made."""
        return any(map(any, (self.answered, self.refused, self.failed, self.in_doubt, self.in_flight.most)))


class History(Struct, frozen=True):
    """A snapshot. Point i covers `at[i]` to `until[i]`, in seconds since 1970.

    `active_s` is the part of that time in which a dispatcher was running: divide counts by it for a rate.
    There is a gap between points where no dispatcher was running.
    """

    at: tuple[float, ...] = ()
    until: tuple[float, ...] = ()
    active_s: tuple[float, ...] = ()
    endpoints: tuple[EndpointHistory, ...] = ()

    @property
    def gaps(self) -> tuple[int, ...]:
        """The numbers of the points that begin after a gap."""
        pairs = enumerate(zip(self.until, self.at[1:], strict=False), 1)
        return tuple(place for place, (ended, begins) in pairs if begins - ended > _GAP_S)


class _GaugeColumns:
    """The columns of one gauge."""

    __slots__ = ("least", "mean", "most")

    def __init__(self, least: Sequence[int], mean: Sequence[float], most: Sequence[int]) -> None:
        self.least, self.mean, self.most = list(least), list(mean), list(most)

    def begin(self, value: int) -> None:
        self.least.append(value)
        self.mean.append(value)
        self.most.append(value)

    def add(self, value: int, share: float) -> None:
        """Add a value to the last point. `share` is the share of the value in the time of the point."""
        self.least[-1] = min(self.least[-1], value)
        self.most[-1] = max(self.most[-1], value)
        self.mean[-1] += (value - self.mean[-1]) * share

    def merge(self, groups: Sequence[range], active_s: Sequence[float]) -> None:
        self.least = [min(self.least[group.start : group.stop]) for group in groups]
        self.most = [max(self.most[group.start : group.stop]) for group in groups]
        self.mean = [_mean(self.mean, active_s, group) for group in groups]

    def view(self) -> GaugeHistory:
        return GaugeHistory(tuple(self.least), tuple(self.mean), tuple(self.most))


class _EndpointColumns:
    """The columns of one endpoint, and its last reading in this life of the dispatcher."""

    __slots__ = ("counts", "gauges", "last", "name")

    def __init__(self, name: str, points: int, known: EndpointHistory | None = None) -> None:
        self.name = name
        self.last: EndpointReading | None = None
        zeros = (0,) * points
        self.counts = [list(zeros if known is None else getattr(known, each)) for each in COUNTS]
        gauges = (GaugeHistory(zeros, zeros, zeros) if known is None else getattr(known, g) for g in GAUGES)
        self.gauges = [_GaugeColumns(each.least, each.mean, each.most) for each in gauges]

    def begin(self) -> None:
        for counts in self.counts:
            counts.append(0)
        for name, gauge in zip(GAUGES, self.gauges, strict=True):
            gauge.begin(0 if self.last is None else getattr(self.last, name))

    def is_idle(self, reading: EndpointReading) -> bool:
        """Return whether nothing waited, was in flight or ended since the last reading."""
        before = self.last or EndpointReading(self.name)
        is_empty = not (before.in_flight or before.queued or reading.in_flight or reading.queued)
        return is_empty and all(getattr(before, name) == getattr(reading, name) for name in COUNTS)

    def add(self, reading: EndpointReading, share: float) -> None:
        """Add what ended since the last reading, and the gauges of that reading, which lasted until now."""
        before = self.last or EndpointReading(self.name)
        for name, counts in zip(COUNTS, self.counts, strict=True):
            counts[-1] += max(0, getattr(reading, name) - getattr(before, name))
        for name, gauge in zip(GAUGES, self.gauges, strict=True):
            gauge.add(getattr(before, name), share)
        self.last = reading

    def merge(self, groups: Sequence[range], active_s: Sequence[float]) -> None:
        self.counts = [[sum(counts[g.start : g.stop]) for g in groups] for counts in self.counts]
        for gauge in self.gauges:
            gauge.merge(groups, active_s)

    def view(self) -> EndpointHistory:
        answered, refused, failed, in_doubt, cuts = map(tuple, self.counts)
        limit, in_flight, queued = (gauge.view() for gauge in self.gauges)
        counts = (answered, refused, failed, in_doubt, cuts)
        return EndpointHistory(self.name, *counts, limit, in_flight, queued)


class HistoryRecorder:
    """Builds a `History` from readings. `before` is the history up to an earlier dispatcher of the run."""

    def __init__(self, before: History | None = None) -> None:
        known = before or History()
        self._at, self._until, self._active_s = list(known.at), list(known.until), list(known.active_s)
        self._series = {
            it.name: _EndpointColumns(it.name, len(known.at), it) for it in known.endpoints[:MOST_SERIES]
        }
        self._interval_s = _FIRST_INTERVAL_S
        self._now: float | None = None
        self._is_open = False  # whether the last point is of this life
        self._is_idle = False  # whether the last point is idle time
        self._view: History | None = before
        self._compact()

    def is_due(self, now: float) -> bool:
        """Return whether enough time has passed since the last reading."""
        return self._now is None or now - self._now >= _SAMPLE_S

    def add(self, now: float, date: float, readings: Sequence[EndpointReading]) -> None:
        """Record the state of all endpoints. `now` is monotonic, `date` is in seconds since 1970."""
        date = min(max(date, 0.0), _LATEST_S) if math.isfinite(date) else 0.0
        took_s = max(0.0, now - self._now) if self._now is not None else 0.0
        is_first, self._now = self._now is None, now
        if is_first:
            self._admit(readings)
            return
        known = [(self._series[it.name], it) for it in readings if it.name in self._series]
        is_idle = all(series.is_idle(reading) for series, reading in known)
        self._open_point(date, took_s, is_idle=is_idle)
        active_s = self._active_s[-1] = self._active_s[-1] + took_s
        for series, reading in known:
            series.add(reading, took_s / active_s if active_s else 1.0)
        self._until[-1] = max(self._until[-1] + took_s, date)
        self._view = None

    def history(self) -> History:
        """Return a snapshot."""
        if self._view is None:
            endpoints = tuple(series.view() for series in self._series.values())
            times = (tuple(self._at), tuple(self._until), tuple(self._active_s))
            self._view = History(*times, endpoints)
        return self._view

    def check_invariants(self) -> None:
        """Raise InvariantError if the series is too long, its times descend, or its columns differ."""
        known = self.history()
        if len(known.at) > self._most or len(known.endpoints) > MOST_SERIES:
            raise InvariantError(
                f"the history has {len(known.at)} points of {len(known.endpoints)} endpoints"
            )
        check_history(known)

    @property
    def _most(self) -> int:
        return max(_FEWEST_POINTS, min(MOST_POINTS, _MOST_VALUES // max(1, len(self._series))))

    def _admit(self, readings: Sequence[EndpointReading]) -> None:
        """Begin a series for each endpoint that has none, and drop those that are configured no more."""
        names = [reading.name for reading in readings[:MOST_SERIES]]
        spare = [name for name in self._series if name not in names]
        new = [name for name in names if name not in self._series]
        for name in spare[: max(0, len(self._series) + len(new) - MOST_SERIES)]:
            del self._series[name]
        for name in new:
            self._series[name] = _EndpointColumns(name, len(self._at))
        for reading in readings:  # its counts are added with the next reading
            if (series := self._series.get(reading.name)) is not None:
                gauges = {name: getattr(reading, name) for name in GAUGES}
                series.last = EndpointReading(reading.name, **gauges)
        self._view = None
        self._compact()  # the more endpoints, the fewer points

    def _open_point(self, date: float, took_s: float, *, is_idle: bool) -> None:
        """Begin a new point if the last one has its interval, or if time has passed without a dispatcher."""
        if self._is_open and date - took_s <= self._until[-1] + _JUMP_S:
            is_whole = self._is_idle or self._active_s[-1] >= self._interval_s
            if not is_whole or (self._is_idle and is_idle):
                return
        self._is_idle = is_idle
        self._compact()
        at = date - took_s
        at = max(at, self._until[-1]) if self._until else max(at, 0.0)
        self._at.append(at)
        self._until.append(at)
        self._active_s.append(0.0)
        for series in self._series.values():
            series.begin()
        self._is_open = True

    def _compact(self) -> None:
        """Merge neighbours until there is room again."""
        if len(self._at) < self._most:
            return
        while len(self._at) > self._most * 3 // 4 and self._interval_s < _LONGEST_INTERVAL_S:
            self._interval_s *= 2
            groups = self._groups(1.5 * self._interval_s)
            for series in self._series.values():
                series.merge(groups, self._active_s)
            self._at = [self._at[group.start] for group in groups]
            self._until = [self._until[group.stop - 1] for group in groups]
            self._active_s = [sum(self._active_s[group.start : group.stop]) for group in groups]
        self._view = None

    def _groups(self, longest_s: float) -> list[range]:
        """Return the ranges of points to merge. A range of more than one covers at most `longest_s`."""
        groups: list[range] = []
        start = 0
        for index in range(1, len(self._at) + 1):
            if index == len(self._at) or self._until[index] - self._at[start] > longest_s:
                groups.append(range(start, index))
                start = index
        return groups


def check_history(known: History) -> None:
    """Raise InvariantError if the times of a history descend or its columns have different lengths."""
    points = len(known.at)
    columns: list[Sequence[float]] = [known.until, known.active_s]
    for series in known.endpoints:
        columns += [getattr(series, name) for name in COUNTS]
        for name in GAUGES:
            gauge: GaugeHistory = getattr(series, name)
            columns += [gauge.least, gauge.mean, gauge.most]
    if any(len(column) != points for column in columns):
        raise InvariantError(f"the columns of a history of {points} points have different lengths")
    if any(end < begin for begin, end in zip(known.at, known.until, strict=True)):
        raise InvariantError("a point of the history ends before it begins")
    if any(begin < end for end, begin in zip(known.until, known.at[1:], strict=False)):
        raise InvariantError("a point of the history begins before the end of the one before it")


def _mean(values: Sequence[float], weights: Sequence[float], group: range) -> float:
    total = sum(weights[index] for index in group)
    if not total:
        return sum(values[index] for index in group) / len(group)
    return sum(values[index] * weights[index] for index in group) / total
