"""Who goes next: class, then tenant, then task.

Rule 1: interactive calls go before batch calls; while both wait, batch gets its share of the tokens.
Rule 2: within a class tenants share by weight, and within a tenant tasks share equally, both counted in
tokens, not in calls. Within a task calls keep their order.
Rule 3: nothing is scanned. An operation costs O(log n) in the flows (tenants or tasks) with calls waiting,
and nothing in the calls that wait. What is cancelled stays where it is until it comes first, or until it
is half of what a heap or a line holds.
Rule 4: a call is charged once, by its estimate, when it is first taken, and settled with the truth when it
ends. A refused call goes back to the front and is not charged again.

The algorithm is start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996), in two levels. Each flow has a
tag: the virtual time at which its next call may start. The flow with the smallest tag is served; its tag
then moves on by tokens / weight. The virtual time of a level is the tag of the flow served last. A flow that
wakes up starts at the later of its own tag and the virtual time: being idle earns nothing, and coming back
does not cancel what was taken.
"""

from __future__ import annotations

import enum
import heapq
import itertools
import math
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from actors.core.errors import InvalidTransitionError, InvariantError
from actors.core.messages import Priority

T = TypeVar("T")
F = TypeVar("F", bound="_Flow")

_REMEMBERED = 1024  # idle flows per level whose tag is kept; others may come back a call too early
_LARGEST_DUE = 100_000.0  # tokens one class may owe the other, so that no wrong estimate blocks it for long
_SHOWN_TENANTS = 20
_SLACK = 16  # cancelled things that are not worth clearing away


class TicketState(enum.Enum):
    """Where a call is between `push` and its end."""

    QUEUED = "queued"
    TAKEN = "taken"
    RETURNED = "returned"  # queued again, and charged already
    ENDED = "ended"


_QUEUED, _TAKEN, _RETURNED, _ENDED = TicketState  # looking them up on the class costs a tenth of a `pop`


class Ticket(Generic[T]):
    """One call in the queue, which alone changes it. `tokens` is what it is charged for.

    `start` is its tenant's tag when it was first taken; `contended`, whether the other class waited then.
    """

    __slots__ = ("contended", "entry", "key", "start", "state", "task", "tokens")

    def __init__(self, key: str, entry: T, tokens: int, task: _Task[T]) -> None:
        self.key = key
        self.entry = entry
        self.tokens = tokens
        self.task = task
        self.state = _QUEUED
        self.start = 0.0
        self.contended = False

    def __repr__(self) -> str:
        return f"<Ticket {self.key}, {self.tokens} tokens, {self.state.value}>"


class _Flow:
    """What competes on a level.

    `queued` counts calls never taken, `unsettled` those charged and not settled. `tag` is fixed while the
    flow is `listed` in its level's heap; corrections gather in `debt` until it is served.
    """

    __slots__ = ("debt", "listed", "name", "queued", "tag", "unsettled", "weight")

    def __init__(self, name: str, weight: float) -> None:
        self.name = name
        self.weight = weight
        self.tag = 0.0
        self.debt = 0.0
        self.queued = 0
        self.unsettled = 0
        self.listed = False


