"""Raises the limit quickly, into the unknown or back to a limit that was held before.

The ramp is paced by time and not by answers, because a refusal returns within a round trip and an answer may
take a minute. An endpoint that queues never refuses. So the ramp goes no further than a multiple of what an
answered attempt had in flight, and it ends when no answer proves more.
"""

from __future__ import annotations

_SLOWEST_DOUBLING_S = 1.4  # the overshoot is what is sent in a round trip: 3 % of the limit at 60 ms
_FASTEST_DOUBLING_S = 0.1  # answers that take less than the slowest doubling set the pace, down to this
_LONGEST_STEP_S = 0.1  # a late call does not make up for lost time in one leap
_SHORTEST_STEP_S = 0.01
_GRAIN_S = 0.02  # between calls; a coarser grain sends more at once than one round trip can refuse
_UNPROVEN = 64  # the limit that needs no proof
_LEAD = 1.6  # times what an answered attempt had in flight: the limit that answers prove
_FIRST_ANSWERS = 50  # a fifth of these are quick; the excess of a later answer was spent in a queue


class Ramp:
    """Doubles the limit in a fixed time, up to a target.

    ========  ============================================  ========  ===========================
    state     event                                         next      effect
    ========  ============================================  ========  ===========================
    rising    time passes and the limit is in use           rising    the limit grows
    rising    the limit is not in use                       rising    none
    rising    the limit reaches what answers prove          unproven  none
    rising    the limit reaches the target                  ended     the next target is the most
    unproven  an answer proves more                         rising    none
    unproven  no answer proves more for four quick answers  ended     the limit stays
    any       a cut                                         ended     the proof is dropped
    ended     `restart`                                     rising    a new target
    ========  ============================================  ========  ===========================
    """

    def __init__(self, now: float, most: float) -> None:
        self._most = most
        self._target = most
        self._advanced_at = now
        self._rose_at = now
        self._doubling_s = _SLOWEST_DOUBLING_S
        self._proven = (
            0  # the most that an attempt sent since the last cut had in flight when it was answered
        )
        self._first_s: list[float] = []  # durations of the first answers
        self._quick_s = 0.0

    @property
    def is_opening(self) -> bool:
        """Whether the target is the maximum, and not a limit that was held before."""
        return self._target >= self._most

    def restart(self, now: float, target: float) -> None:
        """Begin again, towards `target`."""
        self._target = target
        self._advanced_at = now

    def hold(self, now: float) -> None:
        """Let the time until `now` pass without effect."""
        self._advanced_at = self._rose_at = now

    def cut(self) -> None:
        """Drop the proof: it comes from before a cut."""
        self._proven = 0

    def prove(self, in_flight: int) -> None:
        """Record that an attempt, sent with `in_flight` since the last cut, is being answered."""
        self._proven = max(self._proven, in_flight)

    def answered(self, sent_with: int, took_s: float, *, is_current: bool) -> None:
        """Record a whole answer. `is_current`: its attempt was sent since the last cut."""
        if took_s < self._doubling_s:
            self._doubling_s = max(_FASTEST_DOUBLING_S, took_s)
        served = self._served(sent_with, took_s)
        if is_current:
            self.prove(served)

    def advance(self, now: float, limit: float, *, is_full: bool) -> tuple[float, bool]:
        """Return the new limit, and whether the ramp has ended. `is_full`: the limit is in use."""
        passed_s = now - self._advanced_at
        if passed_s < _SHORTEST_STEP_S:
            return limit, False
        self._advanced_at = now
        if is_full:
            most = self._reach
            stalls_at = self._stalls_at()
            if limit >= most and stalls_at is not None and now >= stalls_at:
                return limit, True
            if limit < most:
                self._rose_at = now
                limit = min(most, limit * 2.0 ** (min(passed_s, _LONGEST_STEP_S) / self._doubling_s))
        if limit < self._target:
            return limit, False
        self._target = self._most
        return limit, True

    def next_at(self, now: float, limit: float, *, is_full: bool) -> float | None:
        """Return when `advance` may have an effect, None if only an event can."""
        if not is_full:
            return None
        return self._stalls_at() if limit >= self._reach else now + _GRAIN_S

    @property
    def _reach(self) -> float:
        return min(self._target, max(_UNPROVEN, _LEAD * self._proven))

    def _stalls_at(self) -> float | None:
        """Return when the ramp ends for want of proof; None while too few answers have come."""
        if len(self._first_s) < _FIRST_ANSWERS or not self.is_opening:
            return None
        return self._rose_at + max(_SLOWEST_DOUBLING_S, 4 * self._quick_s)

    def _served(self, sent_with: int, took_s: float) -> int:
        """Return how many of `sent_with` were worked on; the others were in a queue."""
        if len(self._first_s) < _FIRST_ANSWERS:
            self._first_s.append(took_s)
            self._quick_s = sorted(self._first_s)[len(self._first_s) // 5]
            return sent_with
        return sent_with if took_s <= self._quick_s else int(sent_with * self._quick_s / took_s)
