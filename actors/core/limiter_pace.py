"""Whether more attempts in flight bring more answers: the bound that no refusal tells of.

An endpoint that queues, or whose batch slows down as it grows, never refuses; it only answers later. Latency
alone does not find its best level: a batch gives more in all long after each call has become twice as slow.
What counts is throughput: by Little's law the attempts in flight, divided by what a call takes.

Rule 1: what a call takes is measured on a cohort of attempts sent one after the other, once nearly all are
known. Measured on those that ended lately, the short answers that come first make any new level look fast.
Rule 2: it is the delay of a call of average length, so that the luck of the draw in lengths cancels.
Rule 3: a level is kept or left by comparing two cohorts, one before and one after the change. What was left
for the worse is compared once more, with what came after: what changed meanwhile was not the level's doing.
"""

from __future__ import annotations

import enum
from collections.abc import Collection

from msgspec import Struct

from actors.core.errors import InvariantError

_COHORT_S = 3.0
_SPREAD_S = 0.4  # over which a cohort is sent, at least: a moment's hiccup is not the endpoint's pace
_FEWEST = 8
_MOST_STREAMED = 64  # first tokens of so many tell a queue to within a few per cent
_MOST_WHOLE = 1000  # whole answers vary more, and cost nothing to watch
_REST_S = 3.0  # between cohorts while nothing is amiss: reading streams costs processor time
_SHORT_S, _LONG_S = (
    1.5,
    3.0,
)  # answers: where those come soon, streams tell no more and cost ten times as much
_TELLING = 50  # answers; the first to come are the shortest
_REMEMBERED = 0.995  # of what is known of a stream's pieces, with each further stream
_UNKNOWN = 0.1  # of a cohort may be missing: some attempts hang, and must not hold up the rest

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


class Measure(Struct, frozen=True):
    """One cohort: how many were in flight, seconds before an answer begins, and seconds for each token."""

    in_flight: float
    begin_s: float
    token_s: float

    def delay_s(self, tokens: float) -> float:
        """Return what a call of so many output tokens took; more than nothing, for it is divided by."""
        return max(1e-9, self.begin_s + tokens * self.token_s)


