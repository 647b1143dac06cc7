"""The dispatcher's state of one endpoint: its limiter, its breaker, its clients and its attempts.

Rule 1: An attempt has a permit of the limiter, or waits at a client without one.
Rule 2: This module alone decides what the end of an attempt means for the endpoint. A refusal goes to the
    limiter and is a sign of life. A failure of the endpoint goes to the breaker. A configuration error is a
    fault (`endpoint_faults`). A failure of Headrace itself has no effect.
"""

from __future__ import annotations

import random

from msgspec import Struct

from actors.core.dispatch.client_pool import ClientPool
from actors.core.dispatch.events import Tell
from actors.core.errors import Blame, Failure, FailureKind, InvariantError
from actors.core.limiter.limiter import AdaptiveLimiter, LimiterSettings, LimiterStatistics, Permit
from actors.core.limits.attempt_cost import FAILED, IN_DOUBT, REFUSED, is_answered, is_estimated
from actors.core.limits.breaker import BreakerPermit, BreakerSettings, BreakerState, CircuitBreaker
from actors.core.limits.endpoint_faults import EndpointFaults
from actors.core.limits.price import Price
from actors.core.limits.token_estimate import TokenRatio
from actors.core.messages.attempts import AttemptEnded, Refusal, SetShare, StreamMark
from actors.core.messages.calls import Call
from actors.core.messages.values import Usage
from actors.core.metrics.attempt_totals import AttemptStatistics, AttemptTotals
from actors.core.metrics.history import EndpointReading
from actors.core.queue.slot_queue import SlotStatistics

_FIRST = 0.2  # the share of the slots for attempts that go before others
_LEAST_RESERVED = 16  # with fewer slots none is reserved
_REMEMBERED_S = 30.0  # how long a slot stays reserved after the last interactive attempt
_ENOUGH = 2
_TROUBLE_CHARACTERS = 200
_FAILING_S = 10.0  # single refusals and failures between answers are usual

_ANSWERED = (FailureKind.UNUSABLE, FailureKind.PERMANENT)  # the endpoint did its work, well or not
_OURS = (Blame.CLUSTER, Blame.SOURCE, Blame.UNKNOWN)  # a file to attach comes from a source


class EndpointStatistics(Struct, frozen=True):
    """A snapshot of one endpoint.

    waiting: attempts that wait for a slot at a client.
    input_ratio: input tokens counted by the endpoint per token estimated from the text of a question.
    fault: why the endpoint answers no call, with the remedy: it rejects the API key, does not know the model
    or a parameter, or was never reached. None while the endpoint is usable. The dispatcher keeps checking an
    endpoint with a fault, with one call at a time.
    last_failure: the message of the last refusal, or of the last failure that its breaker counted.
    is_failing: an attempt was refused or failed since the last answer.
    answered: attempts that were answered, usably or not.
    """

    name: str
    limiter: LimiterStatistics
    breaker: BreakerState
    waiting: int
    clients: dict[str, SlotStatistics]
    succeeded: int
    refused: int
    failed: int
    attempts: AttemptStatistics
    input_ratio: float = 1.0
    fault: Failure | None = None
    last_failure: str = ""
    is_failing: bool = False
    answered: int = 0


