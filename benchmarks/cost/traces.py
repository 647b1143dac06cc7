"""The processor time that traces add to a call with one attempt, by the share of tasks that are sampled.

The facts of a call are given to the same objects that the actors give them to. "actors" is the time on their
event loops, for a task with one call. "exporter" is that of making the message to the receiver, on a thread.

    python -m benchmarks.cost.traces --calls 100000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from actors.core.messages.attempts import Attempt, AttemptEnded
from actors.core.messages.calls import Call, Completion
from actors.core.messages.values import CallCounts, Usage
from actors.core.tracing.spans import SpanMaker, TracedEndpoint, TraceRules, TraceSpan
from actors.runtime.telemetry.otlp import OtlpSender
from actors.runtime.telemetry.settings import TraceSettings
from actors.runtime.telemetry.tracer import Tracer
from benchmarks.results import BenchmarkResult, Table, check_at_most

_SAMPLES = (0.0, 0.01, 1.0)
_GOAL_US = 10.0  # a call with a sample of 1 %
_ROUNDS = 5
_BATCH = 500
_USAGE = Usage(300, 60, 0.0004)
_ENDPOINTS = {"main": TracedEndpoint("gpt-5-mini", "openai", "api.openai.com", 443)}


class _Nowhere:
    """Accepts spans and forgets them."""

    def send(self, spans: Sequence[TraceSpan]) -> bool:
        return bool(spans)

    def shutdown(self) -> None:
        pass


def actors_us(sample: float, calls: int) -> float:
    """Return the processor time of the actors for a call, in microseconds."""
    settings = TraceSettings(TraceRules("0a1b2c3d", sample, endpoints=_ENDPOINTS))
    tracer = Tracer(settings, "benchmark", open_sender=_Nowhere)
    traces, facts = tracer.call_traces(), [_facts(number) for number in range(calls)]
    began = time.thread_time()
    for call, attempt, ended, completion in facts:
        task = tracer.task_trace(call.run_id, call.task)
        if task is not None:
            task.asked(call.form)
        traces.offered(call)
        traces.sent(attempt.id, attempt.call_key, attempt.endpoint)
        tracer.attempt_ended(attempt, ended)
        traces.ended(ended)
        tracer.emit(traces.completed(completion))
        if task is not None:
            task.answered(call.form, failed=False)
    return (time.thread_time() - began) / calls * 1e6


def exporter_us(spans: int) -> float:
    """Return the processor time of the exporter for a span, in microseconds."""
    rules = TraceRules("0a1b2c3d", 1.0, endpoints=_ENDPOINTS)
    sender, maker = OtlpSender(TraceSettings(rules, "http://127.0.0.1:1"), "benchmark"), SpanMaker(rules)
    facts = [_facts(number) for number in range(spans)]
    made = [span for _, one, ended, _ in facts if (span := maker.attempt(one, ended, 1.0)) is not None]
    began = time.thread_time()
    for start in range(0, spans, _BATCH):
        encode_spans(sender.readable(made[start : start + _BATCH])).SerializePartialToString()
    return (time.thread_time() - began) / spans * 1e6


def _facts(number: int) -> tuple[Call, Attempt, AttemptEnded, Completion]:
    key, task = f"{number:064x}", f"row-{number:06d}"
    call = Call(key, "evaluate", "Rate this.", 400, task, run_id="reviews-20261130-120000-ab12")
    attempt = Attempt(
        number, key, "main", call.form, call.prompt, 1, key, 60.0, task=task, run_id=call.run_id
    )
    ended = AttemptEnded(number, {"score": 1}, usage=_USAGE, took_s=0.3)
    return call, attempt, ended, Completion(key, {"score": 1}, None, _USAGE, CallCounts(planned=1, billed=1))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--calls", type=int, default=100_000)
    calls = parser.parse_args().calls
    times = {sample: min(actors_us(sample, calls) for _ in range(_ROUNDS)) for sample in _SAMPLES}
    span_us = min(exporter_us(calls // 20) for _ in range(_ROUNDS))
    rows = tuple(
        (f"{sample:.0%}", f"{us:.1f}", f"{2 * sample * span_us:.1f}") for sample, us in times.items()
    )
    result = BenchmarkResult("traces", str(calls))
    result.tables.append(Table("what traces add to a call, µs", ("sampled", "actors", "exporter"), rows))
    result.checks.append(check_at_most("a call, 1 % sampled, µs", times[0.01] + 0.02 * span_us, _GOAL_US))
    result.publish()


if __name__ == "__main__":
    main()
