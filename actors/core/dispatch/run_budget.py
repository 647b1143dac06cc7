"""The budget of a run: each attempt reserves its estimate, and settles what is charged for it.

Rule 1: An attempt of an earlier dispatcher has been sent. It is reserved even beyond the limit.
Rule 2: Spending exceeds a limit at most by what the attempts in flight at that moment are charged beyond
    their estimates.
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
    "the budget of the run is spent: raise it (--budget, limits.budget_usd or limits.budget_tokens)",
)
_NOTHING = Cost()


class RunBudget:
    """The ceiling of a run. Without a limit it counts nothing and accepts every attempt."""

    def __init__(self, limit_usd: float | None, limit_tokens: int | None) -> None:
        self._ceiling = Ceiling(limit_usd, limit_tokens)
        self._counted: frozenset[int] = frozenset()
        self._is_limited = limit_usd is not None or limit_tokens is not None

    def spent_before(self, before: SpentBefore) -> None:
        """Count what the run had spent before this dispatcher started."""
        self._ceiling.spend(Cost(before.cost_usd, before.tokens))
        self._counted = frozenset(before.counted)

    def take_over(self, held: Held) -> Cost | None:
        """Reserve the estimate of an attempt of an earlier dispatcher, or return None if it is counted."""
        if not self._is_limited or held.id in self._counted:
            return None
        cost = Cost(held.estimate.cost_usd, held.estimate.tokens)
        self._ceiling.hold(cost)
        return cost

    def most(self, endpoints: Sequence[EndpointState], record: OpenCall) -> Cost:
        """Return the estimated cost of an attempt at this call at the most expensive endpoint."""
        if not self._is_limited:
            return _NOTHING
        estimates = [estimate(endpoint, record) for endpoint in endpoints]
        return Cost(max(each.cost_usd for each in estimates), max(each.tokens for each in estimates))

    def reserve(self, cost: Cost) -> bool:
        """Reserve `cost` for an attempt. Return False if it does not fit now."""
        return not self._is_limited or self._ceiling.reserve(cost)

    def could_ever_fit(self, cost: Cost) -> bool:
        """Return whether `cost` would fit if nothing were reserved."""
        return self._ceiling.could_ever_fit(cost)

    def refund(self, cost: Cost) -> None:
        """Release the reservation of an attempt that was not made."""
        self.settle(cost, Usage())

    def settle(self, reserved: Cost, charged: Usage) -> None:
        """Replace the reservation of an attempt with its charge."""
        if self._is_limited:
            self._ceiling.settle(reserved, Cost(charged.cost_usd, charged.tokens))

    def check_invariants(self) -> None:
        """Raise InvariantError if reservations exceed what the limits allow."""
        self._ceiling.check_invariants()
