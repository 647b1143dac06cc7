"""Decides what happens to a call after a failed attempt: it waits, goes to another endpoint, or ends.

Rule 1: A failure that says nothing about the call does not use up its tries: a refusal, a rejected API key,
    an endpoint that cannot be reached or whose URL seems wrong, or one that has answered no call since it
    last failed this one. The call is retried until its deadline.
Rule 2: If a call gets a configuration error while its endpoint answers other calls, the call is the cause: a
    web filter may block its text. It ends at the second such answer. If other calls of the same form get such
    errors too, and none is answered, their form is the cause: all of them wait.
Rule 3: If another endpoint is not excluded, the call goes there at once.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from actors.core.dispatch.endpoint import EndpointState
from actors.core.dispatch.open_call import OpenCall
from actors.core.errors import Blame, Failure, FailureKind, InvariantError
from actors.core.limits.endpoint_faults import is_unreached
from actors.core.limits.retry import GiveUp, GiveUpReason, RetryPolicy
from actors.core.messages.attempts import AttemptEnded
from actors.core.queue.routes import Routes

_LONGEST_RETRY_AFTER_S = 30.0  # larger values are clamped; in an outage the limiter sends little anyway
_MAX_SPREAD = 5  # doublings of the interval over which refused calls are spread
_SHORTEST_WAIT_S = 1.0
_AFTER_CHECK_S = 1.0  # a call waits up to this long after the next check of the endpoint by another call
_SHOWN_TROUBLES = 3  # endpoints in the error of a call
_MAX_CHECKS_SKIPPED = 2  # checks that a call leaves to other calls; one for each that it has made


class Aftermath:
    """Applies these rules. A decision is the time of the next attempt, or the failure that ends the call."""

    def __init__(
        self, retry: RetryPolicy, routes: Routes[OpenCall, EndpointState], rng: random.Random
    ) -> None:
        self._retry = retry
        self._routes = routes
        self._rng = rng

    def of(
        self, record: OpenCall, outcome: AttemptEnded, where: EndpointState, now: float
    ) -> float | Failure:
        """Decide after a failed attempt at `where`."""
        failure = outcome.error
        if failure is None:
            raise InvariantError("an attempt without an error has not failed")
        record.cause = failure
        if failure.kind is FailureKind.MISCONFIGURED:
            return self._after_fault(record, failure, where, now)
        is_elsewhere = is_unreached(outcome) or where.faults.shows_wrong_url(outcome)
        if failure.kind is FailureKind.REFUSED or is_elsewhere:
            record.refusals += 1
            # An endpoint that asks for an hour may recover in a minute; the calls must not all wait.
            retry_after_s = min(failure.retry_after_s or 0.0, _LONGEST_RETRY_AFTER_S)
            times = min(record.refusals, _MAX_SPREAD)
            wait = self._retry.wait(times, replace(failure, retry_after_s=retry_after_s), self._rng)
            until = now + wait.after_s
            if until >= record.deadline:  # the endpoint may recover earlier: leave time for another attempt
                until = now + max(_SHORTEST_WAIT_S, (record.deadline - now) / 2)
            return self._elsewhere_or(until, record, where, now)
        record.tries += self._is_try(record, failure, where)
        return self.again(record, failure, now, where=where)

    @staticmethod
    def _is_try(record: OpenCall, failure: Failure, where: EndpointState) -> bool:
        """Return whether the call may be the cause: the endpoint answers other calls, or fails only this one.

        Repeating an unbilled failure costs nothing. A failure in doubt may be billed each time, so it always
        counts if no other call fails.
        """
        before = record.answered_before.get(where.name)
        record.answered_before = {**record.answered_before, where.name: where.answered}
        others_fail = where.record_failure(record.call.key)
        if failure.kind is FailureKind.TRANSIENT and failure.blame is Blame.CLUSTER:
            return False  # the client was lost before it sent the attempt
        if before is None or where.answered > before:
            return True
        return failure.kind is not FailureKind.TRANSIENT and not others_fail

    def again(
        self, record: OpenCall, failure: Failure, now: float, *, where: EndpointState | None = None
    ) -> float | Failure:
        """Decide after a failure that uses up tries and a part of the retry budget."""
        failures = record.counts.failed + record.counts.in_doubt
        decision = self._retry.next(max(1, record.tries), failure, self._rng, now, times=failures)
        record.held_back = None
        if not isinstance(decision, GiveUp):
            after = decision.after_s
        elif decision.reason is GiveUpReason.BUDGET:
            after = self._rng.uniform(0.5, 1.0)
            record.held_back = failure if self._others_wait(record) else None
        else:
            return record.given_up(failure, decision.reason)
        until = now + after
        if where is not None and record.held_back is None and failure.kind is FailureKind.TRANSIENT:
            until = self._elsewhere_or(until, record, where, now)
        return until if until < record.deadline else _too_late(failure)

    def expired(self, record: OpenCall, now: float) -> Failure:
        """Return the failure of a call whose deadline passed in the queue, with the cause of the wait.

        The text has no duration and is the same for all calls of an outage: they count as one cause.
        """
        if record.cause:
            return _too_late(record.cause)
        troubles = [
            f"endpoint {endpoint.name} answers no call: {trouble}"
            for endpoint in self._routes.of(record.call.endpoints).endpoints
            if (trouble := endpoint.trouble(now, record.call.tenant))
        ]
        more = len(troubles) - _SHOWN_TROUBLES
        shown = [*troubles[:_SHOWN_TROUBLES], *([f"and {more} more endpoints"] if more > 0 else [])]
        text = "; ".join(["the deadline passed while the call was queued", *shown])
        return Failure(FailureKind.DEADLINE, Blame.LIMIT, text)

    def _after_fault(
        self, record: OpenCall, failure: Failure, where: EndpointState, now: float
    ) -> float | Failure:
        # Only attempts placed from now on count: a revoked API key is still valid for earlier ones.
        first, times = record.config_errors.get(where.name, (where.faults.placed, 0))
        if times and self._is_cause(record.call.form, where, first):
            where.faults.retract(record.call.form)
            text = f"{failure.message} (for the second time, while the endpoint answers other calls)"
            return replace(failure, kind=FailureKind.PERMANENT, blame=Blame.TASK, message=text)
        record.config_errors = {**record.config_errors, where.name: (first, times + 1)}
        until = (where.faults.closed_until(now) or now) + self._rng.uniform(0.5, 1.0) * _AFTER_CHECK_S
        if self._others_wait(record):  # calls with a blocked text must not make all the checks
            until += min(times, _MAX_CHECKS_SKIPPED) * where.faults.pause_s
        return self._elsewhere_or(until, record, where, now)

    @staticmethod
    def _is_cause(form: str, where: EndpointState, first: int) -> bool:
        """Return whether an endpoint that rejected a call as its attempt `first` answers calls like it."""
        faults = where.faults
        if faults.forms.has_answered_since(form, first):
            return True
        return faults.has_answered_since(first) and not faults.forms.suspects(form)

    def _elsewhere_or(self, until: float, record: OpenCall, where: EndpointState, now: float) -> float:
        """Exclude `where`. Return when the first endpoint may be used: `now` if one is not excluded."""
        record.exclude(where.name, min(until, record.deadline))
        route = self._routes.of(record.call.endpoints)
        if all(record.excludes(endpoint.name, now) for endpoint in route.endpoints):
            return min(record.excluded.values())
        return now

    def _others_wait(self, record: OpenCall) -> bool:
        """Return whether calls are queued that may use the endpoints of this one, and no others."""
        return bool(len(self._routes.of(record.call.endpoints).queue))


def fault_of_any(routes: Routes[OpenCall, EndpointState]) -> Failure | None:
    """Return the combined fault of the endpoints of a route or of a form, None if each has a usable one."""
    for route in routes:
        if fault := _combined(endpoint.faults.fault for endpoint in route.endpoints):
            return fault
    for names, form in _rejected_forms(routes):
        each = [endpoint.faults for endpoint in routes.of(names).endpoints]
        if fault := _combined(faults.fault or faults.forms.fault(form) for faults in each):
            return replace(fault, message=f"{form}: {fault.message}")
    return None


def _rejected_forms(routes: Routes[OpenCall, EndpointState]) -> Iterator[tuple[tuple[str, ...], str]]:
    for route in routes:
        for endpoint in route.endpoints:
            for form, names in endpoint.faults.forms.rejected():
                yield names, form


def _combined(faults: Iterable[Failure | None]) -> Failure | None:
    """Return the faults as one, None if one of them is None."""
    known = []
    for fault in faults:
        if fault is None:
            return None
        known.append(fault)
    return replace(known[0], message="; ".join(dict.fromkeys(fault.message for fault in known)))


def unknown_endpoint(names: Sequence[str]) -> Failure:
    """Return the failure of a call that names endpoints that do not exist."""
    text = f"no endpoint is named {', '.join(names)}: check endpoint of evaluate, and llm.endpoints"
    return Failure(FailureKind.PERMANENT, Blame.CONFIG, text)


def _too_late(failure: Failure) -> Failure:
    """Return the final failure of a call that passed its deadline while waiting to retry after `failure`."""
    text = f"no time was left for another attempt after: {failure.message}"
    return Failure(FailureKind.DEADLINE, failure.blame, text)
