"""Whether more attempts in flight bring more answers: the bound that no refusal tells of.

An endpoint that queues, or whose batch slows as it grows, never refuses; it only answers later. Latency alone
cannot find the best level: it depends on how long answers are, and a batch may give more in all long after
each call has become twice as slow. What counts is throughput: by Little's law the attempts in flight divided
by the delay of an average call.

Rule 1: delays are taken from a cohort of attempts sent one after the other, when nearly all are known. Taken
from those that ended lately, the short answers that come first would make every new level look fast.
Rule 2: what is measured is the delay of a call of average length, so the luck of the draw in lengths cancels.
Rule 3: a level is kept or left by comparing two cohorts, one before and one after the change.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

_COHORT_S = 3.0
_COHORT_STREAMED = 64
_COHORT_WHOLE = 1000
_SLOW = 1.25  # times the shortest delay ever: below it there is no queue, so nothing to gain by going down
_GAIN_UP = 0.17  # d ln(throughput) / d ln(in flight) that makes going up worth its latency
_GAIN_DOWN = 0.135  # and that makes going down a loss; the gap keeps noise from moving the level


@dataclass(frozen=True, slots=True)
class Measure:
    """One cohort: how many were in flight, seconds before an answer begins, and seconds for each token."""

    in_flight: float
    begin_s: float
    token_s: float

    def delay_s(self, tokens: float) -> float:
        """Return what a call of so many output tokens took."""
        return self.begin_s + tokens * self.token_s


class DelayMeter:
    """Measures cohort after cohort. Streamed tokens make it quick; without them it waits for whole answers."""

    def __init__(self, now: float) -> None:
        self.mean_tokens = 0.0
        self._answers = 0
        self._streams: dict[int, tuple[float, int]] = {}
        self._is_streaming = False
        self.restart(now)

    def restart(self, now: float) -> None:
        """Begin a new cohort with the next attempt sent."""
        self._began_at = now
        self._open: dict[int, float] = {}
        self._closed = False
        self._count = 0
        self._in_flight = 0.0
        self._known = 0
        self._delay = 0.0
        self._tokens = 0
        self._token_s = 0.0
        self._token_count = 0

    def on_sent(self, attempt: int, now: float, in_flight: int) -> bool:
        """Take note of an attempt. True: its tokens should be streamed."""
        if self._closed:
            return False
        self._open[attempt] = now
        self._count += 1
        self._in_flight += in_flight
        most = _COHORT_STREAMED if self._is_streaming else _COHORT_WHOLE
        self._closed = self._count >= most or (self._count >= 8 and now - self._began_at >= _COHORT_S)
        if self._count > _COHORT_STREAMED:
            return False
        self._streams[attempt] = (now, 0)
        return True

    def on_tokens(self, attempt: int, now: float, tokens: int) -> bool:
        """Take what has been streamed so far. True: these are its first tokens."""
        seen = self._streams.get(attempt)
        if seen is None:
            return False
        at, before = seen
        if tokens <= before:
            return False
        self._streams[attempt] = (now, tokens)
        if before:
            self._token_s += now - at
            self._token_count += tokens - before
            return False
        if not self._is_streaming:
            self._is_streaming = True
            self._began_at, self._known, self._delay, self._tokens = now, 0, 0.0, 0
        sent_at = self._open.pop(attempt, None)
        if sent_at is not None:
            self._known += 1
            self._delay += now - sent_at
        return True

    def on_answer(self, attempt: int, now: float, tokens: int) -> None:
        """Take a whole answer."""
        self._answers += 1
        self.mean_tokens += (tokens - self.mean_tokens) / min(self._answers, 300)
        self._streams.pop(attempt, None)
        sent_at = self._open.pop(attempt, None)
        if sent_at is not None and not self._is_streaming:
            self._known += 1
            self._delay += now - sent_at
            self._tokens += tokens
        elif sent_at is not None:
            self._count -= 1

    def on_lost(self, attempt: int) -> None:
        """Forget an attempt that ended without an answer."""
        self._streams.pop(attempt, None)
        if self._open.pop(attempt, None) is not None:
            self._count -= 1

    def take(self, now: float) -> Measure | None:
        """Return the cohort once nine in ten of it are known, and begin the next."""
        if not self._closed or len(self._open) > 0.1 * self._count or not self._known:
            return None
        if self._is_streaming:
            if not self._token_count:
                return None
            begin_s, token_s = self._delay / self._known, self._token_s / self._token_count
        elif self._tokens:
            begin_s, token_s = 0.0, self._delay / self._tokens
        else:
            begin_s, token_s = self._delay / self._known, 0.0
        measure = Measure(self._in_flight / self._count, begin_s, token_s)
        self.restart(now)
        return measure


class _State(enum.Enum):
    WATCH = 0  # measuring the level that is in force
    FILL = 1  # the level has changed; in flight follows
    TRIAL = 2  # measuring a level on trial


class Pace:
    """Tries levels above and below, and keeps those that throughput speaks for."""

    def __init__(self, now: float) -> None:
        self.meter = DelayMeter(now)
        self.slowdown = 1.0
        self._best: Measure | None = None
        self._reference: Measure | None = None
        self._state = _State.WATCH
        self._then = _State.WATCH
        self._factor = 1.0
        self._home = 0.0
        self._is_upward = False
        self._interval = 5.0
        self._trial_at = now

    @property
    def is_busy(self) -> bool:
        """Whether a level is on trial, so that nothing else may move the limit."""
        return self._state is not _State.WATCH

    def reset(self, now: float) -> None:
        """Drop what was on trial: the limit was changed for another reason."""
        self._state = _State.WATCH
        self._reference = None
        self.meter.restart(now)

    def advise(self, now: float, limit: float, in_flight: int, *, most: float, may_try: bool) -> float:
        """Return the limit to use from now on, at most `most`."""
        if self._state is _State.FILL:
            if (in_flight >= 0.97 * limit - 1) if self._factor > 1 else (in_flight <= limit):
                self._state = self._then
                self.meter.restart(now)
            return limit
        measure = self.meter.take(now)
        if measure is None:
            return limit
        tokens = self.meter.mean_tokens
        if self._best is None or measure.delay_s(tokens) < self._best.delay_s(tokens):
            self._best = measure
        self.slowdown = measure.delay_s(tokens) / self._best.delay_s(tokens)
        if self._state is _State.TRIAL:
            return self._judge(now, limit, measure)
        self._reference = measure
        if may_try and now >= self._trial_at and measure.in_flight >= 0.85 * (limit - 1):
            return self._try(limit, most)
        return limit

    def _try(self, limit: float, most: float) -> float:
        if self._is_upward and limit >= most:
            self._is_upward = False
        if not self._is_upward and self.slowdown <= _SLOW:
            self._is_upward = True
            if limit >= most:
                return limit
        self._factor = 1.3 if self._is_upward else 0.6 if self.slowdown > 3 else 0.77
        self._home = limit
        self._state, self._then = _State.FILL, _State.TRIAL
        trial = min(most, max(1.0, limit * self._factor))
        self._factor = trial / limit
        return trial

    def _judge(self, now: float, limit: float, measure: Measure) -> float:
        reference = self._reference
        assert reference is not None
        gain = (measure.in_flight / reference.in_flight) * (
            reference.delay_s(self.meter.mean_tokens) / measure.delay_s(self.meter.mean_tokens)
        )
        elasticity = _GAIN_UP if self._is_upward else _GAIN_DOWN
        if gain >= self._factor**elasticity:
            self._reference = measure
            self._state = _State.WATCH
            self._interval, self._trial_at = 5.0, now
            return limit
        self._is_upward = not self._is_upward
        self._factor = 1 / self._factor
        self._state, self._then = _State.FILL, _State.WATCH
        self._trial_at = now + self._interval
        self._interval = min(60.0, 2 * self._interval)
        return self._home
