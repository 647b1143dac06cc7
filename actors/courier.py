"""The sending half of a courier: many small calls between two actors in few messages.

A message costs some 40 us of processor time and wakes two processes, an item in it 8 us more; so a message
carries many calls. A sender and a receiver keep at most one message each under way, and whatever gathered
meanwhile goes with the next. Deliveries are paced: without that, small ones would take the processor time
that large ones need to gather in. After a quiet spell there is no pause, so that a single call is fast.

Rule 1: an item has an id and is sent again under that id until it is answered; the inbox runs it once.
Rule 2: a new epoch in a receipt means that the actor began anew. Then all that is unanswered is sent again
    (`OnRestart.RESEND`), or what may have run fails as such (`OnRestart.FAIL`). A delivery names the epoch
    that it is for, so that no item runs in a life that its sender does not know of.
Rule 3: a reply is acknowledged only once no delivery that holds its item can still be under way, since an
    inbox forgets an acknowledged item and would run it again.
Rule 4: what is outstanding is bounded in items and bytes. `send` waits for room, first come first served.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from msgspec import Struct

from actors.core.errors import OverloadedError, PeerLostError
from actors.core.leisure import Leisure
from actors.core.messages import Delivery, Poll, Receipt
from actors.core.pacer import Pacer
from actors.courier_settings import CourierSettings, CourierStatistics, OnRestart
from actors.link import Link, LinkError

_log = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")
ReplyT = TypeVar("ReplyT")

MAX_ITEMS = 256  # in one delivery, and
MAX_BYTES = 192 * 1024  # about so much: a larger message blocks both event loops for over 5 ms

UNKNOWN_EPOCH = ""


class _Pending(Struct, Generic[ItemT, ReplyT]):
    item: ItemT
    size: int
    future: asyncio.Future[ReplyT]
    sent_to: str | None = None  # the epoch it was last sent to, UNKNOWN_EPOCH before the first receipt


class Courier(Generic[ItemT, ReplyT]):
    """Calls one actor. Made on a running event loop, closed with `close()`.

    `on_restart` is called when the actor has begun anew, `on_lost` when it is given up or the courier is
    closed, after every future that this fails has been dealt with. `leisure` may have deliveries further
    apart.
    """

    def __init__(
        self,
        link: Link,
        *,
        peer: str,
        settings: CourierSettings,
        size_of: Callable[[ItemT], int] = lambda _: 64,
        on_restart: Callable[[], None] = lambda: None,
        on_lost: Callable[[], None] = lambda: None,
        leisure: Leisure | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._peer = peer
        self._settings = settings
        self._size_of = size_of
        self._on_restart = on_restart
        self._on_lost = on_lost
        self._clock = clock
        self._sender = f"{peer}<{os.urandom(8).hex()}"
        self._epoch: str | None = None
        self._past_epochs: set[str] = set()
        self._generation = 0
        self._sequence = 0
        self._next_id = 0
        self._pending: dict[int, _Pending[ItemT, ReplyT]] = {}
        self._queue: deque[int] = deque()
        self._held: set[int] = set()  # ids in deliveries without a receipt (rule 3)
        self._under_way: frozenset[int] = frozenset()  # of those: ids in the delivery under way now
        self._acks: list[int] = []
        self._bytes = 0
        self._waiting: deque[tuple[asyncio.Future[asyncio.Future[ReplyT]], ItemT, int]] = deque()
        self._pacer = Pacer(settings.interval_s, leisure=leisure or Leisure())
        self._pausing: asyncio.Future[None] | None = None
        self._in_a_hurry = False  # the queue is long, or holds something urgent
        self._something_to_send = asyncio.Event()
        self._something_pending = asyncio.Event()
        self._down_since: float | None = None
        self._lost: str | None = None  # why it was given up
        self._sent = self._answered = self._messages = self._restarts = 0
        self._loops = [asyncio.create_task(self._send_loop()), asyncio.create_task(self._receive_loop())]
        for loop in self._loops:
            loop.add_done_callback(self._on_loop_done)

    async def call(self, item: ItemT) -> ReplyT:
        """Send `item` and return its reply. Raises what the actor replied with, or `PeerLostError`."""
        return await (await self.send(item))

    async def send(self, item: ItemT) -> asyncio.Future[ReplyT]:
        """Wait for room, then send. The future resolves to the reply, or to `PeerLostError`."""
        size = self._size_of(item)
        if self._waiting or not self._has_room(size):
            waiter: asyncio.Future[asyncio.Future[ReplyT]] = asyncio.get_running_loop().create_future()
            self._waiting.append((waiter, item, size))
            return await waiter
        return self._enqueue(item, size, urgent=False)

    def post(self, item: ItemT, *, urgent: bool = False) -> asyncio.Future[ReplyT]:
        """Send without waiting for room. Raises `OverloadedError` when full.

        What is `urgent` needs no room and ends the pause before the next delivery; it overtakes nothing.
        """
        size = self._size_of(item)
        if not urgent and not self._has_room(size):
            raise OverloadedError(f"the courier to {self._peer}", self._settings.retry_s)
        return self._enqueue(item, size, urgent=urgent)

    async def close(self) -> None:
        """Stop. Whatever is unanswered fails."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._fail_all("the courier was closed")
        await self._link.close()

    def statistics(self) -> CourierStatistics:
        """Return a frozen snapshot."""
        return CourierStatistics(
            peer=self._peer,
            epoch=self._epoch,
            queued=len(self._queue),
            outstanding=len(self._pending),
            outstanding_bytes=self._bytes,
            waiting_for_room=len(self._waiting),
            sent=self._sent,
            answered=self._answered,
            messages=self._messages,
            restarts=self._restarts,
        )

    # ---- what is outstanding -----------------------------------------------------------------------------

    def _has_room(self, size: int) -> bool:
        """Return whether an item may be taken in; one larger than the bound goes alone, not never."""
        if not self._pending:
            return True
        return (
            len(self._pending) < self._settings.max_outstanding
            and self._bytes + size <= self._settings.max_outstanding_bytes
        )

    def _enqueue(self, item: ItemT, size: int, *, urgent: bool) -> asyncio.Future[ReplyT]:
        future: asyncio.Future[ReplyT] = asyncio.get_running_loop().create_future()
        if self._lost is not None:
            future.set_exception(PeerLostError(self._peer, False, self._lost))
            return future
        item_id = self._next_id
        self._next_id += 1
        self._pending[item_id] = _Pending(item, size, future)
        self._bytes += size
        self._queue.append(item_id)
        if urgent or len(self._queue) >= MAX_ITEMS:
            self._in_a_hurry = True
            self._end_pause()
        self._something_to_send.set()
        self._something_pending.set()
        return future

    def _settle(self, item_id: int) -> _Pending[ItemT, ReplyT] | None:
        entry = self._pending.pop(item_id, None)
        if entry is None:
            return None
        self._bytes -= entry.size
        self._admit()
        return entry

    def _admit(self) -> None:
        """Let in those who wait for room. The item is taken in here: a woken caller would be too late."""
        while self._waiting:
            waiter, item, size = self._waiting[0]
            if not waiter.done():
                if self._lost is None and not self._has_room(size):
                    break
                waiter.set_result(self._enqueue(item, size, urgent=False))
            self._waiting.popleft()

    def _accept(self, receipt: Receipt) -> None:
        self._down_since = None
        # A receipt of an earlier life may come late: its replies count, but it tells nothing of the present.
        if receipt.epoch != self._epoch and receipt.epoch not in self._past_epochs:
            self._begin_epoch(receipt.epoch)
        for item_id, value in receipt.replies:
            self._acks.append(item_id)
            entry = self._settle(item_id)
            if entry is None:
                continue  # told again after a lost receipt
            self._answered += 1
            if entry.future.done():
                continue  # the caller no longer waits
            if isinstance(value, BaseException):
                entry.future.set_exception(value)
            else:
                entry.future.set_result(value)
        if not self._pending:
            self._something_pending.clear()

    def _begin_epoch(self, epoch: str) -> None:
        before, self._epoch = self._epoch, epoch
        self._settle_accounts()
        if before is not None:
            self._restarts += 1
            self._past_epochs.add(before)
            self._acks.clear()
            self._on_restart()

    def _settle_accounts(self) -> None:
        """Apply rule 2 to what was sent to another life of the actor than the present one."""
        queued = set(self._queue)
        for item_id, entry in list(self._pending.items()):
            if entry.sent_to in (None, self._epoch) or item_id in self._under_way:
                continue
            if self._settings.on_restart is OnRestart.FAIL:
                self._fail(item_id)
            else:
                entry.sent_to = None
                if item_id not in queued:
                    self._queue.append(item_id)
        if self._queue:
            self._something_to_send.set()

    def _fail(self, item_id: int) -> None:
        entry = self._settle(item_id)
        if entry is not None and not entry.future.done():
            reason = self._lost or "it began anew"
            entry.future.set_exception(PeerLostError(self._peer, entry.sent_to is not None, reason))

    def _on_loop_done(self, loop: asyncio.Task[None]) -> None:
        """Let nobody wait for a loop that a defect has ended."""
        if not loop.cancelled() and loop.exception() is not None:
            _log.critical("the courier to %s ended", self._peer, exc_info=loop.exception())
            self._fail_all(f"a defect in the courier: {loop.exception()}")

    def _fail_all(self, reason: str) -> None:
        if self._lost is not None:
            return
        self._lost = reason
        self._queue.clear()
        for item_id in list(self._pending):
            self._fail(item_id)
        self._admit()
        asyncio.get_running_loop().call_soon(self._on_lost)

    # ---- the two loops -----------------------------------------------------------------------------------

    async def _send_loop(self) -> None:
        while self._lost is None:
            await self._something_to_send.wait()
            await self._pause(self._pacer.wait_s(self._clock()))
            self._in_a_hurry = False
            self._pacer.happened(self._clock())
            if not await self._send_once():
                await asyncio.sleep(self._settings.retry_s)

    async def _pause(self, seconds: float) -> None:
        """Let company gather, until the time is over or `_end_pause` is called."""
        if seconds <= 0 or self._in_a_hurry:
            return
        loop = asyncio.get_running_loop()
        self._pausing = loop.create_future()
        timer = loop.call_later(seconds, self._end_pause)
        try:
            await self._pausing
        finally:
            timer.cancel()

    def _end_pause(self) -> None:
        if self._pausing is not None and not self._pausing.done():
            self._pausing.set_result(None)

    async def _send_once(self) -> bool:
        """Make one delivery; return whether it got a receipt. What was not taken in stays queued."""
        # Before the epoch is known, an item that was sent in vain may be running: ask first, with no items.
        asking = self._epoch is None and bool(self._held)
        ids = [] if asking else self._next_batch()
        if not self._queue:
            self._something_to_send.clear()
        if not ids and not asking:
            return True
        entries = [self._pending[item_id] for item_id in ids]
        fresh = [entry for entry in entries if entry.sent_to is None]
        for entry in fresh:
            entry.sent_to = self._epoch or UNKNOWN_EPOCH
        acks = self._take_acks()
        self._held.update(ids)
        self._under_way = frozenset(ids)
        self._sequence += 1
        items = tuple((item_id, entry.item) for item_id, entry in zip(ids, entries, strict=True))
        delivery = Delivery(self._sender, self._epoch, self._generation, self._sequence, items, acks)
        receipt = await self._try(self._link.deliver(delivery))
        self._under_way = frozenset()
        if receipt is None or delivery.epoch not in (None, receipt.epoch):
            self._generation += 1  # a lost receipt may have held replies
            self._acks.extend(acks)
            self._queue.extendleft(item_id for item_id in reversed(ids) if item_id in self._pending)
            self._something_to_send.set()
            if receipt is not None:
                for entry in fresh:
                    entry.sent_to = None  # the life that they came to would not run them
                self._accept(receipt)
            self._settle_accounts()  # a poll may have told of a new life meanwhile
            return receipt is not None
        self._held.clear()
        self._sent += len(ids)
        for entry in entries:
            entry.sent_to = receipt.epoch
        self._accept(receipt)
        return True

    def _next_batch(self) -> list[int]:
        ids: list[int] = []
        size = 0
        while self._queue and len(ids) < MAX_ITEMS:
            entry = self._pending.get(self._queue[0])
            if entry is not None and ids and size + entry.size > MAX_BYTES:
                break
            item_id = self._queue.popleft()
            if entry is not None:
                ids.append(item_id)
                size += entry.size
        self._in_a_hurry = len(self._queue) > 0  # a whole delivery did not hold them: go on at once
        return ids

    async def _receive_loop(self) -> None:
        wait_s = self._settings.wait_s
        while self._lost is None:
            await self._something_pending.wait()
            acks = self._take_acks()
            poll = Poll(self._sender, self._generation, acks, wait_s)
            receipt = await self._try(self._link.collect(poll))
            if receipt is None:
                self._acks.extend(acks)
                self._generation += 1
                wait_s = 0.0  # one that began anew has no news, and its epoch is to be known before it has
                await asyncio.sleep(self._settings.retry_s)
                continue
            wait_s = self._settings.wait_s
            self._accept(receipt)

    def _take_acks(self) -> tuple[int, ...]:
        if not self._held:
            acks, self._acks = tuple(self._acks), []
            return acks
        acks = tuple(i for i in self._acks if i not in self._held)
        self._acks = [i for i in self._acks if i in self._held]
        return acks

    async def _try(self, message: Awaitable[Receipt]) -> Receipt | None:
        """Return the receipt, or None where it is worth trying again. Fails everything where it is not."""
        self._messages += 1
        try:
            receipt = await message
        except LinkError as error:
            now = self._clock()
            if self._down_since is None:
                self._down_since = now
            if error.final or now - self._down_since > self._settings.give_up_s:
                self._fail_all(str(error.args[0]))
            return None
        return receipt if self._lost is None else None
