"""Tasks take turns: so many at once, interactive ones first, callers in fair shares."""

from __future__ import annotations

import asyncio

from actors.core.messages.values import Priority
from actors.core.queue.fair_queue import FairQueue, Ticket, TicketState

_NO_BOUND_HERE = 100_000_000  # whoever takes a turn has been admitted before


class Turns:
    """A semaphore of `slots` whose queue is fair: by class, then tenant, one task as good as another."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue(_NO_BOUND_HERE)

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._queue)

    async def take(self, priority: Priority, tenant: str) -> None:
        """Return once it is the caller's turn. Each turn taken is given back with `give_back`."""
        if self._free and not len(self._queue):
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ticket = self._queue.push(turn, priority=priority, tenant=tenant, task="", tokens=1)
        if ticket is None:
            raise AssertionError("the queue of turns has no bound of its own")
        try:
            await turn
        except asyncio.CancelledError:
            self._withdraw(turn, ticket)
            raise
        self._queue.settle(ticket, 1)

    def give_back(self) -> None:
        """End a turn: the next one begins."""
        while (ticket := self._queue.pop()) is not None:
            if not ticket.entry.cancelled():
                ticket.entry.set_result(None)
                return
            self._queue.settle(ticket, 0)  # whoever waited has left, and does not know it yet
        self._free += 1

    def _withdraw(self, turn: asyncio.Future[None], ticket: Ticket[asyncio.Future[None]]) -> None:
        if not turn.cancelled():  # the turn came at the same moment: it goes to the next
            self._queue.settle(ticket, 0)
            self.give_back()
        elif ticket.state is TicketState.QUEUED:
            self._queue.remove(ticket)
