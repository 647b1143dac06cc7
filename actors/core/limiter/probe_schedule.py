"""Decides when the next probe is due.

Rule 1: the more probes agree, the fewer there are.
Rule 2: probes are paid from a budget that answers earn.
"""

from __future__ import annotations

import random

from actors.core.errors import InvariantError

_FIRST_INTERVAL_S = 2.0  # to the next probe, where the bound has moved
_LONGEST_INTERVAL_S = 16.0  # where probes agree
_AGREEMENT = 0.05  # bounds that differ by less are the same bound
_EARNED = 0.004  # refusals that an answer earns
_SAVINGS = 3.0  # refusals: with one saved a probe need not wait, since an endpoint with many answers can pay
_OVERDRAFT = 10.0  # refusals: beyond that, an endpoint with few answers is probed only once in:
_UNPAID_S = 60.0


class ProbeSchedule:
    """The interval between probes, and their budget in refusals.

    =========  ===============================  =========  ===================================
    state      event                            next       effect
    =========  ===============================  =========  ===================================
    any        a cut ends near the last one     backed     the interval doubles
                                                off
    any        a cut ends elsewhere             fresh      the shortest interval; debts are
                                                           cancelled
    any        an answer                        same       a share of a refusal is earned
    any        a refusal                        same       a refusal is paid
    any        a probe finds room               same       the interval is over
    =========  ===============================  =========  ===================================
    """

    def __init__(self, now: float, limit: float, rng: random.Random) -> None:
        self.held = limit  # where the last cut ended
        self._rng = rng
        self._credit = 0.0
        self._interval_s = _FIRST_INTERVAL_S
        self._due_at = now
        self._probed_at = now

    def answered(self) -> None:
        """Earn a share of a refusal."""
        self._credit = min(_SAVINGS, self._credit + _EARNED)

    def refused(self) -> None:
        """Pay for a refusal."""
        self._credit = max(-_OVERDRAFT - 1, self._credit - 1.0)

    def hold(self, now: float, limit: float) -> None:
        """Record the limit that a cut has left, and set the time of the next probe."""
        if abs(limit - self.held) > _AGREEMENT * self.held:
            self._interval_s = _FIRST_INTERVAL_S
            self._credit = max(self._credit, 0.0)  # a bound that moves is worth its probes
        else:
            self._interval_s = min(_LONGEST_INTERVAL_S, 2 * self._interval_s)
        self.held = limit
        # Without chance, many limiters behind one capacity would probe at the same moment.
        self._due_at = now + self._interval_s * self._rng.uniform(0.5, 1.0)

    def begin(self, now: float) -> None:
        """Record that a probe begins."""
        self._probed_at = now

    def succeed(self, now: float) -> None:
        """Record that a probe found room: the next one may follow."""
        self._due_at = now

    def is_due(self, now: float, refused_at: float) -> bool:
        """Return whether a probe may begin; the last refusal was at `refused_at`."""
        if self._credit >= 1:
            return True
        if self._credit > -_OVERDRAFT:
            return now >= self._due_at
        # An endpoint of one slot earns a refusal in a quarter of an hour; it would never be seen to grow.
        return now - max(self._probed_at, refused_at) > _UNPAID_S

    def next_at(self, now: float) -> float | None:
        """Return when the interval ends, None if it has ended."""
        return self._due_at if now < self._due_at else None

    def check_invariants(self) -> None:
        """Raise `InvariantError` if the state is impossible."""
        if not -_OVERDRAFT - 1 <= self._credit <= _SAVINGS:
            raise InvariantError(f"a credit of {self._credit} refusals")
