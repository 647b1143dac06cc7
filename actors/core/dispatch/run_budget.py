"""What a run may spend: attempts reserve their estimate, and settle what is charged for them.

Rule 1: an attempt that an earlier dispatcher began has been sent. It is reserved even beyond the limit.
Rule 2: what is spent exceeds a limit by at most what the attempts that were under way when the limit was
    reached are charged beyond their estimates.
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.core.dispatch.endpoint import EndpointState
from actors.core.dispatch.events import SpentBefore
from actors.core.dispatch.open_call import OpenCall
from actors.core.dispatch.placement import estimate
from actors.core.errors import Blame, Failure, FailureKind
from actors.core.limits.budget import Ceiling, Cost
from actors.core.messages.attempts import Held
from actors.core.messages.values import Usage

SPENT = Failure(
    FailureKind.BUDGET,
    Blame.LIMIT,
    "the budget of the run is spent: raise limits.budget_usd or limits.budget_tokens",
)
_NOTHING = Cost()


class RunBudget:
    """The ceiling of a run. Without a limit nothing is counted, and everything fits."""

    def __init__(self, limit_usd: float | None, limit_tokens: int | None) -> None:
        self._ceiling = Ceiling(limit_usd, limit_tokens)
        self._counted: frozenset[int] = frozenset()
        self._is_limited = limit_usd is not None or limit_tokens is not None

    def spent_before(self, before: SpentBefore) -> None:
        """Count what the run had spent before this dispatcher began."""
        self._ceiling.spend(Cost(before.cost_usd, before.tokens))
        self._counted = frozenset(before.counted)

    def take_over(self, held: Held) -> Cost | None:
        """Reserve what an attempt of an earlier dispatcher may take; None where it is counted already."""
        if not self._is_limited or held.id in self._counted:
            return None
        cost = Cost(held.estimate.cost_usd, held.estimate.tokens)
        self._ceiling.hold(cost)
        return cost

    def most(self, endpoints: Sequence[EndpointState], record: OpenCall) -> Cost:
        """Return what an attempt at this call may cost at the dearest endpoint."""
        if not self._is_limited:
            return _NOTHING
        estimates = [estimate(endpoint, record) for endpoint in endpoints]
        return Cost(max(each.cost_usd for each in estimates), max(each.tokens for each in estimates))

    def reserve(self, cost: Cost) -> bool:
        """Set `cost` aside for an attempt, or return False where it does not fit now."""
        return not self._is_limited or self._ceiling.reserve(cost)

    def could_ever_fit(self, cost: Cost) -> bool:
        """Return whether `cost` would fit if nothing were reserved."""
        return self._ceiling.could_ever_fit(cost)

    def refund(self, cost: Cost) -> None:
        """Give back what was reserved for an attempt that was not made."""
        self.settle(cost, Usage())

    def settle(self, reserved: Cost, charged: Usage) -> None:
        """Replace what was reserved for an attempt by what is charged for it."""
        if self._is_limited:
            self._ceiling.settle(reserved, Cost(charged.cost_usd, charged.tokens))

    def check_invariants(self) -> None:
        """Raise InvariantError where more is spent and reserved than the limits explain."""
        self._ceiling.check_invariants()
