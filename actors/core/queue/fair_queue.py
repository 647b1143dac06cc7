"""Who goes next: class, then tenant, then task.

Rule 1: interactive calls go before batch calls; while both wait, batch gets its share of the tokens.
Rule 2: within a class tenants share by weight (`flows.py`). Within a tenant the task that came first goes
first, and gives way to the next once it has had its burst (`line.py`): tasks end one after the other, not all
at the end, and a long one does not hold up the rest. Both count in tokens, not in calls. Within a task calls
keep their order.
Rule 3: nothing is scanned, and no call is looked up by name: whoever pushed it holds its ticket. An index by
name makes every operation a third slower once a million calls wait, because its look-ups miss the caches.
Rule 4: a call is charged once, by its estimate, when it is first taken, and settled with the truth when it
ends. A refused call goes back to the front and is not charged again.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Mapping
from typing import Generic, TypeVar

from msgspec import Struct

from actors.core.errors import InvalidTransitionError, InvariantError
from actors.core.messages.values import Priority
from actors.core.queue.queue_tree import ClassFlows, TaskFlow, TenantFlow, Ticket, TicketState

T = TypeVar("T")

_LARGEST_DUE = 100_000.0  # tokens one class may owe the other, so that no wrong estimate blocks it for long
_SHOWN_TENANTS = 20
_BURST = 50_000  # tokens of a task: some hundred calls

_QUEUED, _TAKEN, _RETURNED, _ENDED = TicketState  # looking them up on the class costs a tenth of a `pop`


class TenantStatistics(Struct, frozen=True):
    """One tenant at one moment, over both classes; counted as in `FairQueueStatistics`."""

    tenant: str
    queued: int
    unsettled: int


class FairQueueStatistics(Struct, frozen=True):
    """A fair queue at one moment. `refused` and `returned` count from the start.

    queued: all that wait; interactive and batch: by class. unsettled: charged and not settled, those put
    back included. batch_due: tokens that batch is owed, negative where it owes. tenants: the 20 that have
    most calls waiting to be taken for the first time.
    """

    queued: int
    capacity: int
    interactive: int
    batch: int
    unsettled: int
    refused: int
    returned: int
    batch_due: float
    tenants: tuple[TenantStatistics, ...]


class FairQueue(Generic[T]):
    """A bounded queue that serves classes, tenants and tasks fairly by tokens.

    `batch_share` is the part of the tokens that batch gets while both classes wait, within one call;
    `weights` are of tenants, 1 where not named; `burst` is what a task may have before it gives way. A call
    is pushed, popped, and then settled, or pushed back and popped again. What does not fit a ticket's state
    raises InvalidTransitionError and changes nothing.
    """

    def __init__(
        self,
        capacity: int,
        *,
        batch_share: float = 0.2,
        weights: Mapping[str, float] = {},
        burst: int = _BURST,
    ) -> None:
        if capacity < 1 or burst < 1 or not 0 <= batch_share < 1:
            text = f"impossible capacity {capacity}, batch share {batch_share} or burst {burst}"
            raise ValueError(f"fair queue: {text}")
        if not all(0 < weight < math.inf for weight in weights.values()):
            raise ValueError("fair queue: weights are positive and finite")
        self._weights = dict(weights)
        self._burst = burst
        self._capacity = capacity
        self._batch_rate = batch_share / (1 - batch_share)  # tokens due to batch per interactive token
        self._batch_due = 0.0
        self._interactive: ClassFlows[T] = ClassFlows()
        self._batch: ClassFlows[T] = ClassFlows()
        self._classes = {Priority.INTERACTIVE: self._interactive, Priority.BATCH: self._batch}
        self._serial = itertools.count()
        self._refused = 0
        self._returned = 0

    def __len__(self) -> int:
        return self._interactive.waiting + self._batch.waiting

    def push(self, entry: T, *, priority: Priority, tenant: str, task: str, tokens: int) -> Ticket[T] | None:
        """Queue a call behind those of its task; return its ticket, or None where the queue is full.

        Raises ValueError for negative tokens.
        """
        if tokens < 0:
            raise ValueError(f"call {entry}: tokens are not negative, unlike {tokens}")
        if len(self) >= self._capacity:
            self._refused += 1
            return None
        of_class = self._classes[priority]
        of_tenant = of_class.tenants.flows.get(tenant) or self._add_tenant(of_class, tenant)
        of_task = of_tenant.tasks.flows.get(task) or self._add_task(of_tenant, task)
        # A call without tokens would never move its flow's tag, and its flow would be served for ever.
        ticket = Ticket(entry, tokens or 1, of_task)
        of_task.line.append(ticket)
        of_tenant.tasks.enqueue(of_task)
        of_class.tenants.enqueue(of_tenant)
        of_class.waiting += 1
        return ticket

    def peek(self, only: Priority | None = None) -> Ticket[T] | None:
        """Return the ticket that `pop` would take, None where nothing is queued."""
        of_class = self._next_class(only)
        if of_class is None:
            return None
        return of_class.first_returned() or of_class.tenants.first().tasks.first().first()

    def pop(self, only: Priority | None = None) -> Ticket[T] | None:
        """Take the next call, `only` of this class if one is named; None where nothing is queued."""
        of_class = self._next_class(only)
        if of_class is None:
            return None
        ticket = of_class.first_returned()
        if ticket is not None:
            heapq.heappop(of_class.returned)
        else:
            ticket = self._take_first(of_class)
        ticket.state = _TAKEN
        self._leave(of_class)
        return ticket

    def push_back(self, ticket: Ticket[T]) -> None:
        """Queue a taken call again, at its old tag: before all others of its task, and beyond capacity."""
        if ticket.state is not _TAKEN:
            raise InvalidTransitionError(f"call {ticket.entry}", ticket.state.value, "push back")
        ticket.state = _RETURNED
        of_class = ticket.task.tenant.of_class
        heapq.heappush(of_class.returned, (ticket.start, next(self._serial), ticket))
        of_class.waiting += 1
        self._returned += 1

    def settle(self, ticket: Ticket[T], actual_tokens: int) -> None:
        """End a taken call, and charge what it took: 0 where it took nothing.

        Raises ValueError for negative tokens.
        """
        if ticket.state is not _TAKEN:
            raise InvalidTransitionError(f"call {ticket.entry}", ticket.state.value, "settle")
        if actual_tokens < 0:
            raise ValueError(f"call {ticket.entry}: tokens are not negative, unlike {actual_tokens}")
        self._settle(ticket, actual_tokens - ticket.tokens)

    def remove(self, ticket: Ticket[T]) -> None:
        """End a queued call that shall not be served; one that was pushed back is refunded."""
        if ticket.state is _RETURNED:
            self._leave(ticket.task.tenant.of_class)
            self._settle(ticket, -ticket.tokens)
        elif ticket.state is _QUEUED:
            self._leave(ticket.task.tenant.of_class)
            self._cancel(ticket)
        else:
            raise InvalidTransitionError(f"call {ticket.entry}", ticket.state.value, "remove")

    def statistics(self) -> FairQueueStatistics:
        """Return a snapshot. Costs O(tenants)."""
        queued: Counter[str] = Counter()
        unsettled: Counter[str] = Counter()
        for of_class in self._classes.values():
            for name, tenant in of_class.tenants.flows.items():
                queued[name] += tenant.queued
                unsettled[name] += tenant.unsettled
        most = heapq.nlargest(_SHOWN_TENANTS, queued.items(), key=lambda item: item[1])
        return FairQueueStatistics(
            queued=len(self),
            capacity=self._capacity,
            interactive=self._interactive.waiting,
            batch=self._batch.waiting,
            unsettled=self._interactive.unsettled + self._batch.unsettled,
            refused=self._refused,
            returned=self._returned,
            batch_due=self._batch_due,
            tenants=tuple(TenantStatistics(name, count, unsettled[name]) for name, count in most),
        )

    def check_invariants(self) -> None:
        """Raise InvariantError where the queue's books do not agree. Costs O(everything)."""
        problems = [*self._interactive.problems(), *self._batch.problems()]
        if abs(self._batch_due) > _LARGEST_DUE or (self._batch_due > 0 and not self._batch.waiting):
            problems.append(f"{self._batch_due} tokens are due to batch")
        if problems:
            raise InvariantError("fair queue: " + "; ".join(problems))

    def __repr__(self) -> str:
        waiting = f"{self._interactive.waiting} interactive, {self._batch.waiting} batch"
        return f"<FairQueue {waiting} of {self._capacity}, {self._batch_due:.0f} tokens due to batch>"

    def _next_class(self, only: Priority | None) -> ClassFlows[T] | None:
        if only is not None:
            return self._classes[only] if self._classes[only].waiting else None
        if not self._batch.waiting:
            return self._interactive if self._interactive.waiting else None
        if not self._interactive.waiting or self._batch_due > 0:
            return self._batch
        return self._interactive

    def _take_first(self, of_class: ClassFlows[T]) -> Ticket[T]:
        """Take the first call that was never taken, and charge it on all levels."""
        tenant = of_class.tenants.first()
        task = tenant.tasks.first()
        ticket = task.first()
        task.line.popleft()
        ticket.start = tenant.tag
        tenant.tasks.charge(task, ticket.tokens)
        of_class.tenants.charge(tenant, ticket.tokens)
        of_class.unsettled += 1
        if self._interactive.waiting and self._batch.waiting:
            ticket.contended = True
            self._owe(of_class, ticket.tokens)
        return ticket

    def _owe(self, of_class: ClassFlows[T], tokens: int) -> None:
        """Count tokens that one class got while the other waited."""
        due = self._batch_due + (tokens * self._batch_rate if of_class is self._interactive else -tokens)
        # What batch was due while it waited is not kept for later: that would be credit for being idle.
        self._batch_due = min(max(due, -_LARGEST_DUE), _LARGEST_DUE if self._batch.waiting else 0.0)

    def _leave(self, of_class: ClassFlows[T]) -> None:
        of_class.waiting -= 1
        if not self._batch.waiting:
            self._batch_due = min(self._batch_due, 0.0)

    def _settle(self, ticket: Ticket[T], excess: int) -> None:
        ticket.state = _ENDED
        task = ticket.task
        tenant = task.tenant
        of_class = tenant.of_class
        of_class.unsettled -= 1
        tenant.tasks.settle(task, excess)
        of_class.tenants.settle(tenant, excess)
        if ticket.contended:
            self._owe(of_class, excess)
        self._end_busy_period(tenant)

    def _cancel(self, ticket: Ticket[T]) -> None:
        ticket.state = _ENDED
        task = ticket.task
        tenant = task.tenant
        tenant.tasks.cancel(task)
        tenant.of_class.tenants.cancel(tenant)
        task.tidy()
        self._end_busy_period(tenant)

    def _end_busy_period(self, tenant: TenantFlow[T]) -> None:
        """Drop what is known of a tenant, and of a class, that has nothing queued and nothing unsettled."""
        if not tenant.queued and not tenant.unsettled:
            tenant.tasks.clear()
        of_class = tenant.of_class
        if not of_class.waiting and not of_class.unsettled:
            of_class.tenants.clear()

    def _add_tenant(self, of_class: ClassFlows[T], name: str) -> TenantFlow[T]:
        tenant = TenantFlow(name, self._weights.get(name, 1.0), of_class, self._burst)
        of_class.tenants.flows[name] = tenant
        return tenant

    def _add_task(self, tenant: TenantFlow[T], name: str) -> TaskFlow[T]:
        task = TaskFlow(name, tenant)
        tenant.tasks.flows[name] = task
        return task
