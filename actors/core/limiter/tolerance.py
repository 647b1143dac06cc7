"""Detects refusals whose rate does not depend on the number of requests in flight, and tolerates them.

Rule 1: contradictions show such refusals: an attempt is refused, although one with as many in flight was
answered a moment ago. After several of them the share of refusals is tolerated, and the limit stays.
Rule 2: a share close to one is never tolerated. It is an outage, and tolerance would send as much into it as
the limit allows.
"""

from __future__ import annotations

_CONTRADICTIONS = 6.0  # that are needed, where
_OUTWEIGHED_BY = 40.0  # answers outweigh one: at a true bound one refusal in hundreds is a contradiction
_RECENT_S = 3.0
_AVERAGED_OVER = 50.0  # attempts, for the share of refusals
_MOST_TOLERATED = 0.8  # of all attempts, when tolerance begins
_NEVER_TOLERATED = 0.95


class Tolerance:
    """Tells whether a refusal is a word about the limit.

    ==========  =================================  ==========  ======================================
    state       event                              next        effect
    ==========  =================================  ==========  ======================================
    none        a refusal that is no contradiction  none       it cuts the limit
    none        the first contradiction            suspicious  the limit before it is kept in mind; it
                                                               cuts
    suspicious  a contradiction                    suspicious  it cuts the limit
    suspicious  answers outweigh contradictions    none        none
    suspicious  the seventh contradiction          tolerant    the cuts since the first are taken back
    suspicious  the same, most are refused         none        it cuts the limit
    tolerant    a refusal                          tolerant    none
    tolerant    a refusal, the share has doubled   none        it cuts the limit
    ==========  =================================  ==========  ======================================
    """

    def __init__(self, now: float) -> None:
        self.limit_before = 0.0  # the limit before the first contradiction
        self._contradictions = 0.0
        self._answered_with = [0, 0]  # the most in flight of an answered attempt: recently, and just before
        self._recent_at = now
        self._refused = self._answered = 0  # since the first contradiction
        self._tolerated: float | None = None  # share of all attempts
        self._share = 0.0

    def answered(self, now: float, sent_with: int) -> None:
        """Record an answer to an attempt that was sent with `sent_with` in flight."""
        self._answered += 1
        self._share -= self._share / _AVERAGED_OVER
        self._contradictions = max(0.0, self._contradictions - 1.0 / _OUTWEIGHED_BY)
        if now >= self._recent_at + _RECENT_S:
            self._answered_with, self._recent_at = [0, self._answered_with[0]], now
        self._answered_with[0] = max(self._answered_with[0], sent_with)

    def tolerates_refusal(self) -> bool:
        """Record a refusal. Return whether it belongs to the tolerated share."""
        self._refused += 1
        self._share += (1.0 - self._share) / _AVERAGED_OVER
        if self._tolerated is None:
            return False
        if self._share <= min(_NEVER_TOLERATED, 2 * self._tolerated + 0.05):
            return True
        self._tolerated, self._contradictions = None, 0.0  # the limit matters again
        return False

    def begins_with(self, sent_with: int, limit: float) -> bool:
        """Return whether tolerance begins with a refusal that was not tolerated."""
        if sent_with > max(self._answered_with):
            return False
        if not self._contradictions:
            self.limit_before, self._refused, self._answered = limit, 1, 0
        self._contradictions += 1.0
        if self._contradictions <= _CONTRADICTIONS:
            return False
        share = self._refused / (self._refused + self._answered)
        if share > _MOST_TOLERATED:
            self._contradictions = 0.0
            return False
        self._tolerated = self._share = share
        return True
