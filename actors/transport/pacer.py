"""How often something may happen: at once after a quiet spell, and at even distances under load.

A message between two actors costs as much processor time as five of the items in it, and wakes whoever it
comes to. So messages are paced, not items. Where the machine is short of processor time, events come later
than they were due; then they are paced further apart, since messages are what can be saved. And where the
calls that they are about take seconds, messages that go one by one save nobody anything.
"""

from __future__ import annotations

from actors.transport.linger import Leisure

_STRETCH = 10.0  # the distance grows by so many times what events are late by,
_FARTHEST = 10.0  # to so many intervals at the most
_GRAIN_S = 0.0015  # timers count in milliseconds: so late is in time
_WEIGHT = 0.2  # of one event's lateness

_IN_A_HURRY = Leisure()


class Pacer:
    """Allows one event in `interval_s` seconds, and up to `burst` at once after a quiet spell.

    Generic cell rate algorithm (ITU-T I.371), with time as an argument. An interval of 0 allows everything.
    Up to ten times the interval lies between events that come late, and no less than `leisure` allows.
    """

    __slots__ = (
        "_allowed_at",
        "_burst",
        "_due",
        "_interval_s",
        "_late_s",
        "_leisure",
        "_longest_s",
        "_shortest_s",
    )

    def __init__(self, interval_s: float, burst: int = 3, leisure: Leisure = _IN_A_HURRY) -> None:
        self._leisure = leisure
        self._shortest_s = self._interval_s = interval_s
        self._longest_s = _FARTHEST * interval_s
        self._burst = burst
        self._due = float("-inf")
        self._allowed_at: float | None = None  # what somebody waits for
        self._late_s = 0.0  # by how much waiting has taken longer lately

    def wait_s(self, now: float) -> float:
        """Return how long the next event has to wait, 0 where it may happen now."""
        allowed_at = self._due - (self._burst - 1) * self._distance_s
        if allowed_at <= now:
            return 0.0
        self._allowed_at = allowed_at
        return allowed_at - now

    def happened(self, now: float) -> None:
        """Count an event, whether or not it waited.

        Events that did not wait run up no debt: after many of them the next one waits for one interval.
        """
        if self._allowed_at is not None and now >= self._allowed_at:
            self._learn(now - self._allowed_at)
        self._allowed_at = None
        tolerance_s = (self._burst - 1) * self._distance_s
        self._due = min(max(self._due, now), now + tolerance_s) + self._distance_s

    @property
    def _distance_s(self) -> float:
        return max(self._interval_s, self._leisure.interval_s) if self._shortest_s else 0.0

    def _learn(self, late_s: float) -> None:
        bound_s = (self._longest_s - self._shortest_s) / _STRETCH  # a long stall is soon forgotten
        self._late_s += (min(bound_s, max(0.0, late_s - _GRAIN_S)) - self._late_s) * _WEIGHT
        self._interval_s = min(self._longest_s, self._shortest_s + _STRETCH * self._late_s)
