"""Routes: one fair queue for each set of endpoints that calls may use.

Rule 1: a route whose endpoints have no room holds back no other route.
Rule 2: where routes share an endpoint, the one that has had fewer tokens goes first (start-time fair
queueing, as between the tenants of a fair queue). A route that was idle or held back is owed a burst at most.
Rule 3: an endpoint without room for the next call of a route has none for the routes that go after it.
Otherwise their smaller calls would use up the tokens that it waits for. Interactive calls may still use the
slots that are reserved for them.
Rule 4: the bound of queued calls applies to all routes together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from actors.core.errors import InvariantError
from actors.core.messages.values import Priority
from actors.core.queue.fair_queue import (
    SHOWN_TENANTS,
    FairQueue,
    FairQueueStatistics,
    TenantStatistics,
)

_BURST = 50_000.0  # tokens by which a route may be behind another

T = TypeVar("T")


class Named(Protocol):
    """An endpoint, which is known by its name."""

    name: str


E = TypeVar("E", bound=Named)


class Route(Struct, Generic[T, E], eq=False):
    """The calls of one set of endpoints. `rank` is the tokens that it has had, with those it did not want."""

    endpoints: Sequence[E]
    queue: FairQueue[T]
    rank: float = 0.0


class Routes(Generic[T, E]):
    """The routes by the names of their endpoints. A route is made when a call first names its endpoints."""

    def __init__(self, endpoints: Sequence[E], capacity: int, *, weights: Mapping[str, float] = {}) -> None:
        self._endpoints = endpoints
        self._capacity = capacity
        self._weights = weights
        self._routes: list[Route[T, E]] = []
        self._by_names: dict[tuple[str, ...], Route[T, E]] = {}
        self._virtual = 0.0  # the highest rank that was served
        self._refused = 0

    def __len__(self) -> int:
        return sum(len(route.queue) for route in self._routes)

    def __iter__(self) -> Iterator[Route[T, E]]:
        return iter(self._routes)

    def unknown(self, names: Iterable[str]) -> list[str]:
        """Return those of `names` that no endpoint has."""
        known = {endpoint.name for endpoint in self._endpoints}
        return [name for name in names if name not in known]

    def of(self, names: tuple[str, ...]) -> Route[T, E]:
        """Return the route of calls that name these endpoints; of all endpoints if there are no names."""
        route = self._by_names.get(names)
        if route is None:
            route = self._by_names[names] = self._made(names)
        return route

    def queue_with_room(self, names: tuple[str, ...]) -> FairQueue[T] | None:
        """Return the queue of calls that name these endpoints, None if all queues together are full."""
        route = self.of(names)
        if len(self._routes) > 1:  # a queue alone observes the bound itself
            if len(self) >= self._capacity:
                self._refused += 1
                return None
            if not len(route.queue):
                route.rank = max(route.rank, self._virtual)
        return route.queue

    def charge(self, route: Route[T, E], tokens: int) -> None:
        """Charge `route` for a call that it has placed."""
        # Without the burst as a bound, a route that was held back for an hour would keep the others out.
        rank = max(route.rank, self._virtual - _BURST)
        self._virtual = max(self._virtual, rank)
        route.rank = rank + tokens

    def turns(self) -> Turns[T, E]:
        """Return the order in which to serve the routes now."""
        return Turns(self, [route for route in self._routes if len(route.queue)])

    def statistics(self) -> FairQueueStatistics:
        """Return a snapshot of all routes together. Costs O(tenants)."""
        each = [route.queue.statistics() for route in self._routes]
        tenants: dict[str, Counter[str]] = {}
        for queue in each:
            for tenant in queue.tenants:
                counts = Counter(queued=tenant.queued, unsettled=tenant.unsettled)
                tenants.setdefault(tenant.tenant, Counter()).update(counts)
        shown = [TenantStatistics(name, it["queued"], it["unsettled"]) for name, it in tenants.items()]
        shown.sort(key=lambda tenant: -tenant.queued)
        return FairQueueStatistics(
            queued=sum(it.queued for it in each),
            capacity=self._capacity,
            interactive=sum(it.interactive for it in each),
            batch=sum(it.batch for it in each),
            unsettled=sum(it.unsettled for it in each),
            refused=self._refused + sum(it.refused for it in each),
            returned=sum(it.returned for it in each),
            batch_due=sum(it.batch_due for it in each),
            tenants=tuple(shown[:SHOWN_TENANTS]),
            remembered=sum(it.remembered for it in each),
        )

    def check_invariants(self) -> None:
        """Raise InvariantError if two routes have the same endpoints, or the parts of a queue disagree."""
        sets = {frozenset(endpoint.name for endpoint in route.endpoints) for route in self._routes}
        if len(sets) != len(self._routes):
            raise InvariantError("two routes have the same endpoints")
        for route in self._routes:
            route.queue.check_invariants()

    def _made(self, names: tuple[str, ...]) -> Route[T, E]:
        """Return the known route with these endpoints, or a new one."""
        chosen = [endpoint for endpoint in self._endpoints if not names or endpoint.name in names]
        for route in self._routes:
            if list(route.endpoints) == chosen:
                return route
        route = Route[T, E](chosen, FairQueue(self._capacity, weights=self._weights), self._virtual)
        self._routes.append(route)
        return route


class Turns(Generic[T, E]):
    """One pass over the routes, until each is empty or blocked. `full` has the endpoints without room.

    `next` returns the route whose next call is to be placed. The other methods are about that route.
    """

    __slots__ = ("_bindings", "_only", "_open", "_reserved_full", "_route", "_routes", "full", "only")

    def __init__(self, routes: Routes[T, E], waiting: list[Route[T, E]]) -> None:
        self._routes = routes
        self._open = waiting
        self._route: Route[T, E]
        self._only: dict[Route[T, E], Priority] = {}
        self._bindings: dict[str, None] = {}
        self._reserved_full: set[E] = set()
        self.full: set[E] = set()
        self.only: Priority | None = None  # the class of calls that the route may still place, None if both

    def next(self) -> Route[T, E] | None:
        """Return the route to serve now, None if all are empty or blocked."""
        waiting = self._open
        if not waiting:
            return None
        self._route = route = waiting[0] if len(waiting) == 1 else min(waiting, key=_rank)
        self.only = self._only.get(route) if self._only else None
        return route

    def endpoints(self, priority: Priority) -> Sequence[E]:
        """Return the endpoints of the route that may have room for a call of this class."""
        if not self.full:
            return self._route.endpoints
        full = self._reserved_full if priority is Priority.INTERACTIVE else self.full
        return [each for each in self._route.endpoints if each not in full]

    def take(self) -> None:
        """Take the next call of the route from its queue: it is placed, or must wait elsewhere."""
        ticket = self._route.queue.pop(self.only)
        if len(self._open) > 1 and ticket is not None:
            self._routes.charge(self._route, ticket.tokens)

    def block(self, priority: Priority, why: str) -> None:
        """Record that no endpoint of the route has room for its next call, which is of this class."""
        route = self._route
        self.full.update(route.endpoints)
        if why and route not in self._only:
            self._bindings[why] = None
        if priority is Priority.INTERACTIVE:
            self._reserved_full.update(route.endpoints)
            self.end()
        else:  # interactive calls have reserved slots, so a batch call must not block them
            self._only[route] = Priority.INTERACTIVE

    def end(self) -> None:
        """Serve the route no more in this pass."""
        self._open.remove(self._route)

    @property
    def binding(self) -> str:
        """The causes that hold back the calls of blocked routes, an empty string if none is blocked."""
        return "; ".join(self._bindings)


def _rank(route: Route[T, E]) -> float:
    return route.rank
