"""The LLM clients of one endpoint that a dispatcher knows: where each attempt is, and whether it has started.

Slots are counted where requests are sent. Each client has a share of the endpoint's limit, and may hold a few
attempts more, so that the next one starts the moment one ends, without a round trip. The pool has a mirror of
each client's slot queue, which applies the same rule to the same ends.
"""

from __future__ import annotations

from msgspec import Struct, field

from actors.core.errors import InvariantError
from actors.core.queue.slot_queue import SlotQueue, SlotStatistics


class _PooledClient(Struct):
    queue: SlotQueue[int] = field(default_factory=SlotQueue)
    told: bool = False  # of its slots
    leaving: bool = False


class ClientPool:
    """The clients of one endpoint. Attempts are named by their ids.

    `allot` and `end` may start attempts that waited. `promote` returns them, and must be called next.
    """

    def __init__(self) -> None:
        self._clients: dict[str, _PooledClient] = {}
        self._slots = 0
        self._holder: dict[int, str] = {}
        self._waiting = 0
        self._first: set[int] = set()  # under way, and went or go first
        self._promoted: list[int] = []

    @property
    def first(self) -> int:
        """Attempts under way that went first, or will."""
        return len(self._first)

    @property
    def waiting(self) -> int:
        """Attempts handed over that are not known to have started, over all clients."""
        return self._waiting

    @property
    def has_clients(self) -> bool:
        """Whether there is a client to hand an attempt to."""
        return any(not client.leaving for client in self._clients.values())

    @property
    def slots(self) -> int:
        """The slots last allotted, over all clients."""
        return self._slots

    def join(self, client: str) -> None:
        """Count `client` in, or in anew: it has no share until the next `allot`."""
        known = self._clients.setdefault(client, _PooledClient())
        known.queue.set_slots(0)
        known.told = known.leaving = False

    def leave(self, client: str) -> None:
        """Give `client` nothing more, and forget it once what it holds has ended.

        An attempt may have been handed over while the news of the loss was on its way.
        """
        gone = self._clients.get(client)
        if gone is not None:
            gone.queue.set_slots(0)
            gone.leaving = True
            self._forget_if_gone(client, gone)

    def reserved(self, client: str) -> int:
        """Return how many of the slots of `client` are for attempts that go first."""
        return self._clients[client].queue.reserved

    def allot(self, slots: int, reserved: int = 0) -> list[tuple[str, int]]:
        """Split `slots` evenly; return the clients that must be told their share, and the share.

        At `reserved` of the clients, one of its slots is for attempts that go first. Unless `slots` is 0,
        each client gets one at least: an attempt on its way to a client without any would never start, and it
        may hold the only permit there is.
        """
        self._slots = slots
        staying = [(name, client) for name, client in self._clients.items() if not client.leaving]
        if not staying:
            return []
        share, rest = divmod(max(slots, len(staying)) if slots else 0, len(staying))
        changed = []
        for position, (name, client) in enumerate(staying):
            new = share + (position < rest)
            kept = int(position < reserved and new > 1)
            if (new, kept) != (client.queue.slots, client.queue.reserved) or not client.told:
                self._promoted += client.queue.set_slots(new, kept)
                client.told = True
                changed.append((name, new))
        return changed

    @property
    def is_braked(self) -> bool:
        """Whether some client must be told its share before it can use it: it is new, or was refused."""
        return any(not client.told and not client.leaving for client in self._clients.values())

    def with_free_slot(self, *, first: bool = False) -> str | None:
        """Return the client with the most free slots, None where there is none."""
        best, most = None, 0
        for name, client in self._clients.items():
            free = client.queue.free(first=first)
            if free > most:
                best, most = name, free
        return best

    def with_shortest_queue(self, *, first: bool = False) -> str | None:
        """Return the client where an attempt would wait the least, None where it would wait nowhere.

        A client with a slot free is passed over: there it would start at once, without a permit.
        """
        best, least = None, 0.0
        for name, client in self._clients.items():
            queue = client.queue
            if queue.slots == 0 or queue.free(first=first) > 0:
                continue
            length = queue.ahead(first=first) / queue.slots
            if best is None or length < least:
                best, least = name, length
        return best

    def hand_over(self, client: str, attempt: int, *, first: bool = False) -> None:
        """Take note that `attempt` was handed to `client`: it starts there, or waits for a slot."""
        self._holder[attempt] = client
        if first:
            self._first.add(attempt)
        started = self._clients[client].queue.offer(attempt, attempt, first=first)
        self._waiting += not started

    def take_over(self, client: str, attempt: int) -> None:
        """Take note that `client` started `attempt` before it was known here."""
        self._holder[attempt] = client
        self._clients[client].queue.take_over(attempt)

    def holder(self, attempt: int) -> str | None:
        """Return the client that has `attempt`."""
        return self._holder.get(attempt)

    def end(self, attempt: int, *, refused: bool = False) -> None:
        """Take note that `attempt` has ended. A client that was refused must be told its share again."""
        name = self._holder.pop(attempt, None)
        if name is None:
            return
        client = self._clients[name]
        self._first.discard(attempt)
        if client.queue.withdraw(attempt) is not None:
            self._waiting -= 1
        self._promoted += client.queue.end(attempt, refused=refused)
        if refused:
            client.told = False
        self._forget_if_gone(name, client)

    def promote(self) -> list[int]:
        """Return the attempts that waited and that their clients have started since the last time."""
        promoted, self._promoted = self._promoted, []
        self._waiting -= len(promoted)
        return promoted

    def statistics(self) -> dict[str, SlotStatistics]:
        """Return a frozen snapshot for each client."""
        return {name: client.queue.statistics() for name, client in self._clients.items()}

    def check_invariants(self) -> None:
        """Raise InvariantError where the parts disagree."""
        queues = [client.queue for client in self._clients.values()]
        for queue in queues:
            queue.check_invariants()
        held = sum(len(queue) for queue in queues)
        if held != len(self._holder):
            raise InvariantError(f"clients hold {held} attempts, {len(self._holder)} are known")
        if self._waiting != len(self._promoted) + sum(queue.waiting for queue in queues):
            raise InvariantError("the count of waiting attempts is wrong")
        if sum(queue.slots for queue in queues) > max(self._slots, len(queues)):
            raise InvariantError("shares exceed the limit")
        if any(client.leaving and client.queue.slots for client in self._clients.values()):
            raise InvariantError("a client that left has a share")

    def _forget_if_gone(self, name: str, client: _PooledClient) -> None:
        if client.leaving and not len(client.queue):
            del self._clients[name]
