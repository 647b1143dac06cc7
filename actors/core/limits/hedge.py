"""Hedging: a second attempt in addition to one without a response, which trades cost for latency.

Rule 1: an attempt without a response for `after_s` (no byte of a streamed answer, no end) may get a second
one. The first of the two to answer counts, and the other is stopped.
Rule 2: the share of second attempts is at most `budget`: if all attempts are slow, hedging would only add to
the load. An attempt that finds the budget empty is not hedged later.

Source: Dean and Barroso, "The Tail at Scale", Communications of the ACM 56, 2013.
"""

from __future__ import annotations

from msgspec import Struct

from actors.core.messages.attempts import StreamProgress

_MOST_SAVED = 10.0  # second attempts that the budget can accumulate


class HedgeSettings(Struct, frozen=True):
    """`after_s`: the seconds to wait for a response. `budget`: second attempts per attempt of all calls."""

    after_s: float
    budget: float = 0.02


class Hedges:
    """Attempts without a response. Without settings no attempt is hedged."""

    def __init__(self, settings: HedgeSettings | None) -> None:
        self._settings = settings
        self._silent: dict[int, float] = {}  # when each attempt may be hedged, in order of these times
        self._saved = 0.0
        self.made = 0

    @property
    def wanted(self) -> bool:
        """Whether attempts are hedged. Then their answers should be streamed."""
        return self._settings is not None

    def watch(self, attempt: int, now: float) -> None:
        """Record that `attempt` was sent to a client."""
        if self._settings is not None:
            self._silent[attempt] = now + self._settings.after_s
            self._saved = min(_MOST_SAVED, self._saved + self._settings.budget)

    def on_response(self, attempt: int) -> None:
        """Record that `attempt` has a response, or has ended."""
        self._silent.pop(attempt, None)

    def on_progress(self, progress: StreamProgress) -> None:
        """Record the attempts whose streams have begun."""
        if self._silent:
            for mark in progress.marks:
                self._silent.pop(mark.attempt, None)

    def take_silent(self, now: float) -> list[int]:
        """Return the attempts to hedge: those that had no response for `after_s`, within the budget."""
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

    def refund(self) -> None:
        """Return budget for a second attempt that was not made because no slot was free."""
        self._saved += 1

    def next_at(self) -> float | None:
        """Return when `take_silent` may return an attempt, None if it will not."""
        return next(iter(self._silent.values()), None)
