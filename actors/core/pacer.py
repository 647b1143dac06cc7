"""How often something may happen: at once after a quiet spell, and at even distances under load.

A message between two actors costs as much processor time as five of the items in it, and wakes whoever it
comes to. So messages are paced, not items.
"""

from __future__ import annotations


class Pacer:
    """Allows one event in `interval_s` seconds, and up to `burst` at once after a quiet spell.

    Generic cell rate algorithm (ITU-T I.371), with time as an argument. An interval of 0 allows everything.
    """

    __slots__ = ("_due", "_interval_s", "_tolerance_s")

    def __init__(self, interval_s: float, burst: int = 3) -> None:
        self._interval_s = interval_s
        self._tolerance_s = (burst - 1) * interval_s
        self._due = float("-inf")

    def wait_s(self, now: float) -> float:
        """Return how long the next event has to wait, 0 where it may happen now."""
        return max(0.0, self._due - self._tolerance_s - now)

    def happened(self, now: float) -> None:
        """Count an event, whether or not it waited.

        Events that did not wait run up no debt: after many of them the next one waits for one interval.
        """
        self._due = min(max(self._due, now), now + self._tolerance_s) + self._interval_s
