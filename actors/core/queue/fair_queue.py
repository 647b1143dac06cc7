"""A bounded queue of calls that is fair to classes, tenants and tasks.

Rule 1: interactive calls go before batch calls. While both wait, batch gets its share of the tokens.
Rule 2: within a class, tenants share the tokens by weight (start-time fair queueing; Goyal, Vin and Cheng,
SIGCOMM 1996). A tenant's rank is the virtual time at which its next call may start. The lowest rank is
served, and advances by tokens / weight. A tenant that was idle starts at the later of its rank and the
virtual time of its class: it earns nothing while idle, and keeps what it owes.
Rule 3: within a tenant, the task that came first is served until it has nothing queued, or has had its burst
of tokens and goes to the end (deficit round robin; Shreedhar and Varghese, SIGCOMM 1995). Most tasks never
use up their burst, so they end one after the other, and a long task does not hold up the rest. If tasks took
turns call by call, all of them would end at the very end.
Rule 4: a call is charged its estimate once, when it is first taken, and corrected when it ends. A call that
is put back goes before all others of its class, beyond capacity, and is not charged again.
Rule 5: the caller keeps the ticket of its call. No call is looked up by name.
"""

from __future__ import annotations

import enum
import heapq
import itertools
import math
from bisect import bisect_left, insort
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Generic, TypeVar

from msgspec import Struct, field

from actors.core.errors import InvalidTransitionError, InvariantError
from actors.core.messages.values import Priority
from actors.core.queue.active_list import ActiveList, Member

T = TypeVar("T")

_LARGEST_DUE = 100_000.0  # tokens one class may owe the other, so that no wrong estimate blocks it for long
SHOWN_TENANTS = 20
_BURST = 50_000  # tokens of a task: a few hundred calls
_IDLE_TASKS = 4096  # of a tenant, whose place is kept; others come back at the end
_IDLE_TENANTS = 1024  # of a class, whose rank is kept; others may come back a call too early


class TicketState(enum.Enum):
    """Where a call is between `push` and its end."""

    QUEUED = "queued"
    TAKEN = "taken"
    RETURNED = "returned"  # queued again, and charged already
    ENDED = "ended"


_QUEUED, _TAKEN, _RETURNED, _ENDED = TicketState  # a look-up on the class costs a tenth of a `pop`
_WAITING = (_QUEUED, _RETURNED)
_turn = attrgetter("turn")


class Ticket(Struct, Generic[T], eq=False):
    """One call in the queue, which alone changes it. `tokens` is what it is charged.

    `turn` numbers calls in the order in which they are first taken. `contended`: both classes waited then.
    """

    entry: T
    tokens: int
    task: _QueuedTask[T]
    state: TicketState = _ENDED  # until it is pushed
    turn: int = -1
    contended: bool = False


class _QueuedTask(Member, Generic[T], eq=False, kw_only=True):
    """The calls of one task that were never taken, in order; `spent` is what it has had of its burst."""

    tenant: _Tenant[T]
    spent: int = 0
    calls: OrderedDict[Ticket[T], None] = field(default_factory=OrderedDict)  # one may leave from the middle


class _Tenant(Member, Generic[T], eq=False, kw_only=True):
    """A tenant in one class. `queued` counts calls that were never taken, `unsettled` those charged."""

    of_class: _Class[T]
    weight: float
    queued: int = 0
    unsettled: int = 0
    places: Iterator[int] = field(default_factory=itertools.count)
    tasks: ActiveList[_QueuedTask[T]] = field(default_factory=lambda: ActiveList(_IDLE_TASKS))


class _Class(Struct, Generic[T], eq=False):
    """The tenants of one priority. `returned` has the calls that were put back, by turn."""

    waiting: int = 0
    unsettled: int = 0
    virtual: float = 0.0  # the rank of the tenant that was served last
    returned: list[Ticket[T]] = field(default_factory=list)
    tenants: ActiveList[_Tenant[T]] = field(default_factory=lambda: ActiveList(_IDLE_TENANTS))


class TenantStatistics(Struct, frozen=True):
    """One tenant at one moment, over both classes; counted as in `FairQueueStatistics`."""

    tenant: str
    queued: int
    unsettled: int


