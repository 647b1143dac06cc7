"""A call that has not ended: its state, its attempts and what they cost."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from msgspec.structs import replace

from actors.core.errors import Failure, InvalidTransitionError
from actors.core.limits.attempt_cost import charged, counted_as, is_answered, is_estimated
from actors.core.limits.retry import GiveUpReason
from actors.core.limits.token_estimate import MESSAGE_TOKENS, text_tokens
from actors.core.messages.attempts import Attempt, AttemptEnded
from actors.core.messages.calls import Call, Correction
from actors.core.messages.values import CallCounts, Usage
from actors.core.queue.fair_queue import Ticket

# Shared empty values: most calls only wait, and separate ones took half of the memory of a deep queue.
_NONE: Mapping[str, float] = MappingProxyType({})
_NO_ANSWERS: Mapping[str, tuple[int, int]] = MappingProxyType({})
_NO_COUNTS: Mapping[str, int] = MappingProxyType({})
_NOTHING = Usage()
_PLANNED = CallCounts(planned=1)


class CallState(enum.Enum):
    """The state of a call between its offer and its end."""

    QUEUED = "queued"  # it waits in the fair queue
    WAITING = "waiting"  # it waits for a pause to end before another attempt
    SENT = "sent"  # a client has an attempt at it
    FOLLOWING = "following"  # it will get the answer of an equal call
    ENDED = "ended"


_NEXT = {
    CallState.QUEUED: {CallState.SENT, CallState.WAITING, CallState.FOLLOWING, CallState.ENDED},
    CallState.SENT: {CallState.WAITING, CallState.QUEUED, CallState.ENDED},
    CallState.WAITING: {CallState.WAITING, CallState.QUEUED, CallState.SENT, CallState.ENDED},
    CallState.FOLLOWING: {CallState.WAITING, CallState.QUEUED, CallState.ENDED},
    CallState.ENDED: set[CallState](),
}


class OpenCall:
    """The dispatcher's record of one call. `deadline` is a time on the dispatcher's clock."""

    __slots__ = (
        "_correction_tokens",
        "answered_before",
        "call",
        "cancelled",
        "cause",
        "config_errors",
        "correction",
        "counts",
        "deadline",
        "estimate",
        "excluded",
        "first",
        "held_back",
        "in_flight",
        "leads",
        "number",
        "reasks",
        "refusals",
        "revision",
        "state",
        "streams",
        "ticket",
        "tries",
        "usage",
    )

    def __init__(self, call: Call, now: float) -> None:
        self.call = call
        self.deadline = now + call.expires_in_s
        self.state = CallState.QUEUED
        self.ticket: Ticket[OpenCall] | None = None  # of the fair queue, kept until the call ends
        self.leads = False  # whether equal calls may wait for its answer
        self.number = 0  # attempts made
        self.tries = 0  # of those, attempts that failed while the endpoint answered other calls
        self.refusals = 0  # attempts that were refused or did not reach the endpoint
        self.reasks = 0
        self.revision = 0  # of the question; each correction increments it
        self.first = False  # whether the latest attempt goes before those that wait at its client
        self.estimate = _NOTHING  # of the latest attempt
        self.streams: bool | None = None  # fixed once decided: a repeated key must have the same body
        self.correction: Correction | None = None
        self._correction_tokens = 0
        self.cancelled: Failure | None = None
        self.held_back: Failure | None = None  # the failure after which it waits for the retry budget
        self.in_flight: tuple[int, ...] = ()  # attempts in flight, two if the call is hedged
        self.excluded = _NONE  # excluded endpoints, each with the end of its exclusion
        # For each endpoint that answered with a configuration error: the last attempt placed there when the
        # first such answer came, and the number of such answers.
        self.config_errors = _NO_ANSWERS
        # The attempts that each endpoint had answered when it last failed this call.
        self.answered_before = _NO_COUNTS
        self.cause: Failure | None = None  # the latest failure of an attempt
        self.usage = _NOTHING
        self.counts = _PLANNED

    def __repr__(self) -> str:
        return f"<OpenCall {self.call.key}, {self.state.value}>"

    def move(self, state: CallState) -> None:
        """Enter `state`. Raises InvalidTransitionError, and changes nothing, if this is not allowed."""
        if state not in _NEXT[self.state]:
            raise InvalidTransitionError(f"call {self.call.key}", self.state.value, state.value)
        self.state = state

    @property
    def input_tokens(self) -> int:
        """The estimated tokens of the question, including a correction."""
        return self.call.tokens - self.call.output_tokens + self._correction_tokens

    def attempt(
        self, attempt: int, endpoint: str, now: float, estimate: Usage, *, is_hedge: bool = False
    ) -> Attempt:
        """Return the request to make now."""
        return Attempt(
            id=attempt,
            call_key=self.call.key,
            endpoint=endpoint,
            form=self.call.form,
            prompt=self.call.prompt,
            number=self.number,
            idempotency_key=self.idempotency_key,
            expires_in_s=self.deadline - now,
            correction=self.correction,
            task=self.call.task,
            run_id=self.call.run_id,
            content=self.call.content,
            estimate=estimate,
            stream=self.streams or False,
            first=self.first,
            is_hedge=is_hedge,
            attachments=self.call.attachments,
        )

    @property
    def owner(self) -> tuple[str, str]:
        """The run and the task of the call."""
        return self.call.run_id, self.call.task

    def exclude(self, endpoint: str, until: float) -> None:
        """Exclude `endpoint` until then."""
        self.excluded = {**self.excluded, endpoint: until}

    def excludes(self, endpoint: str, now: float) -> bool:
        """Return whether `endpoint` is excluded now."""
        return bool(self.excluded) and self.excluded.get(endpoint, now) > now

    @property
    def idempotency_key(self) -> str:
        """The key of all attempts at one question. A corrected question has another key."""
        return f"{self.call.key}.{self.revision}" if self.revision else self.call.key

    def ask_again(self, correction: Correction | None) -> None:
        """Prepare the call for another attempt after an unusable answer.

        Without a correction the question stays the same. An endpoint that honours idempotency keys then
        repeats an answer that was cut off without charging for it.
        """
        self.reasks += 1
        if correction is not None:
            self.correction = correction
            # The question is extended by the answer, the problem and a request for another answer.
            added = text_tokens(correction.answer) + text_tokens(correction.problem)
            self._correction_tokens = added + 4 * MESSAGE_TOKENS
            self.revision += 1
            self.streams = None

    def given_up(self, failure: Failure, reason: GiveUpReason) -> Failure:
        """Return `failure` as the final failure of this call, with the reason in its message."""
        if reason is GiveUpReason.FINAL:
            return failure
        return replace(
            failure, message=f"{failure.message} (given up after {self.number} requests: {reason})"
        )

    def account(self, outcome: AttemptEnded, estimate: Usage) -> Usage:
        """Add the result of an attempt to the totals. Return the usage charged for it."""
        counts = self.counts
        if outcome.is_second:
            counts = replace(counts, failed=counts.failed + 1)
        took = charged(outcome, estimate)
        if outcome.reused:
            counts = replace(counts, reused=counts.reused + 1)
        elif is_answered(outcome):
            # A replayed answer is billed once. An earlier attempt may have been counted as billed.
            billed = counts.billed + 1
            if outcome.replayed:
                billed = max(counts.billed, self.revision + 1)
            if billed == counts.billed:
                took = _NOTHING
            self.usage += took
            unusable = counts.unusable + (outcome.error is not None)
            estimated = counts.estimated + (is_estimated(outcome) and billed > counts.billed)
            counts = replace(counts, billed=billed, unusable=unusable, estimated=estimated)
        elif name := counted_as(outcome):
            counts = replace(counts, **{name: getattr(counts, name) + 1})
        self.counts = counts
        return took
