"""Finds the level beyond which more attempts in flight bring no more answers.

An endpoint that queues, or whose batch slows down as it grows, never refuses. It only answers later. Latency
alone does not find its best level: a batch gives more in all long after each call has become twice as slow.
What counts is throughput: by Little's law the attempts in flight, divided by what a call takes
(`limiter_delays`).

Rule 1: a level is kept or left by comparing two cohorts, one before and one after the change. A level that
was left as worse is compared once more with the next cohort, because the endpoint may have changed meanwhile.
Rule 2: a trial costs what it leaves unused. So two cohorts in a row must be slower than
chance explains.
"""

from __future__ import annotations

import enum
import math

from msgspec import Struct

from actors.core.limiter.delays import DelayMeasure, DelayMeter

_REST_S = 3.0  # between cohorts while nothing is amiss: reading streams costs processor time
_LUCK = 0.5  # of its length, by which chance makes an answer differ; a mean of n differs by 1/sqrt(n) of it
_SLOW = 1.25  # times the best delay: below it there is no queue, and going down would only lose
_TOO_SLOW = 1.5  # a ramp ends here
_GAIN_UP = 0.17  # d ln(throughput) / d ln(in flight) that is worth the longer calls
_GAIN_DOWN = 0.135  # and the one that is a pity to lose; between the two, noise moves nothing
_STEP_UP = 1.3
_STEP_DOWN = 0.77
_LANDING = 1.1  # where a step down aims: at a pure queue, calls this much slower than the best
_SHORTEST_INTERVAL_S = 5.0
_SECOND_LOOKS = 2  # at a level, one after the other
_LONGEST_INTERVAL_S = 60.0  # between trials that failed, each of which costs a few per cent while it lasts


class _State(enum.Enum):
    WATCH = enum.auto()  # measuring the level in force
    FILL = enum.auto()  # the level was changed; the attempts in flight follow
    TRIAL = enum.auto()  # measuring the level on trial


class _Step(Struct, frozen=True):
    """A change of the level by `factor`, and whether throughput speaks for it."""

    factor: float
    is_upward: bool

    def is_worth_it(self, before: DelayMeasure, after: DelayMeasure, tokens: float) -> bool:
        gain = after.in_flight / before.in_flight * before.delay_s(tokens) / after.delay_s(tokens)
        worth: float = self.factor ** (_GAIN_UP if self.is_upward else _GAIN_DOWN)
        return gain >= worth


