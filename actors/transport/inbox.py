"""The receiving side of a channel between two actors: takes batches of items and answers each item once.

Rule 1: The inbox handles an item id once while its sender may repeat it, and ignores repetitions.
Rule 2: The inbox keeps a reply until the sender acknowledges it, and sends it again on each new connection.
Rule 3: The inbox ignores a connection once its sender has made a later one.
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
from actors.transport.linger import AdaptiveLinger
from actors.transport.outlet import Outlet
from actors.transport.pacer import Pacer

_sparing = SparingLog(logging.getLogger(__name__))

# Approximate bounds of one message, except for a single larger reply. A larger message blocks both event
# loops for milliseconds.
MAX_REPLIES = 512
MAX_REPLY_BYTES = 192 * 1024
# How long a disconnected caller is remembered. After that it may only repeat items that may run twice: its
# courier has failed the others by then.
AWAY_S = 60.0

Push = Callable[[Replies], None]


class Reply(Protocol):
    """Answers one item."""

    def __call__(self, value: Any, *, urgent: bool = False) -> None:
        """Answer with `value`. Does nothing if the item has been answered."""
        ...


class InboxStatistics(Struct, frozen=True):
    """A snapshot of an inbox.

    peers: known callers.
    working: items without a reply.
    unacknowledged: replies that the callers have not acknowledged.
    """

    epoch: str
    peers: int
    working: int
    unacknowledged: int
    received: int
    replied: int


class OvertakenError(Exception):
    """A hello arrived after that of a later connection of the same caller."""


class _Sender:
    """The state of one caller."""

    __slots__ = ("left_at", "number", "outlet", "push", "replies", "unsent", "working")

    def __init__(self, pacer: Pacer, clock: Callable[[], float]) -> None:
        self.number = -1  # of its latest connection
        self.push: Push | None = None
        self.left_at = 0.0
        self.working: set[int] = set()
        self.replies: dict[int, Any] = {}  # not yet acknowledged
        self.unsent: list[int] = []  # ids of the replies not yet sent on this connection
        self.outlet = Outlet(self._push_replies, pacer, clock)

    def _push_replies(self) -> None:
        """Push one message of replies, and schedule the next one if replies remain."""
        if self.push is None or not self.unsent:
            return
        replies: list[tuple[int, Any]] = []
        taken = size = 0
        for item_id in self.unsent[:MAX_REPLIES]:
            if item_id in self.replies:  # else it was acknowledged since this connection began
                value = self.replies[item_id]
                size += weight(value)
                if replies and size > MAX_REPLY_BYTES:
                    break
                replies.append((item_id, value))
            taken += 1
        del self.unsent[:taken]
        self.push(Replies(tuple(replies)))
        if self.unsent:
            self.outlet.send_next()


class Visit:
    """One connection of one caller."""

    def __init__(self, inbox: Inbox, peer: _Sender) -> None:
        self._inbox = inbox
        self._peer = peer
        self._number = peer.number

    def deliver(self, delivery: Delivery) -> None:
        """Start work on the new items. Does nothing if the caller has made a later connection."""
        if self._number == self._peer.number:
            self._inbox.receive(self._peer, delivery)

    def refuse(self, item_id: int, error: HeadraceError) -> None:
        """Answer an unreadable item with `error`."""
        if self._number == self._peer.number:
            self._inbox.refuse(self._peer, item_id, error)

    def end(self) -> None:
        """End the connection. Replies are kept for the next one."""
        if self._number == self._peer.number:
            self._inbox.disconnect(self._peer)


class Inbox:
    """Passes each item to `on_item(item, reply)`, which must call `reply(value)` once, at once or later.

    If `on_item` raises, the inbox answers the item with an error; other items are not affected. An
    `InvariantError` ends the process, because the state of the actor is no longer known.
    ``reply(value, urgent=True)`` is sent without a pause. A value that is an exception is raised at the
    caller.

    interval_s: the interval between messages to one caller under load. The first reply after a quiet period
    is sent at once.
    linger: may lengthen the interval.
    """

    def __init__(
        self,
        on_item: Callable[[Any, Reply], None],
        *,
        interval_s: float = 0.003,
        linger: AdaptiveLinger | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.epoch = os.urandom(8).hex()
        self._on_item = on_item
        self._interval_s = interval_s
        self._linger = linger or AdaptiveLinger()
        self._clock = clock
        self._peers: dict[str, _Sender] = {}
        self._received = 0
        self._replied = 0

    def greet(self, hello: Hello, push: Push, *, lingers: bool = True) -> Visit:
        """Begin a connection. The inbox calls `push` with replies, but not before the next loop iteration.

        lingers: whether replies wait for others to share a message.
        Raises `OvertakenError` if the caller has made a later connection.
        """
        peer = self._peer(hello.sender, self._interval_s if lingers else 0.0)
        if hello.number <= peer.number:
            raise OvertakenError(f"connection {hello.number} of {hello.sender} comes after {peer.number}")
        peer.number, peer.push = hello.number, push
        peer.unsent = list(peer.replies)
        if peer.unsent:
            peer.outlet.send_next()
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
            # A caller that died sends no notice: without this its replies would stay in memory.
            gone_by = self._clock() - AWAY_S
            self._peers = {
                name: known
                for name, known in self._peers.items()
                if known.push is not None or known.working or known.left_at > gone_by
            }
            pacer = Pacer(interval_s, linger=self._linger)
            peer = self._peers[sender] = _Sender(pacer, self._clock)
        return peer

    # ---- called by a `Visit` -----------------------------------------------------------------------------

    def receive(self, peer: _Sender, delivery: Delivery) -> None:
        """Drop the acknowledged replies, and start work on the new items."""
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
            except Exception as error:  # noqa: BLE001 - the content of an item must not end the actor
                _sparing.write(logging.ERROR, "handling %s failed", type(item).__name__, error=error)
                reply(_error_reply(item, error))

    def refuse(self, peer: _Sender, item_id: int, error: HeadraceError) -> None:
        """Answer an item with `error`, unless it is already known."""
        if item_id not in peer.working and item_id not in peer.replies:
            peer.working.add(item_id)
            self._reply(peer, item_id, error)

    def disconnect(self, peer: _Sender) -> None:
        """Send a caller nothing until it connects again."""
        peer.push = None
        peer.outlet.stop()
        peer.left_at = self._clock()

    def _reply(self, peer: _Sender, item_id: int, value: Any, *, urgent: bool = False) -> None:
        if item_id not in peer.working:
            return  # already answered
        peer.working.remove(item_id)
        peer.replies[item_id] = value
        peer.unsent.append(item_id)
        self._replied += 1
        if peer.push is None:
            return
        if urgent:
            peer.outlet.send_next()
        else:
            peer.outlet.send_paced()


def _error_reply(item: Any, error: Exception) -> HeadraceError:
    """Return the error to send. Other exceptions may not pickle, and may contain secrets."""
    if isinstance(error, HeadraceError):
        return error
    return UnprocessableError(
        f"a defect of Headrace in handling {type(item).__name__}: {type(error).__name__}; see the actor's log"
    )
