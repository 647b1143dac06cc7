"""Reports the progress of a client's streams to the dispatcher, at a bounded rate.

Couriers carry requests and replies, so progress is the reply to `WatchStreams`, and each reply needs a new
request. Between replies two marks of each stream are kept, the first and the latest. Each contains the time
since the start of the attempt, so the delay does not falsify it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from actors.core.messages.attempts import StreamMark, StreamProgress
from actors.transport.inbox import Reply

_INTERVAL_S = 0.05


class ProgressWatch:
    """Answers watches. `clock` must be the clock of the running event loop."""

    def __init__(self, clock: Callable[[], float] | None = None, interval_s: float = _INTERVAL_S) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._watching: list[Reply] = []
        self._streams: dict[int, list[StreamMark]] = {}  # the unreported first mark, and the latest one
        self._begun: set[int] = set()  # attempts whose first mark was reported
        self._reported_at = float("-inf")
        self._alarm: asyncio.TimerHandle | None = None
        self._is_leaving = self._leaving_is_new = False

    def watch(self, reply: Reply) -> None:
        """Answer `reply` as soon as there is progress.

        A restarted dispatcher watches again: then both watches are answered.
        """
        self._watching.append(reply)
        self._schedule()

    def note(self, attempt: int, streamed: int, after_s: float) -> None:
        """Record that `streamed` characters of an attempt had arrived `after_s` seconds after its start."""
        marks = self._streams.setdefault(attempt, [])
        del marks[0 if attempt in self._begun else 1 :]
        marks.append(StreamMark(attempt, streamed, after_s))
        self._schedule()

    def forget(self, attempt: int) -> None:
        """Forget an attempt that has ended: its outcome includes the progress."""
        self._streams.pop(attempt, None)
        self._begun.discard(attempt)

    def leave(self) -> None:
        """Report that the client leaves, even if no stream makes progress."""
        self._is_leaving = self._leaving_is_new = True
        self._schedule()

    def close(self) -> None:
        """Stop reporting."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _now(self) -> float:
        return self._clock() if self._clock is not None else asyncio.get_running_loop().time()

    def _schedule(self) -> None:
        if self._watching and (self._streams or self._leaving_is_new) and self._alarm is None:
            delay_s = max(0.0, self._reported_at + self._interval_s - self._now())
            self._alarm = asyncio.get_running_loop().call_later(delay_s, self._report)

    def _report(self) -> None:
        self._alarm = None
        if not self._streams and not self._leaving_is_new:
            return  # all streams have ended meanwhile
        self._reported_at = self._now()
        self._leaving_is_new = False
        marks = [mark for known in self._streams.values() for mark in known]
        self._begun.update(self._streams)
        self._streams.clear()
        watching, self._watching = self._watching, []
        for reply in watching:
            reply(StreamProgress(tuple(marks), self._is_leaving))
