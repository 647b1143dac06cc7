"""The receiving half of a courier: takes batches of items, answers each item once, in any order.

Rule 1: an item id is handled once for as long as its sender may repeat it; a repetition is ignored.
Rule 2: a reply is kept until its sender has acknowledged it, and told again on each new connection.
Rule 3: a connection carries nothing any more once its sender has made another.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from msgspec import Struct

from actors.core.errors import HeadraceError, InvariantError, UnprocessableError
from actors.core.message_size import weight
from actors.core.messages.delivery import Delivery, Hello, Replies
from actors.runtime.defects import end_loudly
from actors.runtime.sparing_log import SparingLog
from actors.transport.linger import Leisure
from actors.transport.outlet import Outlet
from actors.transport.pacer import Pacer

_sparing = SparingLog(logging.getLogger(__name__))

MAX_REPLIES = 512  # in one message; more would block both event loops for milliseconds, as would
MAX_REPLY_BYTES = 192 * 1024  # more than about this, but for a single reply that is larger
# A caller is forgotten after this. One that was only cut off sends again what may run twice; what may not has
# failed at the courier by then.
AWAY_S = 60.0

Push = Callable[[Replies], None]


class Reply(Protocol):
    """Answers one item."""

    def __call__(self, value: Any, *, urgent: bool = False) -> None:
        """Give the answer; a second one changes nothing."""
        ...


class InboxStatistics(Struct, frozen=True):
    """What an inbox holds: callers known, items being worked on, replies not yet acknowledged."""

    epoch: str
    peers: int
    working: int
    unacknowledged: int
    received: int
    replied: int


class OvertakenError(Exception):
    """A hello that came after that of a later connection."""


class _Sender:
    """What is known of one caller."""

    __slots__ = ("left_at", "number", "outlet", "push", "replies", "unsent", "working")

    def __init__(self, pacer: Pacer, clock: Callable[[], float]) -> None:
        self.number = -1  # of its latest connection
        self.push: Push | None = None
        self.left_at = 0.0
        self.working: set[int] = set()
        self.replies: dict[int, Any] = {}  # not yet acknowledged
        self.unsent: list[int] = []  # of those: not yet told on this connection
        self.outlet = Outlet(self._tell, pacer, clock)

    def _tell(self) -> None:
        """Push one message of replies; what it does not hold follows in the next turn of the loop."""
        if self.push is None or not self.unsent:
            return
        replies: list[tuple[int, Any]] = []
        taken = size = 0
        for item_id in self.unsent[:MAX_REPLIES]:
            if item_id in self.replies:  # else acknowledged after a new connection made it unsent again
                value = self.replies[item_id]
                size += weight(value)
                if replies and size > MAX_REPLY_BYTES:
                    break
                replies.append((item_id, value))
            taken += 1
        del self.unsent[:taken]
        self.push(Replies(tuple(replies)))
        if self.unsent:
            self.outlet.at_once()


class Visit:
    """One connection of one caller."""

    def __init__(self, inbox: Inbox, peer: _Sender) -> None:
        self._inbox = inbox
        self._peer = peer
        self._number = peer.number

    def deliver(self, delivery: Delivery) -> None:
        """Start work on the items not seen before, unless the caller has made another connection since."""
        if self._number == self._peer.number:
            self._inbox.take_in(self._peer, delivery)

    def refuse(self, item_id: int, error: HeadraceError) -> None:
        """Answer an item that could not be read with `error`."""
        if self._number == self._peer.number:
            self._inbox.refuse(self._peer, item_id, error)

    def end(self) -> None:
        """Keep replies from now on, for the next connection."""
        if self._number == self._peer.number:
            self._inbox.part_with(self._peer)


class Inbox:
    """Hands each item to `on_item(item, reply)`; `reply(value)` must be called once, now or later.

    An item on which `on_item` raises is answered with an error, and hurts no other. Only a broken invariant
    ends the process: the actor could do anything after it.
    With ``urgent=True`` a reply waits for no company. A value that is an exception is raised at the caller.
    `interval_s` is the distance of messages to one caller under load, or more where `leisure` has it; a reply
    after a quiet spell goes at once.
    """

    def __init__(
        self,
        on_item: Callable[[Any, Reply], None],
        *,
        interval_s: float = 0.003,
        leisure: Leisure | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.epoch = os.urandom(8).hex()
        self._on_item = on_item
        self._interval_s = interval_s
        self._leisure = leisure or Leisure()
        self._clock = clock
        self._peers: dict[str, _Sender] = {}
        self._received = 0
        self._replied = 0

    def greet(self, hello: Hello, push: Push, *, lingers: bool = True) -> Visit:
        """Begin a connection, on which `push` tells replies, from a later turn of the event loop on.

        `lingers`: replies wait for others, so that each message carries more.
        Raises `OvertakenError` where the caller has made another one since.
        """
        peer = self._peer(hello.sender, self._interval_s if lingers else 0.0)
        if hello.number <= peer.number:
            raise OvertakenError(f"connection {hello.number} of {hello.sender} comes after {peer.number}")
        peer.number, peer.push = hello.number, push
        peer.unsent = list(peer.replies)
        if peer.unsent:
            peer.outlet.at_once()
        return Visit(self, peer)

    def statistics(self) -> InboxStatistics:
        """Return a frozen snapshot."""
        return InboxStatistics(
            epoch=self.epoch,
            peers=len(self._peers),
            working=sum(len(peer.working) for peer in self._peers.values()),
            unacknowledged=sum(len(peer.replies) for peer in self._peers.values()),
            received=self._received,
            replied=self._replied,
        )

    def _peer(self, sender: str, interval_s: float) -> _Sender:
        peer = self._peers.get(sender)
        if peer is None:
            # A caller that died never says goodbye: without this its replies would stay for ever.
            gone_by = self._clock() - AWAY_S
            self._peers = {
                name: known
                for name, known in self._peers.items()
                if known.push is not None or known.working or known.left_at > gone_by
            }
            pacer = Pacer(interval_s, leisure=self._leisure)
            peer = self._peers[sender] = _Sender(pacer, self._clock)
        return peer

    # ---- for a visit -------------------------------------------------------------------------------------

    def take_in(self, peer: _Sender, delivery: Delivery) -> None:
        """Forget what was acknowledged, and start work on what is new."""
        for item_id in delivery.acked:
            peer.replies.pop(item_id, None)
        for item_id, item in delivery.items:
            if item_id in peer.working or item_id in peer.replies:
                continue
            peer.working.add(item_id)
            self._received += 1
            reply = partial(self._reply, peer, item_id)
            try:
                self._on_item(item, reply)
            except InvariantError:
                end_loudly(f"the handling of {type(item).__name__}")
            except Exception as error:  # noqa: BLE001 - no content of one item may end the actor
                _sparing.write(logging.ERROR, "%s failed, alone", type(item).__name__, error=error)
                reply(_as_answer(item, error))

    def refuse(self, peer: _Sender, item_id: int, error: HeadraceError) -> None:
        """Answer an item with `error`, unless it is known already."""
        if item_id not in peer.working and item_id not in peer.replies:
            peer.working.add(item_id)
            self._reply(peer, item_id, error)

    def part_with(self, peer: _Sender) -> None:
        """Tell a caller nothing until it is back."""
        peer.push = None
        peer.outlet.stop()
        peer.left_at = self._clock()

    def _reply(self, peer: _Sender, item_id: int, value: Any, *, urgent: bool = False) -> None:
        if item_id not in peer.working:
            return  # a second reply to one item: the first one stands
        peer.working.remove(item_id)
        peer.replies[item_id] = value
        peer.unsent.append(item_id)
        self._replied += 1
        if peer.push is None:
            return
        if urgent:
            peer.outlet.at_once()
        else:
            peer.outlet.in_time()


def _as_answer(item: Any, error: Exception) -> HeadraceError:
    """Return what the caller is told. An error of another kind need not pickle, and may hold anything."""
    if isinstance(error, HeadraceError):
        return error
    return UnprocessableError(
        f"a defect of this program met {type(item).__name__}: {type(error).__name__}; the actor's log has it"
    )