class DelayMeter:
    """Measures cohort after cohort. Streamed tokens make it quick; else it waits for whole answers.

    Where answers are short it waits for them, too: reading a stream piece by piece costs several milliseconds
    of processor time.
    """

    def __init__(self, now: float, spread_s: float = _SPREAD_S) -> None:
        self._spread_s = spread_s
        self._mean_tokens = 0.0  # of an answer
        self._mean_s = 0.0
        self._may_stream = True
        self.first: Measure | None = None  # of the first answers, told once streams are given up for them
        self._answers = 0
        self._is_streaming = False  # since the first report of streamed tokens
        self._unstreamed = 0  # answers that were to be streamed and came whole, one after the other
        self._ratio = [0.0, 0.0]  # of answers that were streamed: what was counted then, and tokens
        self._streams: dict[int, tuple[float, int]] = {}  # when heard of last, tokens so far
        self.restart(now)

    def restart(self, now: float, *, rest_s: float = 0.0) -> None:
        """Drop the cohort, and begin another with the first attempt sent after a rest."""
        self._begins_at = now + rest_s
        self._is_closed = False
        self._open: dict[int, float] = {}  # members not known yet, and when they were sent
        self._count = 0
        self._in_flight = 0
        self._known = 0
        self._delay_s = 0.0
        self._tokens = 0
        self._streamed_s = 0.0
        self._streamed = 0

    @property
    def mean_tokens(self) -> float:
        """The length of an answer, counted as streams are where they are what is measured.

        Streams tell characters or pieces, answers tell tokens. Without the ratio between the two, a stream of
        few pieces would seem so slow that no queue before it could be seen.
        """
        counted, tokens = self._ratio
        return self._mean_tokens * counted / tokens if self._is_streaming and tokens else self._mean_tokens

    def wants(self, now: float) -> bool:
        """Tell whether an attempt that is sent now should have its tokens streamed."""
        return self._takes(now) and self._count < _MOST_STREAMED and self._may_stream

    def on_sent(self, attempt: int, now: float, in_flight: int, *, streams: bool = True) -> bool:
        """Take note of an attempt, which can be streamed or not. True: its tokens should be."""
        streams = streams and self._may_stream
        if not self._takes(now) or (self._is_streaming and not streams):
            return False
        self._open[attempt] = now
        self._count += 1
        self._in_flight += in_flight
        is_old = self._count >= _FEWEST and now >= self._begins_at + _COHORT_S
        self._is_closed = is_old or self._count >= self._most
        if self._count > _MOST_STREAMED or not streams:
            return False
        self._streams[attempt] = (now, 0)
        return True

    def on_tokens(self, attempt: int, now: float, tokens: int) -> bool:
        """Take what has been streamed so far. True: these are its first tokens."""
        last = self._streams.get(attempt)
        if last is None or tokens <= last[1] or not self._may_stream:
            return False
        self._unstreamed = 0
        self._streams[attempt] = (now, tokens)
        if last[1]:
            self._streamed_s += now - last[0]
            self._streamed += tokens - last[1]
            return False
        if not self._is_streaming:
            self._is_streaming = True
            self._known, self._delay_s = 0, 0.0  # whole answers and first tokens do not add up
        sent_at = self._open.pop(attempt, None)
        if sent_at is not None:
            self._known += 1
            self._delay_s += now - sent_at
        return True

    def on_answer(
        self, attempt: int, now: float, tokens: int, streamed: int = 0, took_s: float = _LONG_S
    ) -> None:
        """Take a whole answer; `streamed` is what its stream counted in all, 0 where that was tokens."""
        self._answers += 1
        self._mean_s += (took_s - self._mean_s) / min(self._answers, 300)
        if self._answers >= _TELLING:
            self._choose_streaming(now)
        self._mean_tokens += (tokens - self._mean_tokens) / min(self._answers, 300)
        if streamed and tokens:
            self._ratio = [_REMEMBERED * self._ratio[0] + streamed, _REMEMBERED * self._ratio[1] + tokens]
        sent_at = self._open.get(attempt)
        if sent_at is None or self._is_streaming:
            self.on_lost(attempt)
            self._unstreamed += sent_at is not None
            if self._unstreamed >= _FEWEST:  # it streams no more: no cohort would ever be known
                self._unstreamed, self._is_streaming = 0, False
                self.restart(now)
            return
        del self._open[attempt]
        self._streams.pop(attempt, None)
        self._known += 1
        self._delay_s += now - sent_at
        self._tokens += tokens

    def on_lost(self, attempt: int) -> None:
        """Forget an attempt that tells nothing of delays."""
        self._streams.pop(attempt, None)
        if self._open.pop(attempt, None) is not None:
            self._count -= 1

    def take(self, now: float) -> Measure | None:
        """Return the cohort once nearly all of it is known, and begin the next."""
        if not self._is_closed or not self._known or len(self._open) > _UNKNOWN * self._count:
            return None
        if self._is_streaming and not self._streamed:
            return None
        begin_s, token_s = self._delay_s / self._known, 0.0
        if self._is_streaming:
            token_s = self._streamed_s / self._streamed
        elif self._tokens:
            begin_s, token_s = 0.0, self._delay_s / self._tokens
        measure = Measure(self._in_flight / max(1, self._count), begin_s, token_s)
        self.restart(now)
        return measure

    @property
    def _most(self) -> int:
        return _MOST_STREAMED if self._is_streaming else _MOST_WHOLE

    def _choose_streaming(self, now: float) -> None:
        if self._may_stream and self._mean_s < _SHORT_S:
            self._may_stream = self._is_streaming = False
            if self.first is None and self._mean_tokens:
                self.first = Measure(1.0, 0.0, self._mean_s / self._mean_tokens)
            self.restart(now)
        elif self._mean_s > _LONG_S:
            self._may_stream = True

    def _takes(self, now: float) -> bool:
        return not self._is_closed and now >= self._begins_at + self._spread_s * self._count / self._most

    def check_invariants(self, in_flight: Collection[int]) -> None:
        """Raise `InvariantError` if it waits for an attempt that is not in flight."""
        lost = (self._open.keys() | self._streams.keys()).difference(in_flight)
        if lost:
            raise InvariantError(f"the meter waits for attempts that ended: {sorted(lost)[:5]}")


