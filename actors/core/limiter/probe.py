"""Raises the limit by a few for a moment, to find out whether the endpoint has room for more.

A probe that fails costs a refusal, and only a probe finds that capacity has grown. So a probe adds one at
first, and three times as many each time that it finds room.
"""

from __future__ import annotations

_TRIAL = 5.0  # times what a refusal takes; a shorter trial takes a lucky gap for room, and falls back at once
_SHORTEST_TRIAL_S = 0.2
_LONGEST_TRIAL_S = 1.5
_LONGEST_STEP_S = 0.1  # a late call does not make up for lost time in one leap
_GRAIN_S = 0.02
_GROWTH = 3.0  # of the next probe; with less, a doubled capacity is found only after minutes
_MOST_ADDED = 0.25  # of the limit


class Probe:
    """One probe after the other: from `base` to `goal`, and there for a trial's time.

    =======  =========================================  =======  ===============================
    state    event                                      next     effect
    =======  =========================================  =======  ===============================
    idle     `begin`                                    rising   one more may be sent
    rising   time passes and the limit is in use        rising   the limit grows
    rising   the limit reaches the goal                 filling  none
    filling  as many are in flight as the limit allows  trial    the trial's time begins
    trial    its time has passed                        idle     the next probe adds three times
                                                                 as many
    any      a cut                                      idle     the next probe adds one
    =======  =========================================  =======  ===============================
    """

    def __init__(self, now: float, limit: float) -> None:
        self.base = self._goal = limit
        self._added = 1.0  # by the next probe
        self._advanced_at = now
        self._filled_at: float | None = None

    def goal(self, limit: float) -> float:
        """Return the limit that the next probe aims at from `limit`."""
        return float(int(limit)) + self._added

    def begin(self, now: float, limit: float, goal: float) -> float:
        """Begin a probe. Return the limit to use from now on."""
        self.base, self._goal = float(int(limit)), goal
        self._advanced_at = now
        self._filled_at = None
        return min(goal, self.base + 1)

    def advance(self, now: float, limit: float, in_flight: int, refusal_s: float) -> tuple[float, bool]:
        """Return the new limit, and whether the endpoint has been found to have room for it."""
        trial_s = _trial_s(refusal_s)
        if limit < self._goal:
            # One after the other over a trial's time: sent at once, all are refused if the probe fails.
            if in_flight >= int(limit) - 1:
                passed_s = min(now - self._advanced_at, _LONGEST_STEP_S)
                limit = min(self._goal, limit + self._added * passed_s / trial_s)
            self._advanced_at = now
        elif self._filled_at is None:
            if in_flight >= int(limit):
                self._filled_at = now
        else:
            return limit, now >= self._filled_at + trial_s
        return limit, False

    def succeed(self, limit: float) -> None:
        """Have the next probe add more."""
        self._added = min(_GROWTH * self._added, max(1.0, _MOST_ADDED * limit))

    def cut(self) -> None:
        """Have the next probe add one."""
        self._added = 1.0

    def next_at(self, now: float, limit: float, in_flight: int, refusal_s: float) -> float | None:
        """Return when `advance` may have an effect, None if only an event can."""
        if limit >= self._goal:
            return None if self._filled_at is None else self._filled_at + _trial_s(refusal_s)
        return now + _GRAIN_S if in_flight >= int(limit) - 1 else None


def _trial_s(refusal_s: float) -> float:
    return min(_LONGEST_TRIAL_S, max(_SHORTEST_TRIAL_S, _TRIAL * refusal_s))
