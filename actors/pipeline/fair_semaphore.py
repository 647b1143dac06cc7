"""Bounds how many tasks run at once: interactive ones start first, tenants get fair shares."""

from __future__ import annotations

import asyncio

from actors.core.messages.values import Priority
from actors.core.queue.fair_queue import FairQueue, Ticket, TicketState

_NO_BOUND_HERE = 100_000_000  # every waiter holds a place in the pipeline's backlog, which has a bound


class FairSemaphore:
    """A semaphore of `slots` whose queue is fair: by class, then tenant, one task as good as another."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue(_NO_BOUND_HERE)

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self._queue)

    async def acquire(self, priority: Priority, tenant: str) -> None:
        """Return once the caller has a slot, which it gives back with `release`."""
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
        """Give a slot back, to the next waiter if there is one."""
        while (ticket := self._queue.pop()) is not None:
            if not ticket.entry.cancelled():
                ticket.entry.set_result(None)
                return
            self._queue.settle(ticket, 0)  # it was cancelled, and has not run since
        self._free += 1

    def _withdraw(self, waiter: asyncio.Future[None], ticket: Ticket[asyncio.Future[None]]) -> None:
        if not waiter.cancelled():  # the slot came at the same moment: it goes to the next
            self._queue.settle(ticket, 0)
            self.release()
        elif ticket.state is TicketState.QUEUED:
            self._queue.remove(ticket)
