"""Exports the statistics of an actor to Ray's metrics once a second, so that calls do no metrics work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ray.util.metrics import Counter, Gauge

from actors.core.metrics.measures import Increases, Measure, MeasureKind, MeasureReading

# Ray drops a gauge that was not set for two report intervals, which are 10 s by default.
_INTERVAL_S = 1.0


class MetricsFeed:
    """Exports the result of `read` every second while the event loop runs. Create it on that loop."""

    def __init__(self, read: Callable[[], Iterable[MeasureReading]]) -> None:
        self._read = read
        self._loop = asyncio.get_running_loop()
        self._increases = Increases()
        self._known: dict[str, Counter | Gauge] = {}
        self._loop.call_later(_INTERVAL_S, self._feed)

    def _feed(self) -> None:
        self._loop.call_later(_INTERVAL_S, self._feed)  # first, so that an error below does not end the feed
        for reading in self._read():
            labels = dict(zip(reading.measure.labels, reading.labels, strict=True))
            match self._metric(reading.measure):
                case Counter() as counter:
                    grown = self._increases.since_last(reading)
                    if grown > 0:
                        counter.inc(grown, labels)
                case gauge:
                    gauge.set(reading.value, labels)

    def _metric(self, measure: Measure) -> Counter | Gauge:
        known = self._known.get(measure.name)
        if known is None:
            made = Counter if measure.kind is MeasureKind.COUNTER else Gauge
            known = self._known[measure.name] = made(measure.name, measure.description, measure.labels)
        return known