class _Level(Generic[F]):
    """Start-time fair queueing among flows. `forget` is told of each flow that is dropped."""

    __slots__ = ("_forget", "_ghosts", "_heap", "_idle", "_serial", "_virtual", "flows")

    def __init__(self, forget: Callable[[F], None]) -> None:
        self.flows: dict[str, F] = {}
        self._virtual = 0.0
        self._heap: list[tuple[float, int, F]] = []  # the serial breaks ties: first come, first served
        self._ghosts = 0  # listed flows that have nothing queued any more
        self._idle: list[tuple[float, int, F]] = []
        self._serial = itertools.count()
        self._forget = forget

    def enqueue(self, flow: F) -> None:
        """Count a call that `flow` got, and list it if it was asleep."""
        flow.queued += 1
        if flow.queued > 1:
            return
        if flow.listed:  # its calls were cancelled, and its place was not cleared yet
            self._ghosts -= 1
            return
        # After refunds the virtual time may lie ahead of all flows: starting there would be starving.
        now = min(self._virtual, self._heap[0][0]) if self._heap else self._virtual
        flow.tag = max(flow.tag, now)
        flow.listed = True
        heapq.heappush(self._heap, (flow.tag, next(self._serial), flow))

    def first(self) -> F:
        """Return the flow to serve. There must be one with calls queued."""
        while not self._heap[0][2].queued:
            self._ghosts -= 1
            self._unlist(heapq.heappop(self._heap)[2])
        return self._heap[0][2]

    def charge(self, flow: F, tokens: int) -> None:
        """Count a call taken from the first flow, and move on its tag."""
        self._virtual = flow.tag
        flow.queued -= 1
        flow.unsettled += 1
        flow.tag += (tokens + flow.debt) / flow.weight
        flow.debt = 0.0
        if flow.queued:
            heapq.heapreplace(self._heap, (flow.tag, next(self._serial), flow))
        else:
            heapq.heappop(self._heap)
            flow.listed = False

    def settle(self, flow: F, excess: int) -> None:
        """Correct a charge by `excess` tokens, which may be negative."""
        flow.unsettled -= 1
        if flow.listed:
            flow.debt += excess
            return
        flow.tag += excess / flow.weight
        if not flow.unsettled:
            self._rest(flow)

    def cancel(self, flow: F) -> None:
        """Count a call that left without being served."""
        flow.queued -= 1
        if flow.queued:
            return
        self._ghosts += 1
        if self._ghosts * 2 > len(self._heap) + _SLACK:
            ghosts = [item[2] for item in self._heap if not item[2].queued]
            self._heap = [item for item in self._heap if item[2].queued]
            heapq.heapify(self._heap)
            self._ghosts = 0
            for ghost in ghosts:
                self._unlist(ghost)

    def clear(self) -> None:
        """Forget all flows: the end of a busy period. Nothing may be queued or unsettled."""
        for flow in self.flows.values():
            self._forget(flow)
        self.flows.clear()
        self._heap.clear()
        self._idle.clear()
        self._ghosts = 0
        self._virtual = 0.0

    def problems(self) -> Iterator[str]:
        """Yield what is impossible about this level. Costs O(flows)."""
        listed = Counter(item[2].name for item in self._heap)
        if listed != Counter(flow.name for flow in self.flows.values() if flow.listed):
            yield f"the flows listed are not those in the heap: {listed}"
        if self._ghosts != sum(not item[2].queued for item in self._heap):
            yield f"{self._ghosts} ghosts are not what the heap holds"
        for flow in self.flows.values():
            if flow.queued < 0 or flow.unsettled < 0 or (flow.queued and not flow.listed):
                yield f"{flow.name!r}: {flow.queued} queued, {flow.unsettled} unsettled, listed {flow.listed}"

    def _unlist(self, flow: F) -> None:
        flow.listed = False
        flow.tag += flow.debt / flow.weight
        flow.debt = 0.0
        if not flow.unsettled:
            self._rest(flow)

    def _rest(self, flow: F) -> None:
        """Forget an idle flow as soon as the virtual time has passed its tag.

        Forgotten earlier, a flow with one call at a time would come back at the virtual time, each time
        before the others, and starve them.
        """
        heapq.heappush(self._idle, (flow.tag, next(self._serial), flow))
        while self._idle and (self._idle[0][0] <= self._virtual or len(self._idle) > _REMEMBERED):
            tag, _, idle = heapq.heappop(self._idle)
            came_back = idle.listed or idle.unsettled or idle.tag != tag
            if not came_back and self.flows.get(idle.name) is idle:  # an old item may outlive its flow
                del self.flows[idle.name]
                self._forget(idle)


class _Task(_Flow, Generic[T]):
    """The calls of one task, in order. Those in `returned` go before those in `line`."""

    __slots__ = ("line", "returned", "tenant")

    def __init__(self, name: str, tenant: _Tenant[T]) -> None:
        super().__init__(name, 1.0)
        self.tenant = tenant
        self.line: deque[Ticket[T]] = deque()
        self.returned: dict[str, Ticket[T]] = {}

    def first(self) -> Ticket[T]:
        """Return the first call in line. There must be one queued."""
        while self.line[0].state is _ENDED:
            self.line.popleft()
        return self.line[0]


