"""Makes the spans of a process and hands them to its exporter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

from actors.core.messages.attempts import Attempt, AttemptEnded
from actors.core.messages.tasks import Report
from actors.core.metrics.measures import SPANS, MeasureReading
from actors.core.tracing.call_traces import CallTraces
from actors.core.tracing.spans import Attributes, SpanMaker, TraceSpan
from actors.core.tracing.task_trace import TaskTrace
from actors.runtime.telemetry.exporter import OpenSender, SendsSpans, SpanExporter, SpanStatistics
from actors.runtime.telemetry.settings import TraceSettings

_FLUSH_WITHIN_S = 2.0


class Tracer:
    """The spans of one process. Actors without traces have none, and then do no work for them.

    `instance` names the actor or process that exports. `wall` is the time in seconds since 1970.
    """

    def __init__(
        self,
        settings: TraceSettings,
        instance: str,
        *,
        open_sender: OpenSender | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._maker = SpanMaker(settings.rules, settings.censor)
        self._wall = wall
        self._exporter = SpanExporter(open_sender or (lambda: _otlp(settings, instance)))

    def call_traces(self) -> CallTraces:
        """Return what follows the calls of a dispatcher."""
        return CallTraces(self._maker, self._wall)

    def task_trace(self, run_id: str, task: str) -> TaskTrace | None:
        """Return what follows a task, None if it is not sampled."""
        trace = self._maker.sampled(run_id, task)
        return None if trace is None else TaskTrace(self._maker, trace, run_id, self._wall)

    def emit(self, span: TraceSpan | None) -> None:
        """Export a span, if it is one."""
        if span is not None:
            self._exporter.offer(span)

    def attempt_ended(self, attempt: Attempt, outcome: AttemptEnded) -> None:
        """Export the span of an attempt that ends now, if its task is sampled."""
        self.emit(self._maker.attempt(attempt, outcome, self._wall()))

    def task_ended(self, trace: TaskTrace, report: Report) -> None:
        """Export the spans of a task that ends now."""
        for span in trace.spans(report):
            self._exporter.offer(span)

    def run_ended(self, run_id: str, began: float, counts: Attributes, error: str | None = None) -> None:
        """Export the span of a run that ends now."""
        self.emit(self._maker.run(run_id, began, self._wall(), counts, error))

    def statistics(self) -> SpanStatistics:
        """Return a frozen snapshot."""
        return self._exporter.statistics()

    async def close(self) -> None:
        """Send what is queued, for at most 2 s. Nothing is exported after that."""
        await asyncio.to_thread(self._exporter.close, _FLUSH_WITHIN_S)


def span_readings(known: SpanStatistics) -> Iterator[MeasureReading]:
    """Yield the metrics of an exporter."""
    yield MeasureReading(SPANS, known.exported, ("exported",))
    yield MeasureReading(SPANS, known.dropped, ("dropped",))
    yield MeasureReading(SPANS, known.failed, ("failed",))


def _otlp(settings: TraceSettings, instance: str) -> SendsSpans:
    # It takes 0.2 s to import, in the thread of the exporter, and is an extra.
    from actors.runtime.telemetry.otlp import OtlpSender  # noqa: PLC0415

    return OtlpSender(settings, instance)
