"""The receiving half of a courier: takes batches of items, answers each item once, in any order.

Rule 1: an item id is handled once for as long as its sender may repeat it; a repetition is ignored.
Rule 2: a reply is kept until its sender has acknowledged it.
Rule 3: every receipt carries the epoch, which is new for each life of the actor.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from msgspec import Struct, field

from actors.core.leisure import Leisure
from actors.core.messages import Delivery, Poll, Receipt
from actors.core.pacer import Pacer

MAX_REPLIES = 512  # in one receipt; more would block both event loops for milliseconds
PEER_SILENCE_S = 60.0  # a caller polls far more often than this; one that does not is gone


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


class _Peer(Struct):
    """What is known of one caller."""

    pacer: Pacer
    sequence: int = -1
    generation: int = -1
    working: set[int] = field(default_factory=set)
    replies: dict[int, Any] = field(default_factory=dict)  # not yet acknowledged
    unsent: list[int] = field(default_factory=list)  # of those: not yet put into a receipt
    poll: asyncio.Future[None] | None = None
    flush: asyncio.Handle | None = None
    heard_at: float = 0.0


class Inbox:
    """Hands each item to `on_item(item, reply)`; `reply(value)` must be called once, now or later.

    With ``urgent=True`` a reply waits for no company. A value that is an exception is raised at the caller.
    `interval_s` is the distance of receipts under load, or more where `leisure` has it; a reply after a quiet
    spell goes at once. Where deliveries come steadily, their receipts carry the replies at no cost, and no
    poll has to return.
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
        self._peers: dict[str, _Peer] = {}
        self._received = 0
        self._replied = 0

    def deliver(self, delivery: Delivery) -> Receipt:
        """Take items in, start work on those not seen before, and return whatever is ready."""
        if delivery.epoch not in (None, self.epoch):
            return Receipt(self.epoch, ())  # an earlier life may have run these items
        peer = self._peer(delivery.sender)
        if delivery.sequence <= peer.sequence:
            return Receipt(self.epoch, ())  # overtaken: running its items now could run them twice
        peer.sequence = delivery.sequence
        _acknowledge(peer, delivery.acked)
        _renew(peer, delivery.generation)
        for item_id, item in delivery.items:
            if item_id in peer.working or item_id in peer.replies:
                continue
            peer.working.add(item_id)
            self._received += 1
            self._on_item(item, partial(self._reply, peer, item_id))
        receipt = self._receipt(peer)
        if peer.unsent:  # more than one receipt holds
            self._flush_in_time(peer, urgent=False)
        return receipt

    async def collect(self, poll: Poll) -> Receipt:
        """Return the next replies, or none after `poll.wait_s` seconds."""
        peer = self._peer(poll.sender)
        if poll.generation < peer.generation:
            return Receipt(self.epoch, ())
        _acknowledge(peer, poll.acked)
        _renew(peer, poll.generation)
        if peer.poll is not None:
            _resolve(peer.poll)
            peer.poll = None
        if not peer.unsent:
            loop = asyncio.get_running_loop()
            peer.poll = waiting = loop.create_future()
            timer = loop.call_later(poll.wait_s, _resolve, waiting)
            try:
                await waiting
            finally:
                timer.cancel()
            if peer.poll is not waiting:
                return Receipt(self.epoch, ())  # superseded: the replies belong to the newer poll
            peer.poll = None
        return self._receipt(peer)

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

    def _peer(self, sender: str) -> _Peer:
        peer = self._peers.get(sender)
        now = self._clock()
        if peer is None:
            # A caller that died never says goodbye: without this its replies would stay for ever.
            self._peers = {
                name: known
                for name, known in self._peers.items()
                if known.working or now - known.heard_at < PEER_SILENCE_S
            }
            peer = self._peers[sender] = _Peer(Pacer(self._interval_s, leisure=self._leisure))
        peer.heard_at = now
        return peer

    def _reply(self, peer: _Peer, item_id: int, value: Any, *, urgent: bool = False) -> None:
        if item_id not in peer.working:
            return  # a second reply to one item: the first one stands
        peer.working.remove(item_id)
        peer.replies[item_id] = value
        peer.unsent.append(item_id)
        self._replied += 1
        self._flush_in_time(peer, urgent=urgent)

    def _flush_in_time(self, peer: _Peer, *, urgent: bool) -> None:
        """Have the waiting poll return as soon as the pace allows, or at once."""
        if peer.poll is None or (peer.flush is not None and not urgent):
            return
        if peer.flush is not None:
            peer.flush.cancel()
        loop = asyncio.get_running_loop()
        wait_s = 0.0 if urgent else peer.pacer.wait_s(self._clock())
        flush = partial(self._flush, peer)
        peer.flush = loop.call_later(wait_s, flush) if wait_s > 0 else loop.call_soon(flush)

    def _flush(self, peer: _Peer) -> None:
        peer.flush = None
        if peer.poll is not None and peer.unsent:  # a delivery's receipt may have taken them along
            _resolve(peer.poll)

    def _receipt(self, peer: _Peer) -> Receipt:
        if not peer.unsent:
            return Receipt(self.epoch, ())
        ids, peer.unsent = peer.unsent[:MAX_REPLIES], peer.unsent[MAX_REPLIES:]
        peer.pacer.happened(self._clock())
        # An id may have been acknowledged after a new generation made it unsent again.
        return Receipt(self.epoch, tuple((i, peer.replies[i]) for i in ids if i in peer.replies))


def _acknowledge(peer: _Peer, acked: tuple[int, ...]) -> None:
    for item_id in acked:
        peer.replies.pop(item_id, None)


def _renew(peer: _Peer, generation: int) -> None:
    if generation > peer.generation:
        peer.generation = generation
        peer.unsent = list(peer.replies)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
