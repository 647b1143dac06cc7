"""Decides when the next probe is due.

A probe that fails costs one refusal. Without probes, capacity that has grown is never found.

Rule 1: probes come less often while they agree, and at once while they find room.
Rule 2: answers pay for probes. An interval in seconds alone is too short where an answer takes 20 s: among a
few answers each refusal is a large share.
"""

from __future__ import annotations

import random

from actors.core.errors import InvariantError

_FIRST_INTERVAL_S = 2.0  # to the next probe, where the bound has moved
_LONGEST_INTERVAL_S = 16.0  # where probes agree
_AGREEMENT = 0.05  # bounds that differ by less are the same bound
_EARNED = 0.004  # refusals that an answer earns
_SAVINGS = 3.0  # refusals: with one saved a probe need not wait, since an endpoint with many answers can pay
_OVERDRAFT = 7.0  # refusals: beyond it a probe costs more answers
# A probe waits for so many answers since the last probe, or for so long where fewer come. An endpoint of a
# few slots with slow answers earns a refusal in a quarter of an hour, and gains most from one slot more.
_PRICE = (24, 24.0)
_PRICE_OVERDRAWN = (200, 150.0)


class ProbeSchedule:
    """The interval between probes, and the budget that pays for them.

    ========  ==============================  ========  =======================================
    state     event                           next      effect
    ========  ==============================  ========  =======================================
    waiting   an answer                       waiting   a share of a refusal is earned
    waiting   the interval has ended, and     due       none
              answers have paid the price
    waiting   a refusal is saved              due       none
    due       `begin`                         probing   none
    probing   room is found                   due       the interval is over
    probing   a refusal; the bound is the     waiting   a refusal is paid; the interval doubles
              same
    any       a refusal; the bound has moved  waiting   the shortest interval; the debt is
                                                        cancelled
    ========  ==============================  ========  =======================================
    """

    def __init__(self, now: float, limit: float, rng: random.Random) -> None:
        self.held = limit  # where the last cut ended
        self._rng = rng
        self._credit = 0.0
        self._answers = _PRICE[0]  # since the last probe
        self._has_room = False  # found by a probe since the last refusal
        self._interval_s = _FIRST_INTERVAL_S
        self._spread = 1.0  # of the waits; without it, limiters behind one capacity probe at the same moment
        self._due_at = now
        self._probed_at = now

    def answered(self) -> None:
        """Earn a share of a refusal."""
        self._credit = min(_SAVINGS, self._credit + _EARNED)
        self._answers += 1

    def refused(self) -> None:
        """Pay for a refusal."""
        self._credit = max(-_OVERDRAFT - 1, self._credit - 1.0)
        self._has_room = False

    def hold(self, now: float, limit: float) -> None:
        """Record the limit that a cut has left, and set the time of the next probe."""
        if abs(limit - self.held) > _AGREEMENT * self.held:
            self._interval_s = _FIRST_INTERVAL_S
            self._credit = max(self._credit, 0.0)  # a bound that moves is worth its probes
            self._answers = max(self._answers, _PRICE[0])
        else:
            self._interval_s = min(_LONGEST_INTERVAL_S, 2 * self._interval_s)
        self.held = limit
        self._spread = self._rng.uniform(0.5, 1.0)
        self._due_at = now + self._interval_s * self._spread

    def begin(self, now: float) -> None:
        """Record that a probe begins."""
        self._answers = 0
        self._probed_at = now

    def succeed(self, now: float) -> None:
        """Record that a probe found room. It cost nothing, and the next one may follow at once."""
        self._due_at = now
        self._has_room = True

    def is_due(self, now: float) -> bool:
        """Return whether a probe may begin."""
        if self._credit >= 1 or self._has_room:
            return True
        if now < self._due_at:
            return False
        answers, longest_s = _PRICE if self._credit > -_OVERDRAFT else _PRICE_OVERDRAWN
        return self._answers >= answers or now - self._probed_at > longest_s * self._spread

    def next_at(self, now: float) -> float | None:
        """Return when the interval ends, None if it has ended."""
        return self._due_at if now < self._due_at else None

    def check_invariants(self) -> None:
        """Raise `InvariantError` if the state is impossible."""
        if not -_OVERDRAFT - 1 <= self._credit <= _SAVINGS:
            raise InvariantError(f"a credit of {self._credit} refusals")
