"""What follows for a call from an attempt that failed: it waits, it goes to another endpoint, or it ends.

Rule 1: what tells nothing about the call does not use up its tries: a refusal, a refused key, an endpoint
that cannot be reached, or one that has answered no call since it last failed this one. The call waits until
its own deadline.
Rule 2: a call that gets an answer which the configuration is to blame for, while its endpoint answers other
calls, is to blame itself: a web filter may forbid its text. It ends at the second such answer.
Rule 3: where another endpoint may do better, the call goes there at once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from msgspec.structs import replace

from actors.core.dispatch.endpoint import EndpointState
from actors.core.dispatch.open_call import OpenCall
from actors.core.errors import Blame, Failure, FailureKind, InvariantError
from actors.core.limits.endpoint_faults import is_unreached
from actors.core.limits.retry import GiveUp, GiveUpReason, RetryPolicy
from actors.core.messages.attempts import AttemptEnded

_LONGEST_WISH_S = 30.0  # longest Retry-After that a call obeys; in an outage the limiter sends little anyway
_MOST_SPREAD = 5  # doublings of the time over which refused calls are spread
_SHORTEST_WAIT_S = 1.0
_BESIDE_A_LOOK_S = 1.0  # a call waits at most this long after the next look: another call makes the look
_MOST_LOOKS_LEFT = 2  # most further looks that a call waits; it waits one more for each that it has made


class Aftermath:
    """Decides by the rules above. Each decision is a time to try again, or the failure that ends the call."""

    def __init__(self, retry: RetryPolicy, endpoints: Sequence[EndpointState], rng: random.Random) -> None:
        self._retry = retry
        self._endpoints = endpoints
        self._rng = rng

    def of(
        self, record: OpenCall, outcome: AttemptEnded, where: EndpointState, now: float, *, others_wait: bool
    ) -> float | Failure:
        """Decide after an attempt at `where`; `others_wait`: calls wait that were not tried yet."""
        failure = outcome.error
        if failure is None:
            raise InvariantError("an attempt that was answered has not failed")
        record.cause = failure
        if failure.kind is FailureKind.MISCONFIGURED:
            return self._after_fault(record, failure, where, now, others_wait=others_wait)
        if failure.kind is FailureKind.REFUSED or is_unreached(outcome):
            record.refusals += 1
            # An endpoint that asks for an hour may be back in a minute, and would find no call to answer.
            wish_s = min(failure.retry_after_s or 0.0, _LONGEST_WISH_S)
            times = min(record.refusals, _MOST_SPREAD)
            wait = self._retry.wait(times, replace(failure, retry_after_s=wish_s), self._rng)
            until = now + wait.after_s
            if until >= record.deadline:  # it may have asked for too much: there is time for another try
                until = now + max(_SHORTEST_WAIT_S, (record.deadline - now) / 2)
            return self._elsewhere_or(until, record, where, now)
        record.tries += self._is_try(record, failure, where)
        return self.again(record, failure, now, where=where, others_wait=others_wait)

    @staticmethod
    def _is_try(record: OpenCall, failure: Failure, where: EndpointState) -> bool:
        """Tell whether the call itself may be the cause: the endpoint answers others, or fails only this one.

        A failure that is certainly unbilled costs nothing to repeat. One in doubt may be billed each time: of
        a call that fails alone it is always a try.
        """
        before = record.answered_before.get(where.name)
        record.answered_before = {**record.answered_before, where.name: where.answered}
        others_fail = where.take_failure(record.call.key)
        if failure.kind is FailureKind.TRANSIENT and failure.blame is Blame.CLUSTER:
            return False  # its client was lost before it was sent
        if before is None or where.answered > before:
            return True
        return failure.kind is not FailureKind.TRANSIENT and not others_fail

    def again(
        self,
        record: OpenCall,
        failure: Failure,
        now: float,
        *,
        where: EndpointState | None = None,
        others_wait: bool,
    ) -> float | Failure:
        """Decide about a failure that uses up tries and a part of the retry budget."""
        failures = record.counts.failed + record.counts.in_doubt
        decision = self._retry.next(max(1, record.tries), failure, self._rng, now, times=failures)
        record.held_back = None
        if not isinstance(decision, GiveUp):
            after = decision.after_s
        elif decision.reason is GiveUpReason.BUDGET:
            after = self._rng.uniform(0.5, 1.0)
            record.held_back = failure if others_wait else None
        else:
            return record.given_up(failure, decision.reason)
        until = now + after
        if where is not None and record.held_back is None and failure.kind is FailureKind.TRANSIENT:
            until = self._elsewhere_or(until, record, where, now)
        return until if until < record.deadline else too_late(failure)

    def _after_fault(
        self, record: OpenCall, failure: Failure, where: EndpointState, now: float, *, others_wait: bool
    ) -> float | Failure:
        # Only attempts placed from now on tell: a key that was just revoked is still good for earlier ones.
        first, times = record.misfits.get(where.name, (where.faults.placed, 0))
        if times and where.faults.has_answered_since(first):
            where.faults.retract()
            text = f"{failure.message} (for the second time, though the endpoint answers other calls)"
            return replace(failure, kind=FailureKind.PERMANENT, blame=Blame.TASK, message=text)
        record.misfits = {**record.misfits, where.name: (first, times + 1)}
        until = (where.faults.closed_until(now) or now) + self._rng.uniform(0.5, 1.0) * _BESIDE_A_LOOK_S
        if others_wait:  # calls whose text is forbidden must not make all the looks
            until += min(times, _MOST_LOOKS_LEFT) * where.faults.pause_s
        return self._elsewhere_or(until, record, where, now)

    def _elsewhere_or(self, until: float, record: OpenCall, where: EndpointState, now: float) -> float:
        """Return `now` where another endpoint may be asked, else when the first of all may be."""
        record.shun(where.name, min(until, record.deadline))
        if all(record.shuns(endpoint.name, now) for endpoint in self._endpoints):
            return min(record.shunned.values())
        return now


def fault_of_all(endpoints: Sequence[EndpointState]) -> Failure | None:
    """Return what keeps every endpoint from being used, None while one of them can be."""
    faults = [endpoint.faults.fault for endpoint in endpoints]
    known = [fault for fault in faults if fault is not None]
    if not known or len(known) < len(faults):
        return None
    return replace(known[0], message="; ".join(dict.fromkeys(fault.message for fault in known)))


def too_late(failure: Failure) -> Failure:
    """Return the end of a call whose time is over, by the failure that it waited for to pass."""
    text = f"no time was left for another try after: {failure.message}"
    return Failure(FailureKind.DEADLINE, failure.blame, text)
