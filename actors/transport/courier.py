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
Rule 5: an actor may be away for as long as it likes: the courier connects again without end. Under RESEND its
    items wait. Under FAIL they fail after `fail_after_s`, and so does all that is sent until it is back.
Rule 6: an item whose future was cancelled is dropped: it is not sent again, and takes no room.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from msgspec import Struct

from actors.core.errors import OverloadedError, PeerLostError
from actors.core.messages.delivery import Delivery, Hello, Replies
from actors.transport.absence import Absence
from actors.transport.address import Address
from actors.transport.courier_settings import CourierSettings, CourierStatistics, OnRestart
from actors.transport.linger import Leisure
from actors.transport.link import LinkError, Stream
from actors.transport.outlet import Outlet
from actors.transport.pacer import Pacer

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
    expiry: asyncio.TimerHandle | None = None


class _Waiter(Struct, Generic[ItemT]):
    """An item that waits for room, until the time `until` on the loop's clock."""

    item: ItemT
    size: int
    until: float | None


class Courier(Generic[ItemT, ReplyT]):
    """Calls one actor. Made on a running event loop, closed with `close()`.

    `on_restart` is called when the actor has begun anew. Under `OnRestart.FAIL`, `on_lost` is called when the
    actor was away for `fail_after_s`, after every future that this fails has been dealt with, and `on_back`
    when it is there again, in the same life or in another; what `on_back` posts is the first that is sent.
    `leisure` may have deliveries further apart.
    """

    def __init__(
        self,
        address: Address[ItemT, ReplyT],
        *,
        settings: CourierSettings,
        size_of: Callable[[ItemT], int] = lambda _: 64,
        on_restart: Callable[[], None] = lambda: None,
        on_lost: Callable[[], None] = lambda: None,
        on_back: Callable[[], object] = lambda: None,
        leisure: Leisure | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._link = address.link()
        self._peer = peer = address.name
        self._settings = settings
        self._size_of = size_of
        self._on_restart = on_restart
        self._on_lost = on_lost
        self._on_back = on_back
        self._sender = f"{peer}<{os.urandom(8).hex()}"
        self._connections = 0
        self._stream: Stream | None = None
        self._epoch: str | None = None
        self._next_id = 0
        self._pending: dict[int, _Pending[ItemT, ReplyT]] = {}
        self._queue: deque[int] = deque()  # what is to be sent on the connection that there is
        self._acks: list[int] = []
        self._ack_timer: asyncio.TimerHandle | None = None
        self._bytes = 0
        self._waiting: OrderedDict[asyncio.Future[asyncio.Future[ReplyT]], _Waiter[ItemT]] = OrderedDict()
        interval_s = settings.interval_s if self._link.lingers else 0.0
        self._outlet = Outlet(self._deliver, Pacer(interval_s, leisure=leisure or Leisure()), clock)
        self._wanted = asyncio.Event()  # a connection: something is pending, or the actor is lost
        self._absence = Absence(peer, settings, self._lose)
        self._failing: str | None = None  # why all that is sent fails: the actor is lost, or this is closed
        self._sent = self._answered = self._messages = self._restarts = 0
        self._connecting = asyncio.create_task(self._stay_connected())

    async def call(self, item: ItemT, *, within_s: float | None = None) -> ReplyT:
        """Send `item` and return its reply. Raises what the actor replied with, or `PeerLostError`."""
        return await (await self.send(item, within_s=within_s))

    async def send(self, item: ItemT, *, within_s: float | None = None) -> asyncio.Future[ReplyT]:
        """Wait for room, then send. The future resolves to the reply, or to `PeerLostError`.

        The latter also where there is no reply `within_s` seconds, the wait for room included.
        """
        size = self._size_of(item)
        until = None if within_s is None else self._loop.time() + within_s
        if not self._waiting and self._has_room(size):
            return self._enqueue(item, size, until=until)
        waiter: asyncio.Future[asyncio.Future[ReplyT]] = self._loop.create_future()
        self._waiting[waiter] = _Waiter(item, size, until)
        expiry = None if until is None else self._loop.call_at(until, self._turn_away, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                waiter.result().cancel()  # it was let in, in the turn in which its caller left
            elif self._waiting.pop(waiter, None) is not None:
                self._admit()  # there may be room for the one behind it
            raise
        finally:
            if expiry is not None:
                expiry.cancel()

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
        self._disconnect()
        self._absence.stop()
        self._fail_all("the courier was closed")
        if self._ack_timer is not None:
            self._ack_timer.cancel()
        await self._link.close()

    def statistics(self) -> CourierStatistics:
        """Return a frozen snapshot."""
        return CourierStatistics(
            peer=self._peer,
            epoch=self._epoch,
            queued=len(self._pending) if self._stream is None else len(self._queue),
            outstanding=len(self._pending),
            outstanding_bytes=self._bytes,
            waiting_for_room=len(self._waiting),
            sent=self._sent,
            answered=self._answered,
            messages=self._messages,
            restarts=self._restarts,
            trouble=self._absence.trouble,
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

    def _enqueue(
        self, item: ItemT, size: int, *, urgent: bool = False, until: float | None = None
    ) -> asyncio.Future[ReplyT]:
        future: asyncio.Future[ReplyT] = self._loop.create_future()
        if self._failing is not None:
            future.set_exception(PeerLostError(self._peer, False, self._failing))
            return future
        item_id = self._next_id
        self._next_id += 1
        expiry = None if until is None else self._loop.call_at(until, self._expire, item_id)
        self._pending[item_id] = _Pending(item, size, future, expiry=expiry)
        self._bytes += size
        future.add_done_callback(partial(self._on_done, item_id))
        self._wanted.set()
        if self._stream is not None:
            self._queue.append(item_id)
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
        if entry.expiry is not None:
            entry.expiry.cancel()
        if not self._pending and self._failing is None:
            self._wanted.clear()
        self._admit()
        return entry

    def _on_done(self, item_id: int, _: asyncio.Future[ReplyT]) -> None:
        """Drop an item that its caller cancelled: it would be sent to each new life of the actor."""
        self._settle(item_id)  # most were answered, and are settled by now

    def _admit(self) -> None:
        """Let in those who wait for room. The item is taken in here: a woken caller would be too late."""
        while self._waiting:
            waiter, asked = next(iter(self._waiting.items()))
            if self._failing is None and not self._has_room(asked.size):
                break
            del self._waiting[waiter]
            if not waiter.done():
                waiter.set_result(self._enqueue(asked.item, asked.size, until=asked.until))

    def _turn_away(self, waiter: asyncio.Future[asyncio.Future[ReplyT]]) -> None:
        if self._waiting.pop(waiter, None) is None or waiter.done():
            return
        future: asyncio.Future[ReplyT] = self._loop.create_future()
        future.set_exception(
            PeerLostError(self._peer, False, self._late("there was no room for the request"))
        )
        waiter.set_result(future)
        self._admit()  # there may be room for the one behind it

    def _expire(self, item_id: int) -> None:
        self._fail(item_id, self._late("there was no answer in time"))

    def _late(self, what: str) -> str:
        return f"{what}; {self._absence.trouble}" if self._absence.trouble else what

    def _fail(self, item_id: int, reason: str) -> None:
        entry = self._settle(item_id)
        if entry is not None and not entry.future.done():
            entry.future.set_exception(PeerLostError(self._peer, entry.sent, reason))

    def _fail_all(self, reason: str) -> None:
        """Fail all that is pending or waits for room, and all that is sent from now on."""
        self._failing = reason
        for item_id in list(self._pending):
            self._fail(item_id, reason)
        self._admit()

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
        self._stream.deliver(Delivery(items, acks))
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
        self._absence.forget_pauses()
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
            self._ack_timer = self._loop.call_later(_ACK_WITHIN_S, self._on_ack_due)

    def _on_ack_due(self) -> None:
        self._ack_timer = None
        if self._acks and self._stream is not None:
            self._outlet.in_time()

    # ---- connections -------------------------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        """Make a connection where something waits for one, and another when it has broken, without end."""
        while True:
            await self._wanted.wait()
            self._connections += 1
            self._absence.begin()
            try:
                stream = await self._link.open(Hello(self._sender, self._connections), self)
                self._begin(stream)
                # Shielded, since the link waits for it as well, once this task was cancelled.
                why = await asyncio.shield(stream.broken)
            except LinkError as error:
                why = error
            except Exception as error:  # noqa: BLE001 - ended by a defect, it would leave all callers waiting
                why = LinkError(f"a defect in the courier: {type(error).__name__}: {error}"[:500])
                self._absence.met_defect(error)
            self._disconnect()
            self._absence.failed(why)
            await asyncio.sleep(self._absence.next_pause_s())

    def _disconnect(self) -> None:
        self._stream = None
        self._queue.clear()  # filled again from what is pending
        self._outlet.stop()

    def _lose(self) -> None:
        """Fail all, and go on connecting."""
        self._fail_all(self._late(f"away for {self._settings.fail_after_s:.0f} s"))
        self._wanted.set()
        self._loop.call_soon(self._on_lost)

    def _begin(self, stream: Stream) -> None:
        """Send again what is unanswered, or in a new life of the actor what rule 2 says."""
        self._stream = stream
        self._absence.end()
        was_lost, self._failing = self._failing is not None, None
        before, self._epoch = self._epoch, stream.epoch
        has_restarted = before not in (None, self._epoch)
        if self._epoch != before and self._settings.on_restart is OnRestart.FAIL:
            for item_id, entry in list(self._pending.items()):
                if entry.sent:
                    self._fail(item_id, "it began anew")
        self._queue = deque(self._pending)
        self._restarts += has_restarted
        if was_lost:
            self._on_back()
        elif has_restarted:
            self._on_restart()
        if not self._pending:
            self._wanted.clear()
        self._outlet.at_once()
