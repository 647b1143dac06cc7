"""Decides how an attempt is counted and what is charged for it, for the dispatcher and the journal.

Rule 1: only an attempt that was sent can be billed or be in doubt.
Rule 2: an answer is billed, whether or not it is usable. If the endpoint does not report its usage, the
    estimate is charged: otherwise such an endpoint would never exhaust a budget.
Rule 3: an attempt that was sent and whose end is unknown is in doubt. Its estimate is charged.
"""

from __future__ import annotations

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.values import Usage

IN_DOUBT, REFUSED, FAILED, NOT_COUNTED = "in_doubt", "refused", "failed", ""

_NOTHING = Usage()
_END_IS_UNKNOWN = (FailureKind.CANCELLED, FailureKind.UNSTORED)
_FAILURES = (FailureKind.TRANSIENT, FailureKind.PERMANENT, FailureKind.MISCONFIGURED)


def is_answered(ended: AttemptEnded) -> bool:
    """Return whether the endpoint answered this attempt, with a usable answer or not."""
    return not ended.reused and (ended.error is None or ended.error.kind is FailureKind.UNUSABLE)


def counted_as(ended: AttemptEnded) -> str:
    """Return the count of `CallCounts` for the attempt, or "" for an answer, which has its own counts."""
    error = ended.error
    if error is None or error.kind is FailureKind.UNUSABLE:
        return NOT_COUNTED
    if error.kind is FailureKind.REFUSED:
        return REFUSED
    if error.kind is FailureKind.IN_DOUBT:
        return IN_DOUBT
    if not ended.sent:
        return NOT_COUNTED
    if error.kind in _END_IS_UNKNOWN:
        return IN_DOUBT
    return FAILED if error.kind in _FAILURES else NOT_COUNTED


def is_estimated(ended: AttemptEnded) -> bool:
    """Return whether the endpoint answered without its usage, so that the estimate is charged."""
    return is_answered(ended) and (ended.unmetered or ended.usage.tokens == 0)


def charged(ended: AttemptEnded, estimate: Usage) -> Usage:
    """Return the usage to charge for the attempt, whose estimate was `estimate`."""
    if not is_answered(ended):
        return estimate if counted_as(ended) == IN_DOUBT else _NOTHING
    reported = ended.usage
    if not is_estimated(ended):
        return reported
    return Usage(
        max(reported.input_tokens, estimate.input_tokens),
        max(reported.output_tokens, estimate.output_tokens),
        max(reported.cost_usd, estimate.cost_usd),
        reported.cached_tokens,
        reported.cache_write_tokens,
        reported.reasoning_tokens,
    )


def lost(attempt: int, *, may_have_run: bool) -> AttemptEnded:
    """Return the end of an attempt whose client actor was lost."""
    kind = FailureKind.IN_DOUBT if may_have_run else FailureKind.TRANSIENT
    failure = Failure(kind, Blame.CLUSTER, "the client actor was lost")
    return AttemptEnded(attempt, error=failure, sent=may_have_run)
