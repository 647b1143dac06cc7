"""Measures the duration of calls at an endpoint, independent of chance and of the order of answers.

Rule 1: it is measured on a cohort of attempts sent one after the other, once nearly all are known. A
measure of recent ends is biased: short answers come first and make any new level seem fast.
Rule 2: it is the delay of a call of average length, so that chance in the lengths cancels.
Rule 3: a measure of streams and one of whole answers are never compared.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from actors.core.errors import InvariantError

_COHORT_S = 3.0
_SPREAD_S = 0.4  # over which a cohort is sent, at least: a moment's hiccup is not the endpoint's pace
_FEWEST = 8
_MOST_STREAMED = 64  # first tokens of so many tell a queue to within a few per cent
_MOST_WHOLE = 1000  # whole answers vary more, and cost nothing to watch
_SHORT_S, _LONG_S = 1.5, 3.0  # where answers come soon, streams tell no more and cost ten times as much
_TELLING = 50  # attempts: what they took in the mean is known well enough
_REMEMBERED = 0.995  # of what is known of a stream's pieces, with each further stream
_UNKNOWN = 0.1  # of a cohort may be missing: some attempts hang, and must not hold up the rest


class DelayMeasure(Struct, frozen=True):
    """One cohort: how many were in flight, seconds before an answer begins, and seconds for each token.

    `known`: how many answers that was learned from; `is_streamed`: `token_s` is of a stream's pieces.
    """

    in_flight: float
    begin_s: float
    token_s: float
    known: int
    is_streamed: bool = False

    def delay_s(self, tokens: float) -> float:
        """Return what a call of so many output tokens took; more than nothing, for it is divided by."""
        return max(1e-9, self.begin_s + tokens * self.token_s)


class _FirstAnswers:
    """What those attempts took that were sent first: of many in flight, the first to end are the shortest."""

    def __init__(self) -> None:
        self.is_known = False
        self._open: set[int] = set()
        self._sent = self._ended = self._tokens = 0
        self._took_s = 0.0

    def on_sent(self, attempt: int) -> None:
        if self._sent < _TELLING:
            self._sent += 1
            self._open.add(attempt)

    def on_answer(self, attempt: int, tokens: int, took_s: float) -> bool:
        """Tell whether nearly all are known by this one."""
        if attempt not in self._open:
            return False
        self._open.remove(attempt)
        self._ended += 1
        self._tokens += tokens
        self._took_s += took_s
        self.is_known = self._sent == _TELLING and len(self._open) <= _UNKNOWN * _TELLING
        if self.is_known:
            self._open.clear()  # the last ones may hang
        return self.is_known

    def on_lost(self, attempt: int) -> None:
        if attempt in self._open:
            self._open.remove(attempt)
            self._sent -= 1

    @property
    def mean_s(self) -> float:
        return self._took_s / self._ended

    def measure(self) -> DelayMeasure | None:
        return DelayMeasure(1.0, 0.0, self._took_s / self._tokens, self._ended) if self._tokens else None


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
        self.first: DelayMeasure | None = None  # of the first answers, once they are known
        self._first = _FirstAnswers()
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
        self._first.on_sent(attempt)
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
        if self._first.on_answer(attempt, tokens, took_s):
            self._mean_s, self.first = self._first.mean_s, self._first.measure()
        if self._first.is_known:
            self._choose_streaming(now)
        self._mean_tokens += (tokens - self._mean_tokens) / min(self._answers, 300)
        if streamed and tokens:
            self._ratio = [_REMEMBERED * self._ratio[0] + streamed, _REMEMBERED * self._ratio[1] + tokens]
        sent_at = self._open.get(attempt)
        if sent_at is None or self._is_streaming:
            self._unstreamed += sent_at is not None and attempt in self._streams
            self.on_lost(attempt)
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
        self._first.on_lost(attempt)
        self._streams.pop(attempt, None)
        if self._open.pop(attempt, None) is not None:
            self._count -= 1

    def take(self, now: float) -> DelayMeasure | None:
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
        in_flight = self._in_flight / max(1, self._count)
        measure = DelayMeasure(in_flight, begin_s, token_s, self._known, self._is_streaming)
        self.restart(now)
        return measure

    @property
    def _most(self) -> int:
        return _MOST_STREAMED if self._is_streaming else _MOST_WHOLE

    def _choose_streaming(self, now: float) -> None:
        if self._may_stream and self._mean_s < _SHORT_S:
            self._may_stream = self._is_streaming = False
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
