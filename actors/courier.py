"""The sending half of a courier: many small calls between two actors in few messages.

A message costs some 22 us of processor time and wakes a process, an item in it 8 us more; so a message
carries many calls. Items go one way in deliveries, replies come back as they are ready: nobody asks for
them, and nobody confirms a delivery. Both ways are paced: without that, small messages would take the
processor time that large ones need to gather in. After a quiet spell there is no pause, so that a single
call is fast.

Rule 1: an item has an id and is sent again under that id, on each new connection, until it is answered; the
    inbox runs it once.
Rule 2: on a connection the inbox says first which life of the actor (epoch) it is; nothing is sent before.
    In a new life all that is unanswered is sent again (`OnRestart.RESEND`), or what may have run fails as
    such (`OnRestart.FAIL`).
Rule 3: connections are numbered, and an inbox takes nothing from one that another has followed: what is
    still on its way there may have been answered and forgotten since, and would run again.
Rule 4: what is outstanding is bounded in items and bytes. `send` waits for room, first come first served.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from msgspec import Struct

from actors.core.errors import OverloadedError, PeerLostError
from actors.core.leisure import Leisure
from actors.core.messages import Delivery, Hello, Replies
from actors.core.pacer import Pacer
from actors.courier_settings import CourierSettings, CourierStatistics, OnRestart
from actors.link import Link, LinkError, Stream
from actors.outlet import Outlet

_log = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")
ReplyT = TypeVar("ReplyT")

MAX_ITEMS = 256  # in one delivery, and
MAX_BYTES = 192 * 1024  # about so much: a larger message blocks both event loops for over 5 ms

_ACK_WITHIN_S = 0.5  # where no delivery takes acknowledgements along; the inbox keeps replies for so long,
_MOST_ACKS = 1024  # and no more of them than so many


class _Pending(Struct, Generic[ItemT, ReplyT]):
    item: ItemT
    size: int
    future: asyncio.Future[ReplyT]
    sent: bool = False  # to some life of the actor: it may have run


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
        self._connections = 0
        self._stream: Stream | None = None
        self._epoch: str | None = None
        self._next_id = 0
        self._pending: dict[int, _Pending[ItemT, ReplyT]] = {}
        self._queue: deque[int] = deque()
        self._acks: list[int] = []
        self._ack_timer: asyncio.TimerHandle | None = None
        self._bytes = 0
        self._waiting: deque[tuple[asyncio.Future[asyncio.Future[ReplyT]], ItemT, int]] = deque()
        self._outlet = Outlet(self._deliver, Pacer(settings.interval_s, leisure=leisure or Leisure()), clock)
        self._something_pending = asyncio.Event()
        self._away_since: float | None = None
        self._lost: str | None = None  # why it was given up
        self._sent = self._answered = self._messages = self._restarts = 0
        self._connecting = asyncio.create_task(self._stay_connected())
        self._connecting.add_done_callback(self._on_connecting_done)

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
        self._connecting.cancel()
        await asyncio.gather(self._connecting, return_exceptions=True)
        self._fail_all("the courier was closed")
        if self._ack_timer is not None:
            self._ack_timer.cancel()
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
        self._something_pending.set()
        if self._stream is not None:
            if urgent or len(self._queue) >= MAX_ITEMS:
                self._outlet.at_once()
            else:
                self._outlet.in_time()
        return future

    def _settle(self, item_id: int) -> _Pending[ItemT, ReplyT] | None:
        entry = self._pending.pop(item_id, None)
        if entry is None:
            return None
        self._bytes -= entry.size
        if not self._pending:
            self._something_pending.clear()
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

    def _fail(self, item_id: int) -> None:
        entry = self._settle(item_id)
        if entry is not None and not entry.future.done():
            reason = self._lost or "it began anew"
            entry.future.set_exception(PeerLostError(self._peer, entry.sent, reason))

    def _fail_all(self, reason: str) -> None:
        if self._lost is not None:
            return
        self._lost = reason
        self._stream = None
        self._outlet.stop()
        self._queue.clear()
        for item_id in list(self._pending):
            self._fail(item_id)
        self._admit()
        asyncio.get_running_loop().call_soon(self._on_lost)

    # ---- what goes out, and what comes back --------------------------------------------------------------

    def _deliver(self) -> None:
        """Send one delivery; what it does not hold follows in the next turn of the loop."""
        if self._stream is None or self._stream.broken.done():  # sent into the void, it would be in doubt
            return
        entries = self._next_batch()
        acks, self._acks = tuple(self._acks), []
        if not entries and not acks:
            return
        for _, entry in entries:
            entry.sent = True
        self._sent += len(entries)
        self._messages += 1
        items = tuple((item_id, entry.item) for item_id, entry in entries)
        try:
            self._stream.deliver(Delivery(items, acks))
        except LinkError as error:
            self._fail_all(str(error.args[0]))
            return
        if self._queue:
            self._outlet.at_once()

    def _next_batch(self) -> list[tuple[int, _Pending[ItemT, ReplyT]]]:
        batch: list[tuple[int, _Pending[ItemT, ReplyT]]] = []
        size = 0
        while self._queue and len(batch) < MAX_ITEMS:
            entry = self._pending.get(self._queue[0])
            if entry is not None and batch and size + entry.size > MAX_BYTES:
                break
            item_id = self._queue.popleft()
            if entry is not None:  # else it was answered before it could be sent again
                batch.append((item_id, entry))
                size += entry.size
        return batch

    @property
    def is_waiting(self) -> bool:
        """Whether the actor owes a reply."""
        return bool(self._pending)

    def on_replies(self, replies: Replies) -> None:
        """Settle what was answered. For the link."""
        for item_id, value in replies.replies:
            self._acks.append(item_id)
            entry = self._settle(item_id)
            if entry is None:
                continue  # told again on a new connection
            self._answered += 1
            if entry.future.done():
                continue  # the caller no longer waits
            if isinstance(value, BaseException):
                entry.future.set_exception(value)
            else:
                entry.future.set_result(value)
        if len(self._acks) >= _MOST_ACKS:
            self._outlet.at_once()
        elif self._ack_timer is None:
            self._ack_timer = asyncio.get_running_loop().call_later(_ACK_WITHIN_S, self._on_ack_due)

    def _on_ack_due(self) -> None:
        self._ack_timer = None
        if self._acks and self._stream is not None:
            self._outlet.in_time()

    # ---- connections -------------------------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        """Make a connection where something waits for one, and another when it has broken."""
        while self._lost is None:
            await self._something_pending.wait()
            self._connections += 1
            if self._away_since is None:
                self._away_since = self._clock()
            try:
                stream = await self._link.open(Hello(self._sender, self._connections), self)
            except LinkError as error:
                away_s = self._clock() - self._away_since
                self._on_broken(error, is_over=error.final or away_s > self._settings.give_up_s)
            else:
                self._begin(stream)
                # Shielded, since the link waits for it as well, once this task was cancelled.
                why = await asyncio.shield(stream.broken)
                self._on_broken(why, is_over=why.final)
            await asyncio.sleep(self._settings.retry_s)

    def _on_broken(self, error: LinkError, *, is_over: bool) -> None:
        self._stream = None
        self._outlet.stop()
        if is_over:
            self._fail_all(str(error.args[0]))

    def _begin(self, stream: Stream) -> None:
        """Send again what is unanswered, or in a new life of the actor what rule 2 says."""
        self._stream = stream
        self._away_since = None
        before, self._epoch = self._epoch, stream.epoch
        if self._epoch != before:
            for item_id, entry in list(self._pending.items()):
                if entry.sent and self._settings.on_restart is OnRestart.FAIL:
                    self._fail(item_id)
        self._queue = deque(self._pending)
        if before not in (None, self._epoch):
            self._restarts += 1
            self._on_restart()
        self._outlet.at_once()

    def _on_connecting_done(self, connecting: asyncio.Task[None]) -> None:
        """Let nobody wait for what a defect has ended."""
        if not connecting.cancelled() and connecting.exception() is not None:
            _log.critical("the courier to %s ended", self._peer, exc_info=connecting.exception())
            self._fail_all(f"a defect in the courier: {connecting.exception()}")
