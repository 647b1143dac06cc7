"""The LLM clients of one endpoint: which client has each attempt, and whether the attempt has started.

Each client has a share of the endpoint's limit, and may hold a few attempts more, so that the next one starts
as soon as one ends, without a round trip. The pool mirrors the slot queue of each client: the mirror applies
the same rules to the same events.
"""

from __future__ import annotations

from msgspec import Struct, field

from actors.core.errors import InvariantError
from actors.core.queue.slot_queue import SlotQueue, SlotStatistics


class _PooledClient(Struct):
    queue: SlotQueue[int] = field(default_factory=SlotQueue)
    share_sent: bool = False  # whether its current share was sent to it
    leaving: bool = False


class ClientPool:
    """The clients of one endpoint. Attempts are identified by their ids.

    `allot` and `end` may start waiting attempts. Call `promote` next, which returns them.
    """

    def __init__(self) -> None:
        self._clients: dict[str, _PooledClient] = {}
        self._slots = 0
        self._holder: dict[int, str] = {}
        self._waiting = 0
        self._first: set[int] = set()  # attempts that go before others, in flight or waiting
        self._promoted: list[int] = []

    @property
    def first(self) -> int:
        """The number of attempts, in flight or waiting, that go before others."""
        return len(self._first)

    @property
    def waiting(self) -> int:
        """The number of attempts that wait for a slot at a client."""
        return self._waiting

    @property
    def has_clients(self) -> bool:
        """Whether there is a client that takes attempts."""
        return any(not client.leaving for client in self._clients.values())

    @property
    def slots(self) -> int:
        """The number of slots last allotted."""
        return self._slots

    def join(self, client: str) -> None:
        """Add `client`, or add it again. It has no share until the next `allot`."""
        known = self._clients.setdefault(client, _PooledClient())
        known.queue.set_slots(0)
        known.share_sent = known.leaving = False

    def leave(self, client: str) -> None:
        """Stop using `client`, and remove it once all of its attempts have ended.

        An attempt may have been sent to it before this event arrived.
        """
        gone = self._clients.get(client)
        if gone is not None:
            gone.queue.set_slots(0)
            gone.leaving = True
            self._forget_if_gone(client, gone)

    def reserved(self, client: str) -> int:
        """Return how many slots of `client` are reserved for attempts that go before others."""
        return self._clients[client].queue.reserved

    def allot(self, slots: int, reserved: int = 0) -> list[tuple[str, int]]:
        """Divide `slots` evenly. Return each client to which its share must be sent, with the share.

        At `reserved` of the clients, one slot is reserved for attempts that go before others. Unless `slots`
        is 0, each client gets at least one: an attempt on its way to a client without a slot would never
        start, and it may hold the only permit.
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
            if (new, kept) != (client.queue.slots, client.queue.reserved) or not client.share_sent:
                self._promoted += client.queue.set_slots(new, kept)
                client.share_sent = True
                changed.append((name, new))
        return changed

    @property
    def has_unsent_shares(self) -> bool:
        """Whether a client cannot use its share until it is sent again: it is new, or was refused."""
        return any(not client.share_sent and not client.leaving for client in self._clients.values())

    def with_free_slot(self, *, first: bool = False) -> str | None:
        """Return the client with the most free slots, None if no slot is free."""
        best, most = None, 0
        for name, client in self._clients.items():
            free = client.queue.free(first=first)
            if free > most:
                best, most = name, free
        return best

    def with_shortest_queue(self, *, first: bool = False) -> str | None:
        """Return the client where an attempt would wait the shortest, None if there is none.

        Skips clients with a free slot: the attempt would start there at once, without a permit.
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
        """Record that `attempt` was sent to `client`, where it starts or waits for a slot."""
        self._holder[attempt] = client
        if first:
            self._first.add(attempt)
        started = self._clients[client].queue.offer(attempt, attempt, first=first)
        self._waiting += not started

    def take_over(self, client: str, attempt: int) -> None:
        """Record an attempt of an earlier dispatcher that `client` has in flight."""
        self._holder[attempt] = client
        self._clients[client].queue.take_over(attempt)

    def holder(self, attempt: int) -> str | None:
        """Return the client that has `attempt`, None if it is unknown."""
        return self._holder.get(attempt)

    def end(self, attempt: int, *, refused: bool = False) -> None:
        """Record that `attempt` has ended. After a refusal the client must be sent its share again."""
        name = self._holder.pop(attempt, None)
        if name is None:
            return
        client = self._clients[name]
        self._first.discard(attempt)
        if client.queue.withdraw(attempt) is not None:
            self._waiting -= 1
        self._promoted += client.queue.end(attempt, refused=refused)
        if refused:
            client.share_sent = False
        self._forget_if_gone(name, client)

    def promote(self) -> list[int]:
        """Return the waiting attempts that have started since the last call."""
        promoted, self._promoted = self._promoted, []
        self._waiting -= len(promoted)
        return promoted

    def statistics(self) -> dict[str, SlotStatistics]:
        """Return a frozen snapshot for each client."""
        return {name: client.queue.statistics() for name, client in self._clients.items()}

    def check_invariants(self) -> None:
        """Raise InvariantError if the parts disagree."""
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
