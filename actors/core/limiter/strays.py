"""Detects refusals whose rate does not depend on the number of requests in flight.

Rule 1: they are recognised by contradictions: an attempt is refused, though one with as many beside it was
let in a moment ago. Where there are several, the share that is refused is accepted, and the limit is kept.
Rule 2: in an outage nearly everything is refused. That share is never accepted, for as much as the limit
allows would then be sent into the outage.
"""

from __future__ import annotations

_CONTRADICTIONS = 6.0  # so many refusals of attempts where as many in flight had been let in, but
_TELLING = 40.0  # so many answers outweigh one: at the true bound one refusal in hundreds is of this kind
_LATELY_S = 3.0
_SHARE_OVER = 50.0  # attempts, over which the share of refusals is judged
_MOST_ACCEPTED = 0.8  # of all attempts, when the share is first accepted
_NEVER_ACCEPTED = 0.95


class Strays:
    """Tells refusals that do not depend on the limit from those that do."""

    def __init__(self, now: float) -> None:
        self.undisputed = 0.0  # the limit before the first contradiction
        self._contradictions = 0.0
        self._let_in = [0, 0]  # the most that an answered attempt had in flight: lately, and just before
        self._let_in_at = now
        self._refused = self._answered = 0  # since the first contradiction
        self._accepted: float | None = None  # the share of refusals that is accepted
        self._share = 0.0

    def answered(self, now: float, sent_with: int) -> None:
        """Take note of an answer to an attempt sent with `sent_with` in flight."""
        self._answered += 1
        self._share -= self._share / _SHARE_OVER
        self._contradictions = max(0.0, self._contradictions - 1.0 / _TELLING)
        if now >= self._let_in_at + _LATELY_S:
            self._let_in, self._let_in_at = [0, self._let_in[0]], now
        self._let_in[0] = max(self._let_in[0], sent_with)

    def is_refusal_accepted(self) -> bool:
        """Take note of a refusal; tell whether it is one of the share that is accepted."""
        self._refused += 1
        self._share += (1.0 - self._share) / _SHARE_OVER
        if self._accepted is None:
            return False
        if self._share <= min(_NEVER_ACCEPTED, 2 * self._accepted + 0.05):
            return True
        self._accepted, self._contradictions = None, 0.0  # there are more than that: the limit matters again
        return False

    def is_stray(self, sent_with: int, limit: float) -> bool:
        """Tell whether a refusal that was not accepted shows that refusals do not depend on the limit.

        From then on their share is accepted.
        """
        if sent_with > max(self._let_in):
            return False
        if not self._contradictions:
            self.undisputed, self._refused, self._answered = limit, 1, 0
        self._contradictions += 1.0
        if self._contradictions <= _CONTRADICTIONS:
            return False
        share = self._refused / (self._refused + self._answered)
        if share > _MOST_ACCEPTED:
            self._contradictions = 0.0
            return False
        self._accepted = self._share = share
        return True
