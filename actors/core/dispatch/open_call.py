"""A call that has not ended: where it is, what was tried for it, and what that took."""

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

# Most calls only wait. What each would have for itself in vain was half of what a deep queue takes.
_NONE: Mapping[str, float] = MappingProxyType({})
_NO_ANSWERS: Mapping[str, tuple[int, int]] = MappingProxyType({})
_NO_COUNTS: Mapping[str, int] = MappingProxyType({})
_NOTHING = Usage()
_PLANNED = CallCounts(planned=1)


class CallState(enum.Enum):
    """Where a call is between its offer and its end."""

    QUEUED = "queued"  # its turn has not come
    WAITING = "waiting"  # it sits out a pause before it is tried again
    SENT = "sent"  # an attempt at it is with a client
    FOLLOWING = "following"  # an equal call is being asked, whose answer will be its own
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
        "correction",
        "counts",
        "deadline",
        "first",
        "held_back",
        "in_flight",
        "leads",
        "misfits",
        "number",
        "reasks",
        "refusals",
        "revision",
        "shunned",
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
        self.ticket: Ticket[OpenCall] | None = None  # in the queue, until the call ends
        self.leads = False  # equal calls may be waiting for its answer
        self.number = 0  # attempts made
        self.tries = 0  # of those: failed while the endpoint answered other calls
        self.refusals = 0  # and the others, an endpoint that was not reached among them
        self.reasks = 0
        self.revision = 0  # of the question: each correction makes another
        self.first = False  # at the client that the attempt under way was handed to
        self.streams: bool | None = None  # once decided it stays: a repeated key goes with the same body
        self.correction: Correction | None = None
        self._correction_tokens = 0
        self.cancelled: Failure | None = None
        self.held_back: Failure | None = None  # it waits to ask the retry budget again, after this failure
        self.in_flight: tuple[int, ...] = ()  # attempts under way: two where one is hedged
        self.shunned = _NONE  # endpoints that failed it, and until when it does without each
        # The answers at each that its configuration is to blame for: the number of the attempt that had been
        # placed last when the first of them came, and how many they are.
        self.misfits = _NO_ANSWERS
        # How many attempts each endpoint had answered when it last failed this call.
        self.answered_before = _NO_COUNTS
        self.cause: Failure | None = None  # the latest failure of an attempt
        self.usage = _NOTHING
        self.counts = _PLANNED

    def __repr__(self) -> str:
        return f"<OpenCall {self.call.key}, {self.state.value}>"

    def move(self, state: CallState) -> None:
        """Enter `state`. Raises InvalidTransitionError, and changes nothing, where that cannot be."""
        if state not in _NEXT[self.state]:
            raise InvalidTransitionError(f"call {self.call.key}", self.state.value, state.value)
        self.state = state

    @property
    def input_tokens(self) -> int:
        """About how many tokens the question takes, a correction included."""
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
        )

    @property
    def owner(self) -> tuple[str, str]:
        """The run and the task that it belongs to."""
        return self.call.run_id, self.call.task

    def shun(self, endpoint: str, until: float) -> None:
        """Do without `endpoint` for a while."""
        self.shunned = {**self.shunned, endpoint: until}

    def shuns(self, endpoint: str, now: float) -> bool:
        """Return whether the call does without `endpoint` for now."""
        return bool(self.shunned) and self.shunned.get(endpoint, now) > now

    @property
    def idempotency_key(self) -> str:
        """The same for all attempts at one question; a corrected question is another one."""
        return f"{self.call.key}.{self.revision}" if self.revision else self.call.key

    def ask_again(self, correction: Correction | None) -> None:
        """Have the call asked again after an answer that did not fit.

        Without a correction the question stays the same: an answer that broke off on its way is then free
        where the endpoint honours idempotency keys.
        """
        self.reasks += 1
        if correction is not None:
            self.correction = correction
            # An answer, what was wrong with it, and the wish for another go beside the question.
            told = text_tokens(correction.answer) + text_tokens(correction.problem)
            self._correction_tokens = told + 4 * MESSAGE_TOKENS
            self.revision += 1
            self.streams = None

    def given_up(self, failure: Failure, reason: GiveUpReason) -> Failure:
        """Return `failure` as the end of this call."""
        if reason is GiveUpReason.FINAL:
            return failure
        return replace(
            failure, message=f"{failure.message} (given up: {reason}, {self.number} requests made)"
        )

    def account(self, outcome: AttemptEnded, estimate: Usage) -> Usage:
        """Count what an attempt at this call came to. Return what is charged for it."""
        counts = self.counts
        if outcome.is_second:
            counts = replace(counts, failed=counts.failed + 1)
        took = charged(outcome, estimate)
        if outcome.reused:
            counts = replace(counts, reused=counts.reused + 1)
        elif is_answered(outcome):
            # A repeated answer was billed once: with an attempt in doubt, or with one counted already.
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
