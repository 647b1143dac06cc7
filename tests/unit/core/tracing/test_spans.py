"""Which spans follow from which facts, and what they contain."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.semconv._incubating.attributes import (
    error_attributes,
    gen_ai_attributes,
    server_attributes,
)

from actors.core.censor import Censor
from actors.core.errors import Blame, Failure, FailureKind
from actors.core.messages.attempts import Attempt, AttemptEnded
from actors.core.messages.calls import Call, Completion
from actors.core.messages.tasks import Report, TaskState
from actors.core.messages.values import CallCounts, Usage
from actors.core.tracing.call_traces import CallTraces
from actors.core.tracing.ids import is_sampled, sample_bound, span_id, trace_id
from actors.core.tracing.spans import SpanMaker, TracedEndpoint, TraceRules
from actors.core.tracing.task_trace import TaskTrace

SECRET = "sk-canary-of-a-prompt-20b7"  # noqa: S105 - it is of this test alone
RULES = TraceRules(
    life="one",
    sample=1.0,
    name="reviews",
    endpoints={name: TracedEndpoint(f"{name}-1", "openai", "host", 443) for name in ("left", "right")},
    operations={"evaluate:vector": "embeddings"},
)
CALL = Call("key", "evaluate:triage", f"Rate it. {SECRET}", 10, "task", run_id="run")
USAGE = Usage(30, 20, 0.5, 4, 3, 2)
COMPLETION = Completion("key", {"score": 0.75}, None, USAGE, CallCounts(planned=1, billed=1))
REFUSED = Failure(FailureKind.REFUSED, Blame.ENDPOINT, f"slower: {SECRET}")
UNUSABLE = replace(REFUSED, kind=FailureKind.UNUSABLE)
CANCELLED = replace(REFUSED, kind=FailureKind.CANCELLED)
REPORT = Report("task", TaskState.SUCCEEDED, None, (), {}, CallCounts(), USAGE, 1.0)


class FakeClock:
    now = 100.0

    def __call__(self):
        self.now += 1.0
        return self.now


def maker(**changes):
    return SpanMaker(replace(RULES, **changes), Censor([(SECRET, "***")]))


def attempt(number, endpoint="left", **changes):
    ends = Attempt(70 + number, "key", endpoint, CALL.form, CALL.prompt, number, "key", 60.0)
    return replace(ends, task="task", run_id="run", estimate=Usage(9, 9, 0.1), **changes)


def test_ids_depend_on_all_their_parts_and_are_valid():
    parts = [("one", "run", "task"), ("two", "run", "task"), ("one", "run", "\ud800"), ("one", "run", "")]
    traces = [trace_id(*each) for each in parts]
    assert len({*traces}) == len(parts)
    assert all(0 < trace < 1 << 128 for trace in traces)
    spans = [span_id(traces[0], *each) for each in (("task",), ("call", "a"), ("call", "b"), ("step", "a"))]
    assert len({*spans}) == 4
    assert all(0 < span < 1 << 64 for span in spans)
    assert traces[0] == trace_id("one", "run", "task")


def test_sampling_keeps_the_traces_that_opentelemetry_s_sampler_keeps():
    for ratio in (0.0, 0.01, 0.5, 1.0):
        theirs, bound = TraceIdRatioBased(ratio), sample_bound(ratio)
        for number in range(300):
            trace = trace_id("life", "run", str(number))
            kept = theirs.should_sample(None, trace, "name").decision is Decision.RECORD_AND_SAMPLE
            assert is_sampled(trace, bound) is kept


def test_a_call_with_a_refusal_and_a_failover_is_one_span_around_its_attempts():
    spans, clock = maker(), FakeClock()
    calls = CallTraces(spans, clock)
    calls.offered(CALL)
    first, second = attempt(1), attempt(2, "right")
    ends = (
        AttemptEnded(71, error=REFUSED, took_s=0.5),
        AttemptEnded(72, {"score": 0.75}, usage=USAGE, took_s=2.0),
    )
    for each, end in zip((first, second), ends, strict=True):
        calls.sent(each.id, each.call_key, each.endpoint)
        calls.ended(end)
    call = calls.completed(COMPLETION)
    assert call is not None
    refused, answered = spans.attempt(first, ends[0], 101.5), spans.attempt(second, ends[1], 104.0)
    assert (call.name, call.began, call.ended, call.error) == ("chat right-1", 101.0, 102.0, None)
    assert call.parent == span_id(call.trace, "step", CALL.form)
    assert (refused.parent, answered.parent) == (call.id, call.id)
    assert (refused.began, refused.ended, refused.error) == (101.0, 101.5, "refused")
    assert refused.attributes["error.type"] == "refused"
    assert refused.attributes["headrace.endpoint"] == "left"
    assert "headrace.tokens.input" not in refused.attributes
    assert answered.attributes["headrace.tokens.reasoning"] == 2
    assert not any(name.startswith("gen_ai.usage") for name in answered.attributes)
    assert {name: value for name, value in call.attributes.items() if name.startswith("gen_ai.")} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.output.type": "json",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "right-1",
        "gen_ai.usage.input_tokens": 30,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.cache_creation.input_tokens": 3,
        "gen_ai.usage.reasoning.output_tokens": 2,
    }
    assert len(calls) == 0


@pytest.mark.parametrize(
    ("attempted", "ended", "outcome", "more"),
    [
        ({}, {"values": {}, "reused": True}, "reused", {}),
        ({"is_hedge": True}, {"values": {}}, "answered", {"headrace.attempt.is_hedge": True}),
        ({}, {"values": {}}, "answered", {"headrace.tokens.input": 9}),  # the estimate is charged
        ({}, {"values": {}, "streamed": 5, "began_s": 0.2}, "answered", {"gen_ai.request.stream": True}),
        ({}, {"error": UNUSABLE, "usage": USAGE}, "unusable", {"headrace.tokens.output": 20}),
        ({}, {"error": CANCELLED, "sent": False}, "cancelled", {"error.type": "cancelled"}),
    ],
)
def test_the_span_of_an_attempt_says_how_it_ended(attempted, ended, outcome, more):
    span = maker().attempt(attempt(1, **attempted), AttemptEnded(71, **ended), 5.0)
    assert span.attributes["headrace.outcome"] == outcome
    assert span.attributes.items() >= more.items()


def test_without_content_no_span_has_a_text_and_with_it_secrets_are_removed_before_the_cut():
    failed = AttemptEnded(71, error=REFUSED)
    for content in (False, True):
        spans, clock = maker(content=content), FakeClock()
        calls = CallTraces(spans, clock)
        calls.offered(replace(CALL, prompt=SECRET * 1_000))
        call = calls.completed(COMPLETION)
        ended = spans.attempt(attempt(1), failed, 1.0)
        shown = repr((call, ended))
        assert SECRET not in shown
        assert ("slower" in shown, "0.75" in shown, "***" in shown) == (content, content, content)
        assert len(shown) < 12_000


def test_the_spans_of_a_task_show_its_steps_and_link_to_the_run():
    spans, clock = maker(), FakeClock()
    trace = TaskTrace(spans, 7, "run", clock)
    trace.asked("evaluate:triage")
    trace.asked("evaluate:triage")
    trace.answered("evaluate:triage", failed=True)
    trace.asked("doubled")  # a computed step
    task, step, computed = trace.spans(REPORT)
    run = spans.run("run", 1.0, 2.0, {}, None)
    assert (task.name, task.parent, task.link) == ("task", None, (run.trace, run.id))
    assert (task.began, task.ended, task.error) == (101.0, 106.0, None)
    assert (step.name, step.began, step.ended, step.parent) == ("step triage", 102.0, 104.0, task.id)
    assert (step.attributes["headrace.step.asked"], step.attributes["headrace.step.failed"]) == (2, 1)
    assert computed.name == "step doubled"
    failed = replace(REPORT, state=TaskState.FAILED, errors=("a cause",))
    assert next(span.error for span in trace.spans(failed)) == "failed"


def test_an_unsampled_task_is_not_followed_and_a_refused_call_is_forgotten():
    calls = CallTraces(maker(sample=0.0), FakeClock())
    calls.offered(CALL)
    calls.sent(71, "key", "left")
    calls.ended(AttemptEnded(71))
    assert len(calls) == 0
    assert calls.completed(COMPLETION) is None
    assert maker(sample=0.0).attempt(attempt(1), AttemptEnded(71), 1.0) is None
    calls = CallTraces(maker(), FakeClock())
    calls.offered(CALL)
    assert len(calls) == 1
    calls.forget("key")
    assert len(calls) == 0


def test_attributes_of_the_conventions_have_the_names_of_the_pinned_package():
    known = {
        value
        for module in (gen_ai_attributes, error_attributes, server_attributes)
        for value in vars(module).values()
        if isinstance(value, str)
    }
    calls = CallTraces(maker(content=True), FakeClock())
    calls.offered(CALL)
    call = calls.completed(replace(COMPLETION, error=REFUSED))
    ended = AttemptEnded(71, {}, streamed=1, usage=USAGE)
    task, *_ = TaskTrace(maker(), 7, "run", FakeClock()).spans(REPORT)
    names = {*call.attributes, *maker().attempt(attempt(1), ended, 1.0).attributes, *task.attributes}
    ours = {name for name in names if name.startswith("headrace.")}
    assert names - ours <= known
    assert len(names - ours) >= 16
