"""Who waits at the journal for an event that has not come yet.

Rule: whoever waits is told of the first event there is, however its look and the commit of that event fall
together. Queries are answered beside commits, so what is touched while a look is under way may have come too
late for it: that look is taken again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from actors.core.messages.journal import ReadEvents
from actors.transport.inbox import Reply

Touched = frozenset[tuple[str, str]]  # (run, task) of every task that has a new event


class EventWaiters:
    """Hands a query to `look_again` once there may be an answer, at last with `wait_s` 0."""

    def __init__(self, look_again: Callable[[ReadEvents, Reply], None]) -> None:
        self._look_again = look_again
        self._waiting: list[tuple[ReadEvents, Reply, asyncio.TimerHandle]] = []
        self._touched_meanwhile: set[tuple[str, str]] | None = None  # kept only while somebody looks

    def __len__(self) -> int:
        return len(self._waiting)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Have queries be answered within this context, from what is durable at its beginning or later."""
        self._touched_meanwhile = set()
        try:
            yield
        finally:
            self._touched_meanwhile = None

    def add(self, query: ReadEvents, reply: Reply) -> None:
        """Have a query wait to which the look that is under way found no answer."""
        if self._touched_meanwhile and _is_concerned(query, self._touched_meanwhile):
            self._look_again(query, reply)
            return
        timer = asyncio.get_running_loop().call_later(query.wait_s, self._end_wait, query, reply)
        self._waiting.append((query, reply, timer))

    def touch(self, touched: Touched) -> None:
        """Wake those whom a commit concerns that has become durable."""
        if self._touched_meanwhile is not None:
            self._touched_meanwhile |= touched
        if not (touched and self._waiting):
            return
        still = []
        for query, reply, timer in self._waiting:
            if _is_concerned(query, touched):
                left_s = timer.when() - asyncio.get_running_loop().time()
                timer.cancel()
                self._look_again(replace(query, wait_s=max(0.0, left_s)), reply)
            else:
                still.append((query, reply, timer))
        self._waiting = still

    def _end_wait(self, query: ReadEvents, reply: Reply) -> None:
        self._waiting = [waiting for waiting in self._waiting if waiting[1] is not reply]
        self._look_again(replace(query, wait_s=0.0), reply)


def _is_concerned(query: ReadEvents, touched: Touched | set[tuple[str, str]]) -> bool:
    if query.task is not None:
        return (query.run_id, query.task) in touched
    return any(run_id == query.run_id for run_id, _ in touched)
