"""Queries that wait for an event.

Rule: a waiting query is answered after the first event, at whatever moment that event is committed. Queries
are answered concurrently with commits, so an event that is committed while a query is answered may be missing
from the answer. Such a query is asked again.
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
    """Passes a query to `ask_again` once there may be an answer, and with `wait_s` 0 at its deadline."""

    def __init__(self, ask_again: Callable[[ReadEvents, Reply], None]) -> None:
        self._ask_again = ask_again
        self._waiting: list[tuple[ReadEvents, Reply, asyncio.TimerHandle]] = []
        self._touched_meanwhile: set[tuple[str, str]] | None = None  # set only while queries are answered

    def __len__(self) -> int:
        return len(self._waiting)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Collect the tasks with new events while the body answers queries and calls `add`."""
        self._touched_meanwhile = set()
        try:
            yield
        finally:
            self._touched_meanwhile = None

    def add(self, query: ReadEvents, reply: Reply) -> None:
        """Make a query without an answer wait, or ask it again if an event was committed meanwhile."""
        if self._touched_meanwhile and _is_concerned(query, self._touched_meanwhile):
            self._ask_again(query, reply)
            return
        timer = asyncio.get_running_loop().call_later(query.wait_s, self._end_wait, query, reply)
        self._waiting.append((query, reply, timer))

    def touch(self, touched: Touched) -> None:
        """Ask the queries again that concern tasks with new events, after their commit."""
        if self._touched_meanwhile is not None:
            self._touched_meanwhile |= touched
        if not (touched and self._waiting):
            return
        still = []
        for query, reply, timer in self._waiting:
            if _is_concerned(query, touched):
                left_s = timer.when() - asyncio.get_running_loop().time()
                timer.cancel()
                self._ask_again(replace(query, wait_s=max(0.0, left_s)), reply)
            else:
                still.append((query, reply, timer))
        self._waiting = still

    def _end_wait(self, query: ReadEvents, reply: Reply) -> None:
        self._waiting = [waiting for waiting in self._waiting if waiting[1] is not reply]
        self._ask_again(replace(query, wait_s=0.0), reply)


def _is_concerned(query: ReadEvents, touched: Touched | set[tuple[str, str]]) -> bool:
    if query.task is not None:
        return (query.run_id, query.task) in touched
    return any(run_id == query.run_id for run_id, _ in touched)
