"""A second attempt beside one that stays silent, for those who would rather pay more than wait.

Rule 1: an attempt that has said nothing for `after_s` (no byte of a streamed answer, no end) may get a second
one beside it; the first of the two to answer counts, and the other is stopped.
Rule 2: second attempts are a part of all, `budget`, and no more: where everything is slow, hedging would only
add to the load. One that comes too late for the budget is not made up for.
(Dean and Barroso, "The Tail at Scale", Communications of the ACM 56, 2013.)
"""

from __future__ import annotations

from msgspec import Struct

from actors.core.messages.attempts import StreamProgress

_MOST_SAVED = 10.0  # second attempts that a quiet time may save up


class HedgeSettings(Struct, frozen=True):
    """`after_s`: how long an attempt may be silent. `budget`: second attempts per attempt, over all calls."""

    after_s: float
    budget: float = 0.02


class Hedges:
    """Attempts that have said nothing so far. Without settings none is ever taken."""

    def __init__(self, settings: HedgeSettings | None) -> None:
        self._settings = settings
        self._silent: dict[int, float] = {}  # and when each may be hedged, in order
        self._saved = 0.0
        self.made = 0

    @property
    def wanted(self) -> bool:
        """Whether attempts are hedged at all: then their answers are to be streamed."""
        return self._settings is not None

    def watch(self, attempt: int, now: float) -> None:
        """Take note that `attempt` was handed over."""
        if self._settings is not None:
            self._silent[attempt] = now + self._settings.after_s
            self._saved = min(_MOST_SAVED, self._saved + self._settings.budget)

    def heard(self, attempt: int) -> None:
        """Take note that `attempt` has said something, or has ended."""
        self._silent.pop(attempt, None)

    def heard_of(self, progress: StreamProgress) -> None:
        """Take note of the attempts whose streams have begun."""
        if self._silent:
            for mark in progress.marks:
                self._silent.pop(mark.attempt, None)

    def take_silent(self, now: float) -> list[int]:
        """Return the attempts that have been silent for too long, as far as the budget goes."""
        taken = []
        while self._silent:
            attempt, due = next(iter(self._silent.items()))
            if due > now:
                break
            del self._silent[attempt]
            if self._saved >= 1:
                taken.append(attempt)
                self._saved -= 1
        return taken

    def not_made(self) -> None:
        """Give back a part of the budget: there was no room for the second attempt."""
        self._saved += 1

    def next_at(self) -> float | None:
        """Return when `take_silent` may have something to return; None where it will not."""
        return next(iter(self._silent.values()), None)