class EndpointState:
    """The state of one endpoint, by the rules of this module. Attempts are identified by their ids."""

    def __init__(
        self,
        name: str,
        limiter: LimiterSettings,
        breaker: BreakerSettings,
        price: Price,
        *,
        now: float,
        rng: random.Random,
        address: str = "base_url",
    ) -> None:
        self.name = name
        self.price = price
        self.pool = ClientPool()
        self._limiter = AdaptiveLimiter(limiter, now=now, rng=rng)
        self._breaker = CircuitBreaker(breaker, now)
        self._permits: dict[int, Permit] = {}
        self._breaker_permits: dict[int, BreakerPermit] = {}
        self._wait_until: float | None = None
        self._paused_until: float | None = None
        self._interactive_at = float("-inf")  # when an interactive attempt was last to be placed here
        self._succeeded = self._refused = self._failed = 0
        self._last_failure: Failure | None = None
        self._last_tenant: str | None = None  # of that failure, None if it is unknown
        self._failing_since: float | None = None  # the first refusal or failure since the last answer
        self._failing: set[str] = set()  # calls that failed since the last answer, at most `_ENOUGH`
        self.answered = 0  # attempts that were answered, usably or not
        self._attempts = AttemptTotals()
        self._input_ratio = TokenRatio()
        self.faults = EndpointFaults(name, address)

    def trouble(self, now: float, tenant: str) -> str:
        """Return the last failure or refusal in one line while the endpoint answers no call; otherwise "".

        It answers none while its breaker is not closed, and after 10 s of refusals and failures alone. The
        text of a failure may quote its prompt: other tenants than its own get an outline.
        """
        lasts = self._failing_since is not None and now - self._failing_since >= _FAILING_S
        if self._breaker.state is BreakerState.CLOSED and not lasts:
            return ""
        if self._last_failure is None:
            return ""
        if tenant != self._last_tenant:
            return self._last_failure.outline()
        return " ".join(self._last_failure.message[:_TROUBLE_CHARACTERS].split())

    def record_failure(self, call: str) -> bool:
        """Record that `call` failed. Return whether another call has failed since the last answer."""
        if len(self._failing) < _ENOUGH:
            self._failing.add(call)
        return bool(self._failing - {call})

    def wants_stream(self, now: float) -> bool:
        """Return whether the limiter would learn from the stream of an attempt that is sent now."""
        return self._limiter.wants_stream(now)

    def may_go_first(self, now: float) -> bool:
        """Return whether an interactive attempt that is sent now goes before those that wait at its client.

        Bounds such attempts to a share of the slots. Otherwise the other attempts might never start.
        """
        self._interactive_at = now
        return self.pool.first < max(1, int(_FIRST * self._limiter.limit))

    def estimate(self, input_tokens: int, output_tokens: int, *, is_bound: bool = False) -> Usage:
        """Return the estimated usage of an attempt. `input_tokens` is the estimate from its text.

        is_bound: `input_tokens` is the most that the attempt may have, as of files that are not read yet.
        """
        return self.price.estimate(self._input_ratio.scaled(input_tokens, is_bound=is_bound), output_tokens)

    def place(
        self,
        attempt: int,
        tokens: int,
        now: float,
        *,
        streams: bool = False,
        first: bool = False,
        form: str = "",
    ) -> tuple[str | None, str]:
        """Find a client for `attempt`, which asks for an answer of this form, and record the attempt there.

        Return the client and an empty string; or None and a description of the constraint.
        """
        if closed := self._closed(now):
            return None, closed
        client = self.pool.with_free_slot(first=first)
        if client is not None:
            granted = self._limiter.try_acquire(now, tokens=tokens, streams=streams)
            if isinstance(granted, Permit):
                if not self._pass_breaker(attempt, now, form):
                    self._limiter.on_cancelled(granted, now)
                    return None, f"the breaker of {self.name} waits for its canary"
                self._permits[attempt] = granted
                self.pool.hand_over(client, attempt, first=first)
                return client, ""
            if granted.until is not None:
                self._wait_until = granted.until
                return None, f"{self.name}: {granted.why}, for {max(0.0, granted.until - now):.1f} s more"
        backlog = self._limiter.backlog(now)
        if self.pool.waiting < backlog or (first and backlog):
            client = self.pool.with_shortest_queue(first=first)
            if client is not None and self._pass_breaker(attempt, now, form):
                self.pool.hand_over(client, attempt, first=first)
                return client, ""
        return None, f"the limit of {self.name}: {self._limiter.limit} in flight"

    def _closed(self, now: float) -> str:
        """Return why no attempt may be placed now, or an empty string."""
        self._wait_until = self.faults.closed_until(now)
        if self._wait_until is not None and self.faults.fault is not None:
            return self.faults.fault.message
        self._wait_until = self._breaker.retry_at(now)
        if self._wait_until is not None:
            return f"the breaker of {self.name} is open for {self._wait_until - now:.1f} s more"
        return ""

    def adopt(self, attempt: int, tokens: int, now: float, *, streams: bool = False) -> None:
        """Record that a client started an attempt that waited there."""
        self._permits[attempt] = self._limiter.adopt(now, tokens=tokens, streams=streams)

    def on_streamed(self, mark: StreamMark) -> None:
        """Learn from the progress of a stream. Ignores an attempt without a permit until it ends."""
        permit = self._permits.get(mark.attempt)
        if permit is not None and permit.sample:
            self._limiter.on_tokens(permit, permit.sent_at + mark.after_s, tokens=mark.streamed)

    def take_over(self, client: str, attempt: int, tokens: int, now: float) -> None:
        """Record that `client` has an attempt of an earlier dispatcher in flight."""
        self.pool.take_over(client, attempt)
        self._breaker_permits[attempt] = self._breaker.adopt()
        self.faults.on_taken_over(attempt)
        self.adopt(attempt, tokens, now)

    def on_ended(
        self,
        outcome: AttemptEnded,
        estimate: Usage,
        now: float,
        *,
        unscaled_tokens: int = 0,
        call: Call | None = None,
    ) -> None:
        """Process the end of an attempt that was placed here.

        `unscaled_tokens` is the estimate from its text, 0 if unknown. `call` is None if it is unknown.
        """
        if is_answered(outcome) and not is_estimated(outcome):
            self._input_ratio.learn(unscaled_tokens, outcome.usage)
        self._attempts.add(outcome, estimate)
        refused = outcome.error is not None and outcome.error.kind is FailureKind.REFUSED
        self.pool.end(outcome.id, refused=refused)
        permit = self._permit_of(outcome, estimate.tokens, now)
        breaker_permit = self._breaker_permits.pop(outcome.id)
        self.faults.on_ended(outcome, now, call)
        error = outcome.error
        if outcome.reused:  # without a request it says nothing about the endpoint
            self._on_inconclusive(permit, breaker_permit, now)
        elif error is None or (error.kind in _ANSWERED and error.blame not in _OURS):
            self._succeeded += error is None
            self._failed += error is not None
            self._failing.clear()
            self._failing_since = None
            self.answered += 1
            self._breaker.on_success(breaker_permit, now)
            self._on_answered(outcome, permit, now)
        elif error.kind is FailureKind.MISCONFIGURED:
            self._failed += 1
            self._failing_since = None  # the endpoint has a fault, which says more
            self._breaker.on_cancelled(breaker_permit, now)
            self._on_answered(outcome, permit, now)
        elif refused:
            self._refused += 1
            self._note_failure(error, call, now)
            self._breaker.on_cancelled(breaker_permit, now)
            self._on_refused(outcome, error, permit, now)
        elif error.blame is Blame.ENDPOINT:
            self._failed += 1
            self._note_failure(error, call, now)
            self._breaker.on_failure(breaker_permit, now)
            if permit is not None:
                self._limiter.on_failure(permit, now)
        else:
            self._on_inconclusive(permit, breaker_permit, now)

    def _note_failure(self, error: Failure, call: Call | None, now: float) -> None:
        self._last_failure = error
        self._last_tenant = None if call is None else call.tenant
        if self._failing_since is None:
            self._failing_since = now

    def _on_inconclusive(self, permit: Permit | None, breaker_permit: BreakerPermit, now: float) -> None:
        self._breaker.on_cancelled(breaker_permit, now)
        if permit is not None:
            self._limiter.on_cancelled(permit, now)

    def _on_answered(self, outcome: AttemptEnded, permit: Permit | None, now: float) -> None:
        if permit is None:
            return
        if outcome.error is not None and outcome.correction is None and not outcome.usage.output_tokens:
            self._limiter.on_rejected(permit, now, headers=outcome.headers)  # the model did not run
        else:
            self._limiter.on_success(
                permit,
                now,
                input_tokens=outcome.usage.input_tokens,
                output_tokens=outcome.usage.output_tokens,
                headers=outcome.headers,
                streamed=outcome.streamed,
                took_s=outcome.took_s,
            )

    def _on_refused(self, outcome: AttemptEnded, error: Failure, permit: Permit | None, now: float) -> None:
        if permit is not None:
            self._limiter.on_refused(
                permit,
                now,
                retry_after=error.retry_after_s,
                kind=outcome.refusal or Refusal.UNKNOWN,
                headers=outcome.headers,
            )

    def share_messages(self, now: float) -> list[Tell]:
        """Return the messages that send changed shares to clients. A lower share is urgent."""
        before, unsent = self.pool.slots, self.pool.has_unsent_shares
        shares = self.shares(now)
        urgent = unsent or self.pool.slots < before
        return [
            Tell(client, SetShare(self.name, slots, self.pool.reserved(client)), urgent=urgent)
            for client, slots in shares
        ]

    def shares(self, now: float) -> list[tuple[str, int]]:
        """Return the clients whose share has changed, with the new share."""
        self._limiter.tick(now)
        self.faults.tick(now)
        until = self._limiter.paused_until
        self._paused_until = until if until is not None and until > now else None
        slots = 0 if self._paused_until is not None else self._limiter.limit
        return self.pool.allot(slots, self._reserved(slots, now))

    def next_wake(self, now: float, *, wanted: bool) -> float | None:
        """Return when the state changes without an event. `wanted`: whether calls wait for room here."""
        times = [self._limiter.tick(now), self.faults.next_at()]
        if wanted:
            times.append(self._wait_until)
        if wanted or self.pool.waiting:
            times.append(self._paused_until)  # the limiter has no wake-up time while nothing is in flight
        return min((time for time in times if time is not None), default=None)

    def load(self) -> float:
        """Return the utilization of the endpoint, at most 1 if it has room."""
        return (self._limiter.in_flight + self.pool.waiting + 1) / max(1, self._limiter.limit)

    def statistics(self) -> EndpointStatistics:
        """Return a frozen snapshot."""
        return EndpointStatistics(
            name=self.name,
            limiter=self._limiter.statistics(),
            breaker=self._breaker.state,
            waiting=self.pool.waiting,
            clients=self.pool.statistics(),
            succeeded=self._succeeded,
            refused=self._refused,
            failed=self._failed,
            attempts=self._attempts.statistics(),
            input_ratio=self._input_ratio.ratio,
            fault=self.faults.fault,
            last_failure=self._last_failure.message if self._last_failure else "",
            is_failing=self._failing_since is not None,
            answered=self.answered,
        )

    def reading(self, queued: int) -> EndpointReading:
        """Return the values for the history. `queued` calls at the dispatcher may use this endpoint."""
        totals = self._attempts
        return EndpointReading(
            self.name,
            totals.answers,
            totals.counted[REFUSED],
            totals.counted[FAILED],
            totals.counted[IN_DOUBT],
            cuts=self._limiter.cuts + self._breaker.opened,
            limit=self._limiter.limit,
            in_flight=self._limiter.in_flight,
            queued=queued + self.pool.waiting,
        )

    def check_invariants(self) -> None:
        """Raise InvariantError if the parts disagree."""
        self.pool.check_invariants()
        self._limiter.check_invariants()
        self._breaker.check_invariants()
        if len(self._permits) != self._limiter.in_flight:
            raise InvariantError(f"{self.name}: the permits kept and those of the limiter differ")
        if len(self._permits) + self.pool.waiting != len(self._breaker_permits):
            raise InvariantError(f"{self.name}: the attempts and the permits of the breaker differ")

    def _reserved(self, slots: int, now: float) -> int:
        """Return at how many clients one slot is reserved for the next interactive attempt: 1 or 0.

        Without a reserved slot it waits for an attempt at its client to end. While the limiter is raising the
        limit, all slots must be used.
        """
        if now > self._interactive_at + _REMEMBERED_S or not self._limiter.is_steady:
            return 0
        return 1 if slots >= _LEAST_RESERVED else 0

    def _permit_of(self, outcome: AttemptEnded, tokens: int, now: float) -> Permit | None:
        """Return the permit of an attempt that has ended, None if it was never sent."""
        permit = self._permits.pop(outcome.id, None)
        streams = outcome.streamed > 0
        if permit is None and outcome.took_s > 0:
            # It started before the mirror showed it. With `now` as its start its latency would be zero.
            permit = self._limiter.adopt(now - outcome.took_s, tokens=tokens, streams=streams)
        if permit is not None and permit.sample and streams:
            # `on_tokens` counts only the increase since the last report.
            self._limiter.on_tokens(permit, permit.sent_at + outcome.began_s, tokens=1)
            self._limiter.on_tokens(permit, permit.sent_at + outcome.took_s, tokens=outcome.streamed)
        return permit

    def _pass_breaker(self, attempt: int, now: float, form: str) -> bool:
        permit = self._breaker.allow(now)
        if permit is None:
            self._wait_until = self._breaker.retry_at(now)  # when a silent canary is replaced
            return False
        self.faults.on_placed(attempt, now, form)
        self._breaker_permits[attempt] = permit
        return True