class FairQueueStatistics(Struct, frozen=True):
    """A fair queue at one moment. `refused` and `returned` count from the start.

    queued: all calls that wait; interactive and batch: by class. unsettled: charged and not settled, those
    put back included. batch_due: tokens that batch is owed, negative where it owes. tenants: the 20 that have
    most calls waiting to be taken for the first time. remembered: tenants and tasks that the queue knows.
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
    remembered: int


class FairQueue(Generic[T]):
    """A bounded queue that serves classes, tenants and tasks fairly by tokens.

    `batch_share` is the part of the tokens that batch gets while both classes wait, within one call.
    `weights` are those of tenants, 1 where not named. `burst` is what a task may have before the next one is
    served. A call is pushed, popped, and then settled, or put back and popped again. An operation that does
    not fit the ticket's state raises InvalidTransitionError and changes nothing.
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
        self._capacity = capacity
        self._burst = burst
        self._weights = dict(weights)
        self._batch_rate = batch_share / (1 - batch_share)  # tokens due to batch per interactive token
        self._batch_due = 0.0
        self._interactive: _Class[T] = _Class()
        self._batch: _Class[T] = _Class()
        self._turns = itertools.count()
        self._refused = self._returned = 0

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
        # A call without tokens would never advance its tenant, and no other tenant would be served.
        ticket = Ticket(entry, tokens or 1, self._find(self._of(priority), tenant, task))
        self._move(ticket, _QUEUED)
        return ticket

    def peek(self, only: Priority | None = None) -> Ticket[T] | None:
        """Return the ticket that `pop` would take, None where nothing is queued."""
        if only is not None:
            of_class = self._of(only)
        elif self._batch.waiting and (self._batch_due > 0 or not self._interactive.waiting):
            of_class = self._batch
        else:
            of_class = self._interactive
        if not of_class.waiting:
            return None
        if of_class.returned:
            return of_class.returned[0]
        return next(iter(of_class.tenants.first().tasks.first().calls))

    def pop(self, only: Priority | None = None) -> Ticket[T] | None:
        """Take the next call, `only` of this class if one is named; None where nothing is queued."""
        ticket = self.peek(only)
        if ticket is None:
            return None
        if ticket.state is _RETURNED:
            self._move(ticket, _TAKEN)
            return ticket
        tenant = ticket.task.tenant
        tenant.of_class.virtual = tenant.rank
        ticket.turn = next(self._turns)
        ticket.contended = bool(self._interactive.waiting and self._batch.waiting)
        self._move(ticket, _TAKEN, ticket.tokens)
        return ticket

    def push_back(self, ticket: Ticket[T]) -> None:
        """Queue a taken call again: before all others of its class, and beyond capacity."""
        _expect(ticket, "push back", _TAKEN)
        self._move(ticket, _RETURNED)
        self._returned += 1

    def settle(self, ticket: Ticket[T], actual_tokens: int) -> None:
        """End a taken call, and charge what it took: 0 where it took nothing.

        Raises ValueError for negative tokens.
        """
        _expect(ticket, "settle", _TAKEN)
        if actual_tokens < 0:
            raise ValueError(f"call {ticket.entry}: tokens are not negative, unlike {actual_tokens}")
        self._move(ticket, _ENDED, actual_tokens - ticket.tokens)

    def remove(self, ticket: Ticket[T]) -> None:
        """End a queued call that shall not be served; one that was put back is refunded."""
        _expect(ticket, "remove", _QUEUED, _RETURNED)
        self._move(ticket, _ENDED, -ticket.tokens if ticket.state is _RETURNED else 0)

    def statistics(self) -> FairQueueStatistics:
        """Return a snapshot. Costs O(tenants)."""
        queued: Counter[str] = Counter()
        unsettled: Counter[str] = Counter()
        tenants = [*self._interactive.tenants.members.values(), *self._batch.tenants.members.values()]
        for tenant in tenants:
            queued[tenant.name] += tenant.queued
            unsettled[tenant.name] += tenant.unsettled
        most = heapq.nlargest(SHOWN_TENANTS, queued.items(), key=lambda item: item[1])
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
            remembered=sum(1 + len(tenant.tasks.members) for tenant in tenants),
        )

    def check_invariants(self) -> None:
        """Raise InvariantError where the queue's counts do not agree. Costs O(everything)."""
        right = abs(self._batch_due) <= _LARGEST_DUE and (self._batch_due <= 0 or self._batch.waiting > 0)
        for of_class in (self._interactive, self._batch):
            tenants = of_class.tenants.members.values()
            right &= of_class.tenants.is_sound()
            right &= of_class.waiting == len(of_class.returned) + sum(tenant.queued for tenant in tenants)
            right &= all(ticket.state is _RETURNED for ticket in of_class.returned)
            for tenant in tenants:
                tasks = tenant.tasks.members.values()
                right &= tenant.tasks.is_sound()
                right &= (tenant.entry is not None) == bool(tenant.queued)
                right &= tenant.queued == sum(len(task.calls) for task in tasks)
                right &= all((task.entry is not None) == bool(task.calls) for task in tasks)
                right &= all(ticket.state is _QUEUED for task in tasks for ticket in task.calls)
        if not right:
            raise InvariantError(f"{self!r}: its counts do not agree")

    def __repr__(self) -> str:
        waiting = f"{self._interactive.waiting} interactive, {self._batch.waiting} batch"
        return f"<FairQueue {waiting} of {self._capacity}, {self._batch_due:.0f} tokens due to batch>"

    def _of(self, priority: Priority) -> _Class[T]:
        return self._interactive if priority is Priority.INTERACTIVE else self._batch

    def _find(self, of_class: _Class[T], tenant_name: str, task_name: str) -> _QueuedTask[T]:
        """Return a task for a call to be pushed, made where it is not known."""
        tenant = of_class.tenants.members.get(tenant_name)
        if tenant is None:
            tenant = _Tenant(tenant_name, 0.0, of_class=of_class, weight=self._weights.get(tenant_name, 1.0))
            of_class.tenants.members[tenant_name] = tenant
        if not tenant.queued:
            # After refunds the virtual time may be ahead of all tenants: one that started there would starve.
            active = of_class.waiting > len(of_class.returned)
            first = of_class.tenants.first().rank if active else math.inf
            tenant.rank = max(tenant.rank, min(of_class.virtual, first))
        task = tenant.tasks.members.get(task_name)
        if task is None:
            task = tenant.tasks.members[task_name] = _QueuedTask(
                task_name, next(tenant.places), tenant=tenant
            )
        return task

    def _move(self, ticket: Ticket[T], state: TicketState, charge: int = 0) -> None:
        """Take a call to `state`, charge it, and put its task and tenant where they belong then."""
        task = ticket.task
        tenant = task.tenant
        of_class = tenant.of_class
        before, ticket.state = ticket.state, state
        if state is _QUEUED:
            task.calls[ticket] = None
            tenant.queued += 1
            of_class.waiting += 1
        elif before is _QUEUED:
            del task.calls[ticket]
            tenant.queued -= 1
            of_class.waiting -= 1
            if state is _TAKEN:
                tenant.unsettled += 1
                of_class.unsettled += 1
        elif state is _RETURNED:
            insort(of_class.returned, ticket, key=_turn)
            of_class.waiting += 1
        elif before is _RETURNED:
            del of_class.returned[bisect_left(of_class.returned, ticket.turn, key=_turn)]
            of_class.waiting -= 1
        if state is _ENDED and before is not _QUEUED:
            tenant.unsettled -= 1
            of_class.unsettled -= 1
        if charge:
            self._charge(ticket, charge)
        if task.calls:
            tenant.tasks.put(task)
        else:
            tenant.tasks.retire(task)
        if tenant.queued:
            of_class.tenants.put(tenant)
        else:
            self._rest(tenant)

    def _rest(self, tenant: _Tenant[T]) -> None:
        """Take a tenant without queued calls out of the order; forget what its busy period needed."""
        of_class = tenant.of_class
        of_class.tenants.retire(tenant)
        if not tenant.unsettled:
            tenant.tasks.clear()
        if not of_class.waiting and not of_class.unsettled:
            of_class.tenants.clear()
        if not self._batch.waiting:
            self._batch_due = min(self._batch_due, 0.0)  # kept, it would be credit for being idle

    def _charge(self, ticket: Ticket[T], tokens: int) -> None:
        """Charge a call to its task and tenant, and to its class if the other class waited."""
        task, tenant = ticket.task, ticket.task.tenant
        task.spent += tokens
        if task.spent >= self._burst:
            task.spent -= self._burst
            task.rank = next(tenant.places)
        tenant.rank += tokens / tenant.weight
        if ticket.contended:
            is_batch = tenant.of_class is self._batch
            due = self._batch_due + (-tokens if is_batch else tokens * self._batch_rate)
            self._batch_due = min(max(due, -_LARGEST_DUE), _LARGEST_DUE if self._batch.waiting else 0.0)


def _expect(ticket: Ticket[T], event: str, *states: TicketState) -> None:
    if ticket.state not in states:
        raise InvalidTransitionError(f"call {ticket.entry}", ticket.state.value, event)