class _Tenant(_Flow, Generic[T]):
    """A tenant's tasks in one class."""

    __slots__ = ("lane", "tasks")

    def __init__(self, name: str, weight: float, lane: _Lane[T], forget: Callable[[_Task[T]], None]) -> None:
        super().__init__(name, weight)
        self.lane = lane
        self.tasks: _Level[_Task[T]] = _Level(forget)


class _Lane(Generic[T]):
    """One class. `waiting` counts all its queued calls, those in `returned` included."""

    __slots__ = ("returned", "tenants", "unsettled", "waiting")

    def __init__(self) -> None:
        self.tenants: _Level[_Tenant[T]] = _Level(lambda tenant: None)  # noqa: ARG005 - nothing else knows it
        # A returned call was first on its level once, so its old tag is not beyond the virtual time: to be
        # first in its class is where that tag puts it.
        self.returned: list[tuple[float, int, Ticket[T]]] = []
        self.waiting = 0
        self.unsettled = 0

    def first_returned(self) -> Ticket[T] | None:
        """Return the returned call with the oldest tag, None where there is none."""
        while self.returned and self.returned[0][2].state is not _RETURNED:
            heapq.heappop(self.returned)
        return self.returned[0][2] if self.returned else None


@dataclass(frozen=True, slots=True)
class TenantStatistics:
    """One tenant at one moment, over both classes; counted as in `FairQueueStatistics`."""

    tenant: str
    queued: int
    unsettled: int


