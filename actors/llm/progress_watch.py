"""How a client tells how far its streams have come, to whoever watches, and no oftener than is of use.

A courier carries questions and answers, so progress is the answer to a `Watch`, and the next one has to be
asked for. What gathers meanwhile is kept to two marks a stream, its first characters and its last; each tells
the time since its attempt began, so that waiting for company makes it later but not wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from actors.core.messages.attempts import StreamMark, StreamProgress
from actors.transport.inbox import Reply

_INTERVAL_S = 0.05


class ProgressWatch:
    """Answers watches. `clock` must be that of the running loop."""

    def __init__(self, clock: Callable[[], float] | None = None, interval_s: float = _INTERVAL_S) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._watching: list[Reply] = []
        self._streams: dict[int, list[StreamMark]] = {}  # the first mark not told of yet, and the last
        self._begun: set[int] = set()  # of which the first mark has been told
        self._told_at = float("-inf")
        self._alarm: asyncio.TimerHandle | None = None

    def watch(self, reply: Reply) -> None:
        """Answer as soon as there is something to tell.

        A dispatcher that has begun anew watches, too, beside its earlier life: both are answered.
        """
        self._watching.append(reply)
        self._tell_in_time()

    def note(self, attempt: int, streamed: int, after_s: float) -> None:
        """Take note that so many characters have come for an attempt, so long after its start."""
        marks = self._streams.setdefault(attempt, [])
        del marks[0 if attempt in self._begun else 1 :]
        marks.append(StreamMark(attempt, streamed, after_s))
        self._tell_in_time()

    def forget(self, attempt: int) -> None:
        """Drop what is known of an attempt that has ended: its end tells all of it."""
        self._streams.pop(attempt, None)
        self._begun.discard(attempt)

    def close(self) -> None:
        """Tell nothing more."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _now(self) -> float:
        return self._clock() if self._clock is not None else asyncio.get_running_loop().time()

    def _tell_in_time(self) -> None:
        if self._watching and self._streams and self._alarm is None:
            delay_s = max(0.0, self._told_at + self._interval_s - self._now())
            self._alarm = asyncio.get_running_loop().call_later(delay_s, self._tell)

    def _tell(self) -> None:
        self._alarm = None
        if not self._streams:
            return  # they have ended meanwhile
        self._told_at = self._now()
        marks = [mark for known in self._streams.values() for mark in known]
        self._begun.update(self._streams)
        self._streams.clear()
        watching, self._watching = self._watching, []
        for reply in watching:
            reply(StreamProgress(tuple(marks)))
