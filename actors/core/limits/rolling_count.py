"""Counts the events of a recent time span.

Rule: the window is divided into slots, and a slot is dropped when all of it is older than the span. The count
covers between 1 and 1.1 spans. Adding and reading cost O(1) at any rate of events.
"""

from __future__ import annotations

import math


class RollingCount:
    """Counts the events of the last `span_s` seconds exactly, in slots of a tenth of the span.

    Unlike a decaying average it does not depend on the rate of events. Times are in seconds on a monotonic
    clock. Raises ValueError for a span that is not positive.
    """

    __slots__ = ("_counts", "_newest", "_slot_s", "_total")

    _SLOTS = 10

    def __init__(self, span_s: float) -> None:
        if not 0 < span_s < math.inf:
            raise ValueError(f"rolling count: the span must be > 0 and finite, not {span_s}")
        self._slot_s = span_s / self._SLOTS
        self._counts = [0] * (self._SLOTS + 1)
        self._newest: int | None = None
        self._total = 0

    def add(self, now: float) -> None:
        """Count one event."""
        self._counts[self._turn(now)] += 1
        self._total += 1

    def total(self, now: float) -> int:
        """Return the number of events in the window."""
        self._turn(now)
        return self._total

    def clear(self) -> None:
        """Forget all events."""
        self._counts = [0] * len(self._counts)
        self._total = 0

    def _turn(self, now: float) -> int:
        """Drop the slots that are too old, and return the index of the newest slot."""
        slot, newest, size = math.floor(now / self._slot_s), self._newest, len(self._counts)
        if newest is not None and slot <= newest:
            # If the clock steps back, the event would be counted in a past slot.
            return newest % size
        if newest is not None:
            for passed in range(newest + 1, min(slot, newest + size) + 1):
                self._total -= self._counts[passed % size]
                self._counts[passed % size] = 0
        self._newest = slot
        return slot % size
