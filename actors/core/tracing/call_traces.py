"""Follows the sampled calls of a dispatcher from their offer to their end, for their spans."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct, field

from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.calls import Call, Completion
from actors.core.tracing.spans import SpanMaker, TraceSpan


class _TracedCall(Struct):
    """A call that has not ended. `endpoint` is that of the answer, or of the last failure."""

    call: Call
    trace: int
    began: float
    endpoint: str = ""
    attempts: dict[int, str] = field(default_factory=dict)  # the endpoint of each


class CallTraces:
    """The calls that are traced. `clock` is the time in seconds since 1970."""

    def __init__(self, maker: SpanMaker, clock: Callable[[], float]) -> None:
        self._maker = maker
        self._clock = clock
        self._calls: dict[str, _TracedCall] = {}
        self._of_attempt: dict[int, _TracedCall] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def offered(self, call: Call) -> None:
        """Follow a call if its task is sampled."""
        trace = self._maker.sampled(call.run_id, call.task)
        if trace is not None and call.key not in self._calls:
            self._calls[call.key] = _TracedCall(call, trace, self._clock())

    def sent(self, attempt: int, call_key: str, endpoint: str) -> None:
        """Note that an attempt at a call begins."""
        traced = self._calls.get(call_key)
        if traced is not None:
            traced.attempts[attempt] = endpoint
            self._of_attempt[attempt] = traced

    def ended(self, outcome: AttemptEnded) -> None:
        """Note the end of an attempt. The end of the losing attempt of a hedged call comes too late."""
        traced = self._of_attempt.pop(outcome.id, None)
        if traced is not None:
            traced.endpoint = traced.attempts[outcome.id]

    def completed(self, completion: Completion) -> TraceSpan | None:
        """Return the span of a call that ends now, None if it is not traced."""
        traced = self.forget(completion.key)
        if traced is None:
            return None
        return self._maker.call(
            traced.trace,
            traced.call,
            completion,
            began=traced.began,
            ended=self._clock(),
            endpoint=traced.endpoint,
            attempts=len(traced.attempts),
        )

    def forget(self, call_key: str) -> _TracedCall | None:
        """Stop following a call, and return it."""
        traced = self._calls.pop(call_key, None)
        for attempt in () if traced is None else traced.attempts:
            self._of_attempt.pop(attempt, None)
        return traced