@dataclass(frozen=True, slots=True)
class FairQueueStatistics:
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
    `weights` are of tenants, 1 where not named. A call is pushed, popped, and then settled, or pushed back
    and popped again. What does not fit a ticket's state raises InvalidTransitionError and changes nothing.
    """

    def __init__(self, capacity: int, *, batch_share: float = 0.2, weights: Mapping[str, float] = {}) -> None:
        if capacity < 1 or not 0 <= batch_share < 1:
            raise ValueError(f"fair queue: impossible capacity {capacity} or batch share {batch_share}")
        if not all(0 < weight < math.inf for weight in weights.values()):
            raise ValueError("fair queue: weights are positive and finite")
        self._weights = dict(weights)
        self._capacity = capacity
        self._batch_rate = batch_share / (1 - batch_share)  # tokens due to batch per interactive token
        self._batch_due = 0.0
        self._interactive: _Lane[T] = _Lane()
        self._batch: _Lane[T] = _Lane()
        self._lanes = {Priority.INTERACTIVE: self._interactive, Priority.BATCH: self._batch}
        self._queued: dict[str, Ticket[T]] = {}
        self._tasks: dict[str, list[_Task[T]]] = {}  # by name alone: what `remove_task` is told
        self._serial = itertools.count()
        self._refused = 0
        self._returned = 0

    def __len__(self) -> int:
        return len(self._queued)

    def push(self, key: str, entry: T, *, priority: Priority, tenant: str, task: str, tokens: int) -> bool:
        """Queue a call behind those of its task, or return False where the queue is full."""
        if key in self._queued:
            raise InvalidTransitionError(f"call {key}", "queued", "push")
        if tokens < 0:
            raise ValueError(f"call {key}: tokens are not negative, unlike {tokens}")
        if len(self._queued) >= self._capacity:
            self._refused += 1
            return False
        lane = self._lanes[priority]
        of_tenant = lane.tenants.flows.get(tenant) or self._add_tenant(lane, tenant)
        of_task = of_tenant.tasks.flows.get(task) or self._add_task(of_tenant, task)
        # A call without tokens would never move its flow's tag, and its flow would be served for ever.
        ticket = Ticket(key, entry, tokens or 1, of_task)
        self._queued[key] = ticket
        of_task.line.append(ticket)
        of_tenant.tasks.enqueue(of_task)
        lane.tenants.enqueue(of_tenant)
        lane.waiting += 1
        return True

    def peek(self) -> Ticket[T] | None:
        """Return the ticket that `pop` would take, None where nothing is queued."""
        lane = self._next_lane()
        if lane is None:
            return None
        return lane.first_returned() or lane.tenants.first().tasks.first().first()

    def pop(self) -> Ticket[T] | None:
        """Take the next call, None where nothing is queued."""
        lane = self._next_lane()
        if lane is None:
            return None
        ticket = lane.first_returned()
        if ticket is not None:
            heapq.heappop(lane.returned)
            del ticket.task.returned[ticket.key]
        else:
            ticket = self._take_first(lane)
        ticket.state = _TAKEN
        self._leave(lane, ticket)
        return ticket

    def push_back(self, ticket: Ticket[T]) -> None:
        """Queue a taken call again, at its old tag: before all others of its task, and beyond capacity."""
        if ticket.state is not _TAKEN or ticket.key in self._queued:
            raise InvalidTransitionError(f"call {ticket.key}", ticket.state.value, "push back")
        ticket.state = _RETURNED
        lane = ticket.task.tenant.lane
        self._queued[ticket.key] = ticket
        ticket.task.returned[ticket.key] = ticket
        heapq.heappush(lane.returned, (ticket.start, next(self._serial), ticket))
        lane.waiting += 1
        self._returned += 1

    def settle(self, ticket: Ticket[T], actual_tokens: int) -> None:
        """End a taken call, and charge what it took: 0 where it took nothing."""
        if ticket.state is not _TAKEN:
            raise InvalidTransitionError(f"call {ticket.key}", ticket.state.value, "settle")
        if actual_tokens < 0:
            raise ValueError(f"call {ticket.key}: tokens are not negative, unlike {actual_tokens}")
        self._settle(ticket, actual_tokens - ticket.tokens)

    def remove(self, key: str) -> T | None:
        """Take a queued call out for good, and return its entry; None where no such call is queued."""
        ticket = self._queued.get(key)
        if ticket is None:
            return None
        self._cancel(ticket)
        return ticket.entry

    def remove_task(self, task: str) -> list[T]:
        """Take out all queued calls of `task`, of all tenants, and return their entries in order.

        Costs O(calls of the task). Calls that are taken stay taken: each still has to be settled.
        """
        tickets = [
            ticket
            for flow in self._tasks.get(task, ())
            for ticket in (*flow.returned.values(), *flow.line)
            if ticket.state is not _ENDED
        ]
        for ticket in tickets:
            self._cancel(ticket)
        return [ticket.entry for ticket in tickets]

    def statistics(self) -> FairQueueStatistics:
        """Return a snapshot. Costs O(tenants)."""
        queued: Counter[str] = Counter()
        unsettled: Counter[str] = Counter()
        for lane in self._lanes.values():
            for name, tenant in lane.tenants.flows.items():
                queued[name] += tenant.queued
                unsettled[name] += tenant.unsettled
        most = heapq.nlargest(_SHOWN_TENANTS, queued.items(), key=lambda item: item[1])
        return FairQueueStatistics(
            queued=len(self._queued),
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
        problems = [*self._problems_of_queue()]
        for lane in self._lanes.values():
            problems += self._problems_of_lane(lane)
        if problems:
            raise InvariantError("fair queue: " + "; ".join(problems))

    def __repr__(self) -> str:
        waiting = f"{self._interactive.waiting} interactive, {self._batch.waiting} batch"
        return f"<FairQueue {waiting} of {self._capacity}, {self._batch_due:.0f} tokens due to batch>"

    def _next_lane(self) -> _Lane[T] | None:
        if not self._batch.waiting:
            return self._interactive if self._interactive.waiting else None
        if not self._interactive.waiting or self._batch_due > 0:
            return self._batch
        return self._interactive

    def _take_first(self, lane: _Lane[T]) -> Ticket[T]:
        """Take the first call that was never taken, and charge it on all levels."""
        tenant = lane.tenants.first()
        task = tenant.tasks.first()
        ticket = task.first()
        task.line.popleft()
        ticket.start = tenant.tag
        tenant.tasks.charge(task, ticket.tokens)
        lane.tenants.charge(tenant, ticket.tokens)
        lane.unsettled += 1
        if self._interactive.waiting and self._batch.waiting:
            ticket.contended = True
            self._owe(lane, ticket.tokens)
        return ticket

    def _owe(self, lane: _Lane[T], tokens: int) -> None:
        """Count tokens that one class got while the other waited."""
        due = self._batch_due + (tokens * self._batch_rate if lane is self._interactive else -tokens)
        # What batch was due while it waited is not kept for later: that would be credit for being idle.
        self._batch_due = min(max(due, -_LARGEST_DUE), _LARGEST_DUE if self._batch.waiting else 0.0)

    def _leave(self, lane: _Lane[T], ticket: Ticket[T]) -> None:
        del self._queued[ticket.key]
        lane.waiting -= 1
        if not self._batch.waiting:
            self._batch_due = min(self._batch_due, 0.0)

    def _settle(self, ticket: Ticket[T], excess: int) -> None:
        ticket.state = _ENDED
        task = ticket.task
        tenant = task.tenant
        lane = tenant.lane
        lane.unsettled -= 1
        tenant.tasks.settle(task, excess)
        lane.tenants.settle(tenant, excess)
        if ticket.contended:
            self._owe(lane, excess)
        self._end_busy_period(tenant)

    def _cancel(self, ticket: Ticket[T]) -> None:
        task = ticket.task
        tenant = task.tenant
        self._leave(tenant.lane, ticket)
        if ticket.state is _RETURNED:
            del task.returned[ticket.key]
            self._settle(ticket, -ticket.tokens)
            return
        ticket.state = _ENDED
        tenant.tasks.cancel(task)
        tenant.lane.tenants.cancel(tenant)
        if len(task.line) > 2 * task.queued + _SLACK or not task.queued:
            task.line = deque(waiting for waiting in task.line if waiting.state is _QUEUED)
        self._end_busy_period(tenant)

    def _end_busy_period(self, tenant: _Tenant[T]) -> None:
        """Drop what is known of a tenant, and of a class, that has nothing queued and nothing unsettled."""
        if not tenant.queued and not tenant.unsettled:
            tenant.tasks.clear()
        lane = tenant.lane
        if not lane.waiting and not lane.unsettled:
            lane.tenants.clear()

    def _add_tenant(self, lane: _Lane[T], name: str) -> _Tenant[T]:
        tenant = _Tenant(name, self._weights.get(name, 1.0), lane, self._forget_task)
        lane.tenants.flows[name] = tenant
        return tenant

    def _add_task(self, tenant: _Tenant[T], name: str) -> _Task[T]:
        task = _Task(name, tenant)
        tenant.tasks.flows[name] = task
        self._tasks.setdefault(name, []).append(task)
        return task

    def _forget_task(self, task: _Task[T]) -> None:
        of_name = self._tasks[task.name]
        of_name.remove(task)
        if not of_name:
            del self._tasks[task.name]

    def _problems_of_queue(self) -> Iterator[str]:
        lanes = self._lanes.values()
        if len(self._queued) != sum(lane.waiting for lane in lanes):
            yield "the classes do not add up to the queue"
        if abs(self._batch_due) > _LARGEST_DUE or (self._batch_due > 0 and not self._batch.waiting):
            yield f"{self._batch_due} tokens are due to batch"
        held = [
            task for lane in lanes for tenant in lane.tenants.flows.values() for task in tenant.tasks.flows
        ]
        if Counter(held) != Counter({name: len(flows) for name, flows in self._tasks.items()}):
            yield "the index of tasks is not what the tenants hold"

    def _problems_of_lane(self, lane: _Lane[T]) -> Iterator[str]:
        tenants = lane.tenants.flows.values()
        yield from lane.tenants.problems()
        returned = sum(item[2].state is _RETURNED for item in lane.returned)
        if lane.waiting != returned + sum(tenant.queued for tenant in tenants):
            yield "what waits in the tenants is not what waits in their class"
        if lane.unsettled != sum(tenant.unsettled for tenant in tenants):
            yield "what is unsettled in the tenants is not what is in their class"
        for tenant in tenants:
            tasks = tenant.tasks.flows.values()
            yield from tenant.tasks.problems()
            if tenant.queued != sum(task.queued for task in tasks):
                yield f"what waits in the tasks of {tenant.name!r} is not what waits in it"
            for task in tasks:
                if task.queued != sum(ticket.state is _QUEUED for ticket in task.line):
                    yield f"what waits in task {task.name!r} is not what it counts"
