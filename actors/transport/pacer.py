"""Paces events: allows them at once after a quiet period, and at even intervals under load.

A message between two actors costs as much processor time as five items and wakes the receiver, so messages
are paced. On an overloaded machine timers fire late; the pacer then lengthens the interval, which saves
processor time.
"""

from __future__ import annotations

from actors.transport.linger import AdaptiveLinger

_STRETCH = 10.0  # the interval grows by this multiple of the mean delay
_MAX_STRETCH = 10.0  # the largest interval, as a multiple of the configured one
_GRAIN_S = 0.0015  # timers have a resolution of 1 ms: a smaller delay is none
_WEIGHT = 0.2  # of the newest delay in the moving average

_NO_LINGER = AdaptiveLinger()


class Pacer:
    """Allows one event per `interval_s` seconds, and up to `burst` at once after a quiet period.

    Implements the generic cell rate algorithm (ITU-T I.371), with time as an argument. An interval of 0
    allows every event. Events that come late lengthen the interval up to tenfold; `linger` sets a lower
    bound.
    """

    __slots__ = (
        "_allowed_at",
        "_burst",
        "_due",
        "_interval_s",
        "_late_s",
        "_linger",
        "_longest_s",
        "_shortest_s",
    )

    def __init__(self, interval_s: float, burst: int = 3, linger: AdaptiveLinger = _NO_LINGER) -> None:
        self._linger = linger
        self._shortest_s = self._interval_s = interval_s
        self._longest_s = _MAX_STRETCH * interval_s
        self._burst = burst
        self._due = float("-inf")
        self._allowed_at: float | None = None  # the time until which a caller waits
        self._late_s = 0.0  # moving average of how much longer the waits took

    def wait_s(self, now: float) -> float:
        """Return how long the next event has to wait in seconds, 0 if it may happen now."""
        allowed_at = self._due - (self._burst - 1) * self._paced_s
        if allowed_at <= now:
            return 0.0
        self._allowed_at = allowed_at
        return allowed_at - now

    def happened(self, now: float) -> None:
        """Count an event, whether or not it waited.

        Events that did not wait accumulate no debt: after many of them the next one waits for one interval.
        """
        if self._allowed_at is not None and now >= self._allowed_at:
            self._learn(now - self._allowed_at)
        self._allowed_at = None
        tolerance_s = (self._burst - 1) * self._paced_s
        self._due = min(max(self._due, now), now + tolerance_s) + self._paced_s

    @property
    def _paced_s(self) -> float:
        return max(self._interval_s, self._linger.interval_s) if self._shortest_s else 0.0

    def _learn(self, late_s: float) -> None:
        bound_s = (self._longest_s - self._shortest_s) / _STRETCH  # else a long stall counts for many events
        self._late_s += (min(bound_s, max(0.0, late_s - _GRAIN_S)) - self._late_s) * _WEIGHT
        self._interval_s = min(self._longest_s, self._shortest_s + _STRETCH * self._late_s)
