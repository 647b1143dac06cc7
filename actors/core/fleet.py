"""Where the attempts at one endpoint are: at which client, and whether started or waiting there.

Slots are counted where requests are sent: each client holds a share of the endpoint's limit and may hold a
few attempts more, so that the next one starts the moment one ends, with no round trip. This is the
dispatcher's mirror of that. Rule: a client starts what waits in order, whenever fewer than its share are
started; the mirror applies the same rule to the same ends, so the two agree but for messages under way.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from actors.core.errors import InvariantError


@dataclass(frozen=True, slots=True)
class ClientStatistics:
    """What the dispatcher believes of one client: attempts started, attempts waiting, slots allotted."""

    started: int
    waiting: int
    slots: int


@dataclass(slots=True)
class _Client:
    slots: int = 0
    told: bool = False  # of its slots
    leaving: bool = False
    started: set[int] = field(default_factory=set)
    waiting: OrderedDict[int, None] = field(default_factory=OrderedDict)


class Fleet:
    """The clients of one endpoint. Attempts are named by their ids."""

    def __init__(self) -> None:
        self._clients: dict[str, _Client] = {}
        self._slots = 0
        self._holder: dict[int, str] = {}
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Attempts handed over that have not started, over all clients."""
        return self._waiting

    @property
    def slots(self) -> int:
        """The slots last allotted, over all clients."""
        return self._slots

    def join(self, client: str) -> None:
        """Count `client` in, or in anew: it knows of no share until the next `allot`."""
        known = self._clients.setdefault(client, _Client())
        known.slots, known.told, known.leaving = 0, False, False

    def leave(self, client: str) -> None:
        """Give `client` nothing more, and forget it once what it holds has ended.

        An attempt may have been handed over while the news of the loss was on its way.
        """
        gone = self._clients.get(client)
        if gone is not None:
            gone.slots, gone.leaving = 0, True
            self._forget_if_gone(client, gone)

    def allot(self, slots: int) -> list[tuple[str, int]]:
        """Split `slots` evenly; return the clients that have to be told their share, and the share.

        But for 0, each gets one at least: an attempt on its way to a client without any would never start,
        and it may hold the only permit there is.
        """
        self._slots = slots
        staying = [(name, client) for name, client in self._clients.items() if not client.leaving]
        if not staying:
            return []
        share, rest = divmod(max(slots, len(staying)) if slots else 0, len(staying))
        changed = []
        for position, (name, client) in enumerate(staying):
            new = share + (position < rest)
            if new != client.slots or not client.told:
                client.slots, client.told = new, True
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

    def with_free_slot(self) -> str | None:
        """Return the client with the most free slots, None where there is none."""
        best, most = None, 0
        for name, client in self._clients.items():
            free = client.slots - len(client.started) - len(client.waiting)
            if free > most:
                best, most = name, free
        return best

    def with_shortest_line(self) -> str | None:
        """Return the client where an attempt would wait the least, None where it would wait nowhere.

        A client with a slot free is passed over: there it would start at once, without a permit.
        """
        best, least = None, 0.0
        for name, client in self._clients.items():
            held = len(client.started) + len(client.waiting)
            if 0 < client.slots <= held and (best is None or held / client.slots < least):
                best, least = name, held / client.slots
        return best

    def start(self, client: str, attempt: int) -> None:
        """Take note that `attempt` was handed to `client` with a slot free for it."""
        self._holder[attempt] = client
        self._clients[client].started.add(attempt)

    def wait(self, client: str, attempt: int) -> None:
        """Take note that `attempt` was handed to `client` to wait for a slot."""
        self._holder[attempt] = client
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
        if attempt in client.started:
            client.started.remove(attempt)
        else:
            del client.waiting[attempt]
            self._waiting -= 1
        self._forget_if_gone(name, client)
        return name

    def promote(self) -> list[int]:
        """Return the waiting attempts that their clients have started by now, by the rule above."""
        promoted: list[int] = []
        if not self._waiting:
            return promoted
        for client in self._clients.values():
            while client.waiting and client.told and len(client.started) < client.slots:
                attempt, _ = client.waiting.popitem(last=False)
                client.started.add(attempt)
                self._waiting -= 1
                promoted.append(attempt)
        return promoted

    def statistics(self) -> dict[str, ClientStatistics]:
        """Return a frozen snapshot for each client."""
        return {
            name: ClientStatistics(len(client.started), len(client.waiting), client.slots)
            for name, client in self._clients.items()
        }

    def check_invariants(self) -> None:
        """Raise InvariantError where the parts disagree."""
        held = sum(len(client.started) + len(client.waiting) for client in self._clients.values())
        if held != len(self._holder):
            raise InvariantError(f"clients hold {held} attempts, {len(self._holder)} are known")
        if self._waiting != sum(len(client.waiting) for client in self._clients.values()):
            raise InvariantError("the count of waiting attempts is wrong")
        if sum(client.slots for client in self._clients.values()) > max(self._slots, len(self._clients)):
            raise InvariantError("shares exceed the limit")
        if any(client.leaving and client.slots for client in self._clients.values()):
            raise InvariantError("a client that left has a share")

    def _forget_if_gone(self, name: str, client: _Client) -> None:
        if client.leaving and not client.started and not client.waiting:
            del self._clients[name]
