"""Decides which span follows from which facts, and names its attributes by the GenAI semantic conventions.

Rule 1: a call is one GenAI operation, with the usage of all its attempts. Retries, failovers, hedges and
    repeated questions are the spans of attempts in it. Their tokens are no `gen_ai.usage`, since programs
    that add up the usage of all spans would count them twice.
Rule 2: without `content` a span has no text of prompts, answers or failures: a failure may quote an answer.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping
from typing import TypeAlias

from msgspec import Struct, field

from actors.core.errors import Failure
from actors.core.limits.attempt_cost import charged, is_answered
from actors.core.messages.attempts import Attempt, AttemptEnded
from actors.core.messages.calls import Call, Completion
from actors.core.messages.tasks import Report, TaskState
from actors.core.messages.values import Usage
from actors.core.tracing.ids import is_sampled, sample_bound, span_id, trace_id

CHAT = "chat"
WORKFLOW = "invoke_workflow"
_RUN, _TASK, _STEP, _CALL, _ATTEMPT = "run", "task", "step", "call", "attempt"
_LONGEST_TEXT = 8_000  # characters of a prompt, an answer or a failure
_CUT = "\N{HORIZONTAL ELLIPSIS}"

Attributes: TypeAlias = dict[str, str | int | float | bool]


class SpanKind(enum.Enum):
    """Whether a span is about a request to another service."""

    INTERNAL = "internal"
    CLIENT = "client"


class TraceSpan(Struct, frozen=True):
    """A span that has ended. Times are in seconds since 1970.

    error: the description of its status, None if it succeeded. link: the trace and the span of its run.
    """

    name: str
    trace: int
    id: int
    parent: int | None
    began: float
    ended: float
    attributes: Attributes
    kind: SpanKind = SpanKind.INTERNAL
    error: str | None = None
    link: tuple[int, int] | None = None


class TracedEndpoint(Struct, frozen=True):
    """The attributes of an endpoint in its spans."""

    model: str
    provider: str
    address: str
    port: int


class TraceRules(Struct, frozen=True):
    """Rules for the export of spans and their content.

    life: see `actors.core.tracing.ids`. sample: the ratio of tasks with a trace. name: of the configuration.
    operations: the GenAI operation of the forms that are no chat.
    content: whether spans have prompts and answers.
    """

    life: str
    sample: float
    name: str = ""
    endpoints: Mapping[str, TracedEndpoint] = field(default_factory=dict)
    operations: Mapping[str, str] = field(default_factory=dict)
    content: bool = False


class StepFigures(Struct):
    """The outcome of the calls of one step of a task."""

    began: float
    ended: float
    asked: int = 0
    failed: int = 0


class SpanMaker:
    """Makes the spans of one run. `censor` removes secrets from texts."""

    def __init__(self, rules: TraceRules, censor: Callable[[str], str] = str) -> None:
        self._rules = rules
        self._censor = censor
        self._bound = sample_bound(rules.sample)

    def sampled(self, run_id: str, task: str) -> int | None:
        """Return the trace of a task, None if its spans are not exported."""
        trace = trace_id(self._rules.life, run_id, task)
        return trace if is_sampled(trace, self._bound) else None

    def run(
        self, run_id: str, began: float, ended: float, counts: Attributes, error: str | None
    ) -> TraceSpan:
        """Return the span of a run, which is a separate trace and always exported."""
        trace, own = self._of_run(run_id)
        about: Attributes = {"headrace.run": run_id, **self._workflow(), **counts}
        if error is not None:
            about["error.type"] = error
        return TraceSpan(f"run {run_id}", trace, own, None, began, ended, about, error=error)

    def task(self, trace: int, run_id: str, report: Report, began: float, ended: float) -> TraceSpan:
        """Return the span of a task, the root of its trace."""
        about: Attributes = {
            "headrace.run": run_id,
            "headrace.task": report.key,
            "headrace.state": report.state.value,
            **self._workflow(),
            **_tokens(report.usage),
        }
        error = None
        if report.state in (TaskState.FAILED, TaskState.CANCELLED):
            about["error.type"] = error = report.state.value
            if report.errors and self._rules.content:
                error = self._shown(report.errors[0])
        return TraceSpan(
            *("task", trace, span_id(trace, _TASK), None, began, ended, about),
            error=error,
            link=self._of_run(run_id),
        )

    def step(self, trace: int, run_id: str, task: str, form: str, figures: StepFigures) -> TraceSpan:
        """Return the span of a step: from its first question about an item of a task to its last answer."""
        about: Attributes = {
            "headrace.run": run_id,
            "headrace.task": task,
            "headrace.step": _step_name(form),
            "headrace.step.asked": figures.asked,
            "headrace.step.failed": figures.failed,
        }
        return TraceSpan(
            f"step {_step_name(form)}",
            trace,
            span_id(trace, _STEP, form),
            span_id(trace, _TASK),
            figures.began,
            figures.ended,
            about,
        )

    def call(
        self,
        trace: int,
        call: Call,
        completion: Completion,
        *,
        began: float,
        ended: float,
        endpoint: str,
        attempts: int,
    ) -> TraceSpan:
        """Return the span of a call, which `endpoint` answered, or was the last to fail."""
        operation = self._rules.operations.get(call.form, CHAT)
        known = self._rules.endpoints.get(endpoint)
        about: Attributes = {
            "gen_ai.operation.name": operation,
            **self._endpoint(endpoint),
            **_usage(completion.usage),
            "headrace.run": call.run_id,
            "headrace.task": call.task,
            "headrace.step": _step_name(call.form),
            "headrace.call": call.key,
            "headrace.attempts": attempts,
            "headrace.cost_usd": completion.usage.cost_usd,
        }
        if completion.counts.reused:
            about["headrace.reused"] = True
        if operation == CHAT:
            about["gen_ai.output.type"] = "json"
        if self._rules.content:
            about |= self._content(call, completion)
        return TraceSpan(
            f"{operation} {known.model}" if known else operation,
            trace,
            span_id(trace, _CALL, call.key),
            span_id(trace, _STEP, call.form),
            began,
            ended,
            about,
            error=self._failed(completion.error, about),
        )

    def attempt(self, attempt: Attempt, outcome: AttemptEnded, ended: float) -> TraceSpan | None:
        """Return the span of an attempt that has ended, None if it is not exported.

        It covers the request. The time in the client's queue before that is an attribute.
        """
        trace = self.sampled(attempt.run_id, attempt.task)
        if trace is None:
            return None
        about: Attributes = {
            **self._endpoint(attempt.endpoint),
            "headrace.run": attempt.run_id,
            "headrace.task": attempt.task,
            "headrace.call": attempt.call_key,
            "headrace.attempt.number": attempt.number,
            "headrace.attempt.waited_s": round(outcome.waited_s, 6),
            "headrace.outcome": _outcome(outcome),
        }
        if attempt.is_hedge:
            about["headrace.attempt.is_hedge"] = True
        if outcome.streamed:
            about["gen_ai.request.stream"] = True
            about["gen_ai.response.time_to_first_chunk"] = outcome.began_s
        if is_answered(outcome):
            about |= _tokens(charged(outcome, attempt.estimate))
        return TraceSpan(
            f"attempt {attempt.number}",
            trace,
            span_id(trace, _ATTEMPT, str(attempt.id)),
            span_id(trace, _CALL, attempt.call_key),
            ended - outcome.took_s,
            ended,
            about,
            SpanKind.CLIENT,
            self._failed(outcome.error, about),
        )

    def _of_run(self, run_id: str) -> tuple[int, int]:
        trace = trace_id(self._rules.life, run_id, "")
        return trace, span_id(trace, _RUN)

    def _workflow(self) -> Attributes:
        return {"gen_ai.operation.name": WORKFLOW, "gen_ai.workflow.name": self._rules.name}

    def _endpoint(self, name: str) -> Attributes:
        about: Attributes = {"headrace.endpoint": name} if name else {}
        if known := self._rules.endpoints.get(name):
            about["gen_ai.provider.name"] = known.provider
            about["gen_ai.request.model"] = known.model
            about["server.address"] = known.address
            about["server.port"] = known.port
        return about

    def _failed(self, error: Failure | None, about: Attributes) -> str | None:
        """Return the description of a failure, and add its type to the attributes."""
        if error is None:
            return None
        about["error.type"] = error.kind.value
        about["headrace.blame"] = error.blame.value
        return self._shown(error.message) if self._rules.content else error.kind.value

    def _content(self, call: Call, completion: Completion) -> Attributes:
        """Return the prompt and the answer as messages, in the form of the conventions."""
        texts = [("gen_ai.input.messages", "user", call.prompt)]
        if completion.values is not None:
            answer = json.dumps(dict(completion.values), ensure_ascii=False, default=str)
            texts.append(("gen_ai.output.messages", "assistant", answer))
        return {
            name: json.dumps([{"role": role, "parts": [{"type": "text", "content": self._shown(text)}]}])
            for name, role, text in texts
        }

    def _shown(self, text: str) -> str:
        text = self._censor(text)  # before the cut, which could divide a secret
        return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + _CUT


def _step_name(form: str) -> str:
    """Return the name of a step: the form of its answers has it after a colon."""
    return form.partition(":")[2] or form


def _outcome(ended: AttemptEnded) -> str:
    if ended.error is not None:
        return ended.error.kind.value
    return "reused" if ended.reused else "answered"


def _usage(usage: Usage) -> Attributes:
    about: Attributes = {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
    }
    if usage.cached_tokens:
        about["gen_ai.usage.cache_read.input_tokens"] = usage.cached_tokens
    if usage.cache_write_tokens:
        about["gen_ai.usage.cache_creation.input_tokens"] = usage.cache_write_tokens
    if usage.reasoning_tokens:
        about["gen_ai.usage.reasoning.output_tokens"] = usage.reasoning_tokens
    return about


def _tokens(usage: Usage) -> Attributes:
    """Return the usage under names that no program adds to that of the calls."""
    kinds: Attributes = {f"headrace.tokens.{kind}": count for kind, count in usage.kinds().items() if count}
    return {**kinds, "headrace.cost_usd": usage.cost_usd}
