"""Tells Ray's metrics what an actor's snapshot says, once a second: nothing on the way of a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ray.util.metrics import Counter, Gauge

from actors.core.metrics.measures import Increases, Measure, MeasureKind, MeasureReading

# Ray forgets a gauge that was not set for two of its report intervals, which are 10 s unless somebody
# shortens them.
_INTERVAL_S = 1.0


class MetricsFeed:
    """Reads `look` every second for as long as the actor's event loop runs. Made on that loop."""

    def __init__(self, look: Callable[[], Iterable[MeasureReading]]) -> None:
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._increases = Increases()
        self._known: dict[str, Counter | Gauge] = {}
        self._loop.call_later(_INTERVAL_S, self._feed)

    def _feed(self) -> None:
        self._loop.call_later(_INTERVAL_S, self._feed)  # first: a defect below is logged, and tried again
        for reading in self._look():
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
