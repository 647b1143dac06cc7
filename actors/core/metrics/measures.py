"""Defines the metrics that are exported for monitoring, and computes increases from totals.

Rule 1: labels are few, and the configuration determines their values: never a run, a task or a caller.
Rule 2: a histogram is three totals, under the names that Prometheus gives them. Ray's own histogram sends
    each value separately, which costs as much as the calls it measures, and computes its sum from bucket
    midpoints. They are gauges for Ray, which adds ``_total`` to the name of a counter.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from msgspec import Struct

from actors.core.metrics.histogram import HistogramTotals


class MeasureKind(enum.StrEnum):
    """The type of a metric."""

    COUNTER = "counter"  # a total that only grows
    GAUGE = "gauge"  # a current value


class Measure(Struct, frozen=True):
    """One metric. It is exported as ``ray_<name>``."""

    name: str
    kind: MeasureKind
    description: str
    labels: tuple[str, ...] = ()


class MeasureReading(Struct, frozen=True):
    """A value of a measure. `labels` holds the label values, in the order of `Measure.labels`."""

    measure: Measure
    value: float
    labels: tuple[str, ...] = ()


def _counter(name: str, description: str, *labels: str) -> Measure:
    return Measure(name, MeasureKind.COUNTER, description, labels)


def _gauge(name: str, description: str, *labels: str) -> Measure:
    return Measure(name, MeasureKind.GAUGE, description, labels)


class HistogramMeasure(Struct, frozen=True):
    """Three totals that together form a Prometheus histogram."""

    bucket: Measure
    count: Measure
    total: Measure

    @classmethod
    def named(cls, name: str, description: str, *labels: str) -> HistogramMeasure:
        """Return the totals of the histogram `name`."""
        return cls(
            _gauge(f"{name}_bucket", f"{description}: observations of at most `le`", *labels, "le"),
            _gauge(f"{name}_count", f"{description}: number of observations", *labels),
            _gauge(f"{name}_sum", f"{description}: sum of observations", *labels),
        )

    def readings(self, totals: HistogramTotals, *labels: str) -> Iterable[MeasureReading]:
        """Yield the values of the totals."""
        for bound, count in zip(totals.bounds, totals.at_most, strict=True):
            yield MeasureReading(self.bucket, count, (*labels, f"{bound:g}"))
        yield MeasureReading(self.bucket, totals.count, (*labels, "+Inf"))
        yield MeasureReading(self.count, totals.count, labels)
        yield MeasureReading(self.total, totals.total, labels)


CALLS = _counter("headrace_calls_total", "attempts at an endpoint that ended", "endpoint", "outcome")
CALL_SECONDS = HistogramMeasure.named("headrace_call_seconds", "duration of an attempt in flight", "endpoint")
TOKENS = _counter("headrace_tokens_total", "tokens that an endpoint billed", "endpoint", "kind")
COST = _counter("headrace_cost_usd_total", "cost of billed answers, in US dollars", "endpoint")
LIMIT = _gauge("headrace_limit", "attempts that may be in flight at an endpoint", "endpoint")
IN_FLIGHT = _gauge("headrace_in_flight", "attempts in flight at an endpoint", "endpoint")
QUEUE_DEPTH = _gauge("headrace_queue_depth", "calls in the queue", "class")
TASKS = _counter("headrace_tasks_total", "tasks that ended", "outcome")
ACTIVE_TASKS = _gauge("headrace_active_tasks", "tasks in progress")
FETCHES = _counter("headrace_fetches_total", "fetches from a source that ended", "source", "outcome")
SOURCE_DOWN = _gauge("headrace_source_down", "1 while the breaker of a source is not closed", "source")
OWNED_RUNS = _gauge("headrace_owned_runs", "runs that a live journal owns")
COMMIT_SECONDS = HistogramMeasure.named("headrace_commit_seconds", "duration of a commit of the journal")
SPANS = _counter("headrace_spans_total", "spans of traces, by what the exporter did with them", "outcome")
BACKPRESSURE = _counter("headrace_backpressure_total", "requests that a full queue rejected", "where")


class Increases:
    """Computes the increase of each counter since its previous reading."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, tuple[str, ...]], float] = {}

    def since_last(self, reading: MeasureReading) -> float:
        """Return the increase of a counter since its previous reading, which is 0 at first."""
        key = reading.measure.name, reading.labels
        grown = reading.value - self._last.get(key, 0.0)
        self._last[key] = reading.value
        return max(0.0, grown)
