"""Bounds the number of tasks that run at once. Interactive tasks start first; tenants get fair shares."""

from __future__ import annotations

import asyncio

from actors.core.messages.values import Priority
from actors.core.queue.fair_queue import FairQueue, Ticket, TicketState

_NO_BOUND_HERE = 100_000_000  # each waiter holds a place in the pipeline's backlog, which is bounded


class FairSemaphore:
    """A semaphore of `slots` with a fair queue: by priority, then by tenant. All tasks count the same."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue(_NO_BOUND_HERE)

    @property
    def waiting(self) -> int:
        """The number of waiters."""
        return len(self._queue)

    async def acquire(self, priority: Priority, tenant: str) -> None:
        """Wait for a slot. The caller must return it with `release`."""
        if self._free and not len(self._queue):
            self._free -= 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ticket = self._queue.push(waiter, priority=priority, tenant=tenant, task="", tokens=1)
        if ticket is None:
            raise AssertionError("the queue of a semaphore is never full")
        try:
            await waiter
        except asyncio.CancelledError:
            self._withdraw(waiter, ticket)
            raise
        self._queue.settle(ticket, 1)

    def release(self) -> None:
        """Return a slot. The next waiter gets it, if there is one."""
        while (ticket := self._queue.pop()) is not None:
            if not ticket.entry.cancelled():
                ticket.entry.set_result(None)
                return
            self._queue.settle(ticket, 0)  # the waiter was cancelled and has not run since
        self._free += 1

    def _withdraw(self, waiter: asyncio.Future[None], ticket: Ticket[asyncio.Future[None]]) -> None:
        if not waiter.cancelled():  # the waiter got a slot in the same iteration of the loop: pass it on
            self._queue.settle(ticket, 0)
            self.release()
        elif ticket.state is TicketState.QUEUED:
            self._queue.remove(ticket)
