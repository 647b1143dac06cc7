"""What waits, and where: a call in the line of its task, a task with its tenant, a tenant in its class.

Rule 1: only the queue (`fair_queue.py`) changes what is here; it holds the policy, these hold the calls.
Rule 2: a call that is cancelled stays in its line until it comes first, or until half of the line is of that
kind: taking it out of the middle would cost the length of the line.
"""

from __future__ import annotations

import enum
import heapq
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from actors.core.queue.flows import Flow, Level
from actors.core.queue.task_order import InLine, Line

T = TypeVar("T")

_SLACK = 16  # cancelled calls that are not worth clearing away


class TicketState(enum.Enum):
    """Where a call is between `push` and its end."""

    QUEUED = "queued"
    TAKEN = "taken"
    RETURNED = "returned"  # queued again, and charged already
    ENDED = "ended"


_QUEUED, _, _RETURNED, _ENDED = TicketState  # looking them up on the class costs a tenth of a `pop`


class Ticket(Generic[T]):
    """One call in the queue, which alone changes it. `tokens` is what it is charged for.

    `start` is its tenant's tag when it was first taken; `contended`, whether the other class waited then.
    """

    __slots__ = ("contended", "entry", "start", "state", "task", "tokens")

    def __init__(self, entry: T, tokens: int, task: TaskFlow[T]) -> None:
        self.entry = entry
        self.tokens = tokens
        self.task = task
        self.state = _QUEUED
        self.start = 0.0
        self.contended = False

    def __repr__(self) -> str:
        return f"<Ticket {self.entry}, {self.tokens} tokens, {self.state.value}>"


class TaskFlow(InLine, Generic[T]):
    """The calls of one task that were never taken, in order."""

    __slots__ = ("line", "tenant")

    def __init__(self, name: str, tenant: TenantFlow[T]) -> None:
        super().__init__(name)
        self.tenant = tenant
        self.line: deque[Ticket[T]] = deque()

    def first(self) -> Ticket[T]:
        """Return the first call in line. There must be one queued."""
        while self.line[0].state is _ENDED:
            self.line.popleft()
        return self.line[0]

    def tidy(self) -> None:
        """Clear away what was cancelled, once it is half of the line."""
        if len(self.line) > 2 * self.queued + _SLACK or not self.queued:
            self.line = deque(ticket for ticket in self.line if ticket.state is _QUEUED)


class TenantFlow(Flow, Generic[T]):
    """A tenant's tasks in one class."""

    __slots__ = ("of_class", "tasks")

    def __init__(self, name: str, weight: float, of_class: ClassFlows[T], burst: int) -> None:
        super().__init__(name, weight)
        self.of_class = of_class
        self.tasks: Line[TaskFlow[T]] = Line(burst)


class ClassFlows(Generic[T]):
    """The tenants of one priority. `waiting` counts all queued calls, those in `returned` included."""

    __slots__ = ("returned", "tenants", "unsettled", "waiting")

    def __init__(self) -> None:
        self.tenants: Level[TenantFlow[T]] = Level()
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

    def problems(self) -> Iterator[str]:
        """Yield what is impossible about this class. Costs O(all its calls)."""
        tenants = self.tenants.flows.values()
        yield from self.tenants.problems()
        returned = sum(item[2].state is _RETURNED for item in self.returned)
        if self.waiting != returned + sum(tenant.queued for tenant in tenants):
            yield "what waits in the tenants is not what waits in their class"
        if self.unsettled != sum(tenant.unsettled for tenant in tenants):
            yield "what is unsettled in the tenants is not what is in their class"
        for tenant in tenants:
            tasks = tenant.tasks.flows.values()
            yield from tenant.tasks.problems()
            if tenant.queued != sum(task.queued for task in tasks):
                yield f"what waits in the tasks of {tenant.name!r} is not what waits in it"
            for task in tasks:
                if task.queued != sum(ticket.state is _QUEUED for ticket in task.line):
                    yield f"what waits in task {task.name!r} is not what it counts"