class Pace:
    """Tries levels above and below, and keeps those that throughput speaks for."""

    def __init__(self, now: float) -> None:
        self.meter = DelayMeter(now)
        self.slowdown = 1.0  # of a call of average length, times the best ever measured
        self._best: DelayMeasure | None = None
        self._reference = DelayMeasure(1.0, 1.0, 0.0, 1)  # of the level in force
        self._state = self._then = _State.WATCH
        self._step = _Step(1.0, is_upward=False)  # the last change
        self._left: DelayMeasure | None = None  # of the level that was left for the worse just now
        self._second_looks = 0  # in a row
        self._slow_in_a_row = 0  # cohorts, by more than luck explains
        self._too_slow_in_a_row = 0
        self._is_rising = False  # towards the level in force
        self._home = 1.0  # the level to go back to
        self._is_upward = False
        self._is_gentle = False  # a long step down has failed
        self._interval_s = _SHORTEST_INTERVAL_S
        self._trial_at = now

    @property
    def is_busy(self) -> bool:
        """Whether a level is on trial, so that nothing else may move the limit."""
        return self._state is not _State.WATCH

    @property
    def is_too_slow(self) -> bool:
        """Whether calls took so much longer than they could that a ramp should wait for the next cohort."""
        return self._too_slow_in_a_row > 0

    @property
    def is_surely_too_slow(self) -> bool:
        """Whether that was so twice in a row, so that a ramp should end."""
        return self._too_slow_in_a_row > 1

    def reset(self, now: float) -> None:
        """Drop what was on trial: the limit was changed for another reason."""
        self._state = _State.WATCH
        self._left = None
        self.meter.restart(now)

    def advise(self, now: float, limit: float, in_flight: int, *, most: float, may_try: bool) -> float:
        """Return the limit to use from now on, at most `most`."""
        if self._state is _State.FILL:
            if (in_flight >= 0.97 * limit - 1) if self._is_rising else (in_flight <= limit):
                self._state = self._then
                self.meter.restart(now)
            return limit
        measure = self.meter.take(now)
        if measure is None:
            return limit
        tokens = self.meter.mean_tokens
        if self._best is None or self._best.is_streamed != measure.is_streamed:
            # What streams tell and what answers tell are different measures.
            self._best, self._left = None if measure.is_streamed else self.meter.first, None
        if self._best is None or measure.delay_s(tokens) < self._best.delay_s(tokens):
            self._best = measure
        self.slowdown = measure.delay_s(tokens) / self._best.delay_s(tokens)
        is_slow = self.slowdown > _SLOW * (1.0 + _LUCK / math.sqrt(self._best.known))
        self._slow_in_a_row = self._slow_in_a_row + 1 if is_slow else 0
        self._too_slow_in_a_row = self._too_slow_in_a_row + 1 if self.slowdown > _TOO_SLOW else 0
        if self._state is _State.TRIAL:
            return self._judge(now, limit, most, measure)
        self._reference = measure
        self._look_again(now)
        if not may_try or self._slow_in_a_row == 1:  # one slow cohort is soon had by chance
            return limit
        if now >= self._trial_at and measure.in_flight >= 0.85 * (limit - 1):
            limit = self._try(limit, most)
        if self._state is _State.WATCH and not self._slow_in_a_row:
            self.meter.restart(now, rest_s=_REST_S)
        return limit

    def _look_again(self, now: float) -> None:
        """Have a level tried again at once that was left for no fault of its own, as it now seems."""
        left, self._left = self._left, None
        if left is None:
            return
        if self._second_looks < _SECOND_LOOKS and self._step.is_worth_it(
            self._reference, left, self.meter.mean_tokens
        ):
            self._second_looks += 1
            self._is_upward, self._trial_at = self._step.is_upward, now
        else:
            self._second_looks = 0

    def _try(self, limit: float, most: float) -> float:
        if not self._slow_in_a_row:
            self._is_upward = True
        elif limit >= most:
            self._is_upward = False
        factor = _STEP_UP
        if not self._is_upward:
            # At a pure queue the slowdown tells how far down its end is; in a batch that is too far.
            factor = _STEP_DOWN if self._is_gentle else max(0.6, min(0.85, _LANDING / self.slowdown))
        trial = max(1.0, min(most, limit * factor))
        if int(trial) == int(limit):
            return limit
        self._home, self._step = limit, _Step(trial / limit, self._is_upward)
        self._is_rising = trial > limit
        self._state, self._then = _State.FILL, _State.TRIAL
        return trial

    def _judge(self, now: float, limit: float, most: float, measure: DelayMeasure) -> float:
        is_comparable = measure.is_streamed == self._reference.is_streamed
        if is_comparable and self._step.is_worth_it(self._reference, measure, self.meter.mean_tokens):
            self._reference, self._state = measure, _State.WATCH
            self._is_gentle = False
            self._second_looks = 0
            self._interval_s, self._trial_at = _SHORTEST_INTERVAL_S, now
            return self._try(limit, most)  # and on in the same direction
        self._left = measure if is_comparable else None
        self._is_gentle = self._is_gentle or not self._is_upward
        self._is_upward = not self._is_upward
        self._is_rising = not self._is_rising
        self._state, self._then = _State.FILL, _State.WATCH
        self._trial_at = now + self._interval_s
        self._interval_s = min(_LONGEST_INTERVAL_S, 2 * self._interval_s)
        return self._home
