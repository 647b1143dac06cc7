"""What several files of unit tests need."""

from __future__ import annotations

import itertools

import pytest

from actors.core.messages.values import Priority
from actors.core.queue.fair_queue import FairQueue


class FilledQueue(FairQueue[str]):
    """A fair queue with short ways to fill and empty it. Entries read ``tenant/task/serial``."""

    _serial_of_entry = itertools.count()

    def fill(self, tenant="a", task="t", *, tokens=100, priority=Priority.BATCH, count=1):
        """Push `count` calls, none of which is refused, and return their tickets."""
        tickets = []
        for _ in range(count):
            entry = f"{tenant}/{task}/{next(self._serial_of_entry)}"
            ticket = self.push(entry, priority=priority, tenant=tenant, task=task, tokens=tokens)
            assert ticket is not None
            tickets.append(ticket)
        return tickets

    def take(self, count, actual=None):
        """Pop and settle `count` calls, by default at their estimates, and return their tickets."""
        tickets = []
        for _ in range(count):
            ticket = self.pop()
            self.settle(ticket, ticket.tokens if actual is None else actual)
            tickets.append(ticket)
        return tickets

    def is_pristine(self):
        """Tell whether nothing is left of what was once in the queue."""
        known = self.statistics()
        return not (known.queued or known.unsettled or known.remembered)


@pytest.fixture
def make_queue():
    """Return a builder of queues whose books are checked when the test is over."""
    queues = []

    def make(capacity=1000, **settings):
        queues.append(FilledQueue(capacity, **settings))
        return queues[-1]

    yield make
    for queue in queues:
        queue.check_invariants()


@pytest.fixture
def queue(make_queue):
    """Return an empty queue in which the tenant ``heavy`` has twice the weight of others.

    A task gives way after each call of 100 tokens.
    """
    return make_queue(weights={"heavy": 2.0}, burst=100)
