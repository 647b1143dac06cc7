"""Follows one sampled task through its steps, for the spans of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from actors.core.messages.tasks import Report
from actors.core.tracing.spans import SpanMaker, StepFigures, TraceSpan


class TaskTrace:
    """A task whose trace is exported. It begins now. `clock` is the time in seconds since 1970."""

    def __init__(self, maker: SpanMaker, trace: int, run_id: str, clock: Callable[[], float]) -> None:
        self._maker = maker
        self._trace = trace
        self._run_id = run_id
        self._clock = clock
        self._began = clock()
        self._steps: dict[str, StepFigures] = {}

    def asked(self, form: str) -> None:
        """Note that a step asks about an item, or begins to compute its fields."""
        now = self._clock()
        figures = self._steps.setdefault(form, StepFigures(now, now))
        figures.asked += 1
        figures.ended = now

    def answered(self, form: str, *, failed: bool) -> None:
        """Note the end of that."""
        now = self._clock()
        figures = self._steps.setdefault(form, StepFigures(now, now))
        figures.failed += failed
        figures.ended = now

    def spans(self, report: Report) -> Iterator[TraceSpan]:
        """Yield the spans of the task, which ends now, and of its steps."""
        yield self._maker.task(self._trace, self._run_id, report, self._began, self._clock())
        for form, figures in self._steps.items():
            yield self._maker.step(self._trace, self._run_id, report.key, form, figures)
