"""Where the attempts at one endpoint are: at which client, and whether started or waiting there.

Slots are counted where requests are sent: each client holds a share of the endpoint's limit and may hold a
few attempts more, so that the next one starts the moment one ends, with no round trip. This is the
dispatcher's mirror of that. Rule: a client starts what waits in order, whenever fewer than its share are
started (`lane.py` has the whole of it); the mirror applies the same rule to the same ends, so the two agree
but for messages under way.
"""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Struct, field

from actors.core.errors import InvariantError


class ClientStatistics(Struct, frozen=True):
    """What the dispatcher believes of one client: attempts started, attempts waiting, slots allotted."""

    started: int
    waiting: int
    slots: int


class _Client(Struct):
    slots: int = 0
    reserved: int = 0  # of the slots, for attempts that go first
    told: bool = False  # of its slots
    leaving: bool = False
    started: set[int] = field(default_factory=set)
    first: OrderedDict[int, None] = field(default_factory=OrderedDict)  # these wait, and go first
    waiting: OrderedDict[int, None] = field(default_factory=OrderedDict)  # the others

    def free(self, *, first: bool) -> int:
        """Return how many slots are left for one more attempt of its kind; where none are, it would wait."""
        free = self.slots - len(self.started) - len(self.first)
        return free if first else free - self.reserved - len(self.waiting)

    @property
    def held(self) -> int:
        return len(self.started) + len(self.first) + len(self.waiting)


class Fleet:
    """The clients of one endpoint. Attempts are named by their ids."""

    def __init__(self) -> None:
        self._clients: dict[str, _Client] = {}
        self._slots = 0
        self._holder: dict[int, str] = {}
        self._waiting = 0
        self._first: set[int] = set()  # under way, and went or go first

    @property
    def first(self) -> int:
        """Attempts under way that went first, or will."""
        return len(self._first)

    @property
    def waiting(self) -> int:
        """Attempts handed over that have not started, over all clients."""
        return self._waiting

    @property
    def has_clients(self) -> bool:
        """Whether there is anybody to hand an attempt to."""
        return any(not client.leaving for client in self._clients.values())

    @property
    def slots(self) -> int:
        """The slots last allotted, over all clients."""
        return self._slots

    def join(self, client: str) -> None:
        """Count `client` in, or in anew: it knows of no share until the next `allot`."""
        known = self._clients.setdefault(client, _Client())
        known.slots, known.reserved, known.told, known.leaving = 0, 0, False, False

    def leave(self, client: str) -> None:
        """Give `client` nothing more, and forget it once what it holds has ended.

        An attempt may have been handed over while the news of the loss was on its way.
        """
        gone = self._clients.get(client)
        if gone is not None:
            gone.slots, gone.reserved, gone.leaving = 0, 0, True
            self._forget_if_gone(client, gone)

    def reserved(self, client: str) -> int:
        """Return how many of the slots of `client` are for attempts that go first."""
        return self._clients[client].reserved

    def allot(self, slots: int, reserved: int = 0) -> list[tuple[str, int]]:
        """Split `slots` evenly; return the clients that have to be told their share, and the share.

        At `reserved` of the clients, one of its slots is for attempts that go first. But for 0 slots, each
        client gets one at least: an attempt on its way to a client without any would never start, and it may
        hold the only permit there is.
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
            if new != client.slots or kept != client.reserved or not client.told:
                client.slots, client.reserved, client.told = new, kept, True
                changed.append((name, new))
        return changed

    def braked(self, client: str) -> None:
        """Take note that `client` starts nothing more until it is told its share again."""
        known = self._clients.get(client)
        if known is not None:
            known.told = False

    @property
    def is_braked(self) -> bool:
        """Whether some client starts nothing until it is told its share."""
        return any(not client.told and not client.leaving for client in self._clients.values())

    def with_free_slot(self, *, first: bool = False) -> str | None:
        """Return the client with the most free slots, None where there is none."""
        best, most = None, 0
        for name, client in self._clients.items():
            free = client.free(first=first)
            if free > most:
                best, most = name, free
        return best

    def with_shortest_line(self, *, first: bool = False) -> str | None:
        """Return the client where an attempt would wait the least, None where it would wait nowhere.

        A client with a slot free is passed over: there it would start at once, without a permit.
        """
        best, least = None, 0.0
        for name, client in self._clients.items():
            if client.slots == 0 or client.free(first=first) > 0:
                continue
            line = (len(client.first) if first else client.held) / client.slots
            if best is None or line < least:
                best, least = name, line
        return best

    def start(self, client: str, attempt: int, *, first: bool = False) -> None:
        """Take note that `attempt` was handed to `client` with a slot free for it."""
        self._holder[attempt] = client
        if first:
            self._first.add(attempt)
        self._clients[client].started.add(attempt)

    def wait(self, client: str, attempt: int, *, first: bool = False) -> None:
        """Take note that `attempt` was handed to `client` to wait for a slot."""
        self._holder[attempt] = client
        if first:
            self._first.add(attempt)
            self._clients[client].first[attempt] = None
        else:
            self._clients[client].waiting[attempt] = None
        self._waiting += 1

    def holder(self, attempt: int) -> str | None:
        """Return the client that has `attempt`."""
        return self._holder.get(attempt)

    def end(self, attempt: int) -> str | None:
        """Take note that `attempt` has ended; return the client that had it."""
        name = self._holder.pop(attempt, None)
        if name is None:
            return None
        client = self._clients[name]
        self._first.discard(attempt)
        if attempt in client.started:
            client.started.remove(attempt)
        else:
            del (client.first if attempt in client.first else client.waiting)[attempt]
            self._waiting -= 1
        self._forget_if_gone(name, client)
        return name

    def promote(self) -> list[int]:
        """Return the waiting attempts that their clients have started by now, by the rule above."""
        promoted: list[int] = []
        if not self._waiting:
            return promoted
        for client in self._clients.values():
            if not client.told:
                continue
            for line, slots in (
                (client.first, client.slots),
                (client.waiting, client.slots - client.reserved),
            ):
                while line and len(client.started) < slots:
                    attempt, _ = line.popitem(last=False)
                    client.started.add(attempt)
                    self._waiting -= 1
                    promoted.append(attempt)
        return promoted

    def statistics(self) -> dict[str, ClientStatistics]:
        """Return a frozen snapshot for each client."""
        return {
            name: ClientStatistics(len(client.started), client.held - len(client.started), client.slots)
            for name, client in self._clients.items()
        }

    def check_invariants(self) -> None:
        """Raise InvariantError where the parts disagree."""
        held = sum(client.held for client in self._clients.values())
        if held != len(self._holder):
            raise InvariantError(f"clients hold {held} attempts, {len(self._holder)} are known")
        if self._waiting != held - sum(len(client.started) for client in self._clients.values()):
            raise InvariantError("the count of waiting attempts is wrong")
        if sum(client.slots for client in self._clients.values()) > max(self._slots, len(self._clients)):
            raise InvariantError("shares exceed the limit")
        if any(client.leaving and client.slots for client in self._clients.values()):
            raise InvariantError("a client that left has a share")

    def _forget_if_gone(self, name: str, client: _Client) -> None:
        if client.leaving and not client.held:
            del self._clients[name]