class _State(enum.Enum):
    WATCH = enum.auto()  # measuring the level in force
    FILL = enum.auto()  # the level was changed; the attempts in flight follow
    TRIAL = enum.auto()  # measuring the level on trial


class _Step(Struct, frozen=True):
    """A change of the level by `factor`, and whether throughput speaks for it."""

    factor: float
    is_upward: bool

    def is_worth_it(self, before: Measure, after: Measure, tokens: float) -> bool:
        gain = after.in_flight / before.in_flight * before.delay_s(tokens) / after.delay_s(tokens)
        worth: float = self.factor ** (_GAIN_UP if self.is_upward else _GAIN_DOWN)
        return gain >= worth


class Pace:
    """Tries levels above and below, and keeps those that throughput speaks for."""

    def __init__(self, now: float) -> None:
        self.meter = DelayMeter(now)
        self.slowdown = 1.0  # of a call of average length, times the best ever measured
        self._best: Measure | None = None
        self._reference = Measure(1.0, 1.0, 0.0)  # of the level in force
        self._state = self._then = _State.WATCH
        self._step = _Step(1.0, is_upward=False)  # the last change
        self._left: Measure | None = None  # of the level that was left for the worse just now
        self._second_looks = 0  # in a row
        self._slow_in_a_row = 0  # cohorts
        self._has_first = False
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
        return self._slow_in_a_row > 0

    @property
    def is_surely_too_slow(self) -> bool:
        """Whether that was so twice in a row, so that a ramp should end."""
        return self._slow_in_a_row > 1

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
        self._compare_with_first()
        if self._best is None or measure.delay_s(tokens) < self._best.delay_s(tokens):
            self._best = measure
        self.slowdown = measure.delay_s(tokens) / self._best.delay_s(tokens)
        self._slow_in_a_row = self._slow_in_a_row + 1 if self.slowdown > _TOO_SLOW else 0
        if self._state is _State.TRIAL:
            return self._judge(now, limit, most, measure)
        self._reference = measure
        self._look_again(now)
        if not may_try:
            return limit
        if now >= self._trial_at and measure.in_flight >= 0.85 * (limit - 1):
            limit = self._try(limit, most)
        if self._state is _State.WATCH and self.slowdown <= _SLOW:
            self.meter.restart(now, rest_s=_REST_S)
        return limit

    def _compare_with_first(self) -> None:
        """Take the first answers for the best, once: what streams told before is in another measure."""
        if self.meter.first is not None and not self._has_first:
            self._best, self._has_first = self.meter.first, True

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
        if self.slowdown <= _SLOW:
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

    def _judge(self, now: float, limit: float, most: float, measure: Measure) -> float:
        if self._step.is_worth_it(self._reference, measure, self.meter.mean_tokens):
            self._reference, self._state = measure, _State.WATCH
            self._is_gentle = False
            self._second_looks = 0
            self._interval_s, self._trial_at = _SHORTEST_INTERVAL_S, now
            return self._try(limit, most)  # and on in the same direction
        self._left = measure
        self._is_gentle = self._is_gentle or not self._is_upward
        self._is_upward = not self._is_upward
        self._is_rising = not self._is_rising
        self._state, self._then = _State.FILL, _State.WATCH
        self._trial_at = now + self._interval_s
        self._interval_s = min(_LONGEST_INTERVAL_S, 2 * self._interval_s)
        return self._home
