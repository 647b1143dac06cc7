"""The link to an actor over a TCP connection. Ray only states where the actor listens.

A call through Ray costs each side 1.0-1.6 ms of processor time; a frame on an open connection, about 50 us.
The connection of a killed actor breaks within milliseconds. A stopped actor is detected by its silence.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import secrets
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from actors.core.errors import text_of
from actors.core.messages.delivery import Delivery, Hello, Replies, Welcome
from actors.runtime.sparing_log import SparingLog
from actors.transport.link import Caller, LinkError
from actors.transport.pickling import dumps
from actors.transport.tcp.authentication import CHALLENGE_BYTES, CallerHandshake, Location
from actors.transport.tcp.connection import TcpConnection
from actors.transport.tcp.envelopes import Failures, pack, unpack
from actors.transport.tcp.frames import Frame, FrameKind

_sparing = SparingLog(logging.getLogger(__name__))

CONNECT_WITHIN_S = 10.0  # until the actor has stated its epoch
_MAX_REASON = 500


class LinkSettings(Struct, frozen=True):
    """Times in seconds.

    ping_after_s: how long a peer that owes an answer may be silent before it is sent a ping.
    lost_after_s: how long it may be silent before the connection is closed.
    """

    ping_after_s: float = 2.0
    lost_after_s: float = 10.0


class Locator(Protocol):
    """Finds one actor."""

    async def location(self) -> Location:
        """Return the current location of the actor. Raises `LinkError`."""
        ...


class SocketLink:
    """The `Link` to the actor that the locator finds."""

    lingers = True

    def __init__(
        self,
        locator: Locator,
        settings: LinkSettings = LinkSettings(),
    ) -> None:
        self._settings = settings
        self._locator = locator
        self._stream: SocketStream | None = None
        self._singly = False  # whether parts are packed separately, after a message could not be read

    async def open(self, hello: Hello, caller: Caller) -> SocketStream:
        """Connect, and return once the actor has stated its epoch. Raises `LinkError`."""
        location = await self._locator.location()
        hello = replace(hello, singly=self._singly)
        made = SocketStream(location.secret, hello, caller, self._settings, self._pack_singly)
        where = f"{location.host}:{location.port}"
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: made, location.host, location.port)
                await made.welcomed
        except TimeoutError as error:
            made.end("no welcome within the deadline")
            raise LinkError(f"no connection to {where} within {CONNECT_WITHIN_S:.0f} s") from error
        except OSError as error:
            raise LinkError(f"no connection to {where}: {text_of(error)}") from error
        except asyncio.CancelledError:
            made.end("the link was closed")
            raise
        self._stream = made
        return made

    async def close(self) -> None:
        """Close the connection."""
        if self._stream is not None:
            self._stream.end("the link was closed")
            await self._stream.broken

    def _pack_singly(self) -> None:
        self._singly = True


class SocketStream(TcpConnection):
    """The `Stream` to an actor over one connection. Sends `hello` first."""

    def __init__(
        self,
        secret: bytes,
        hello: Hello,
        caller: Caller,
        settings: LinkSettings,
        on_unreadable: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(CallerHandshake(secret, secrets.token_bytes(CHALLENGE_BYTES)))
        loop = asyncio.get_running_loop()
        self.epoch = ""
        self.welcomed: asyncio.Future[None] = loop.create_future()
        self.broken: asyncio.Future[LinkError] = loop.create_future()
        self._hello = hello
        self._caller = caller
        self._settings = settings
        self._clock: Callable[[], float] = loop.time
        self._on_unreadable = on_unreadable
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._watch_due = 0.0

    def deliver(self, delivery: Delivery) -> None:
        """Send items. Answer those that cannot be sent with an error."""
        if self._watch is None:
            self._heard_at = self._clock()  # the peer owed nothing before, so its silence does not count
            self._schedule_check()
        bodies, failures = pack(
            delivery.items, lambda items: Delivery(items, delivery.acked), singly=self._hello.singly
        )
        if not bodies and delivery.acked:
            bodies = [dumps(Delivery((), delivery.acked))]
        for body in bodies:
            self.send(FrameKind.DELIVERY, body)
        self._answer_failures(failures)

    def on_open(self) -> None:
        """Send the hello."""
        self.send(FrameKind.HELLO, dumps(self._hello))

    def data_received(self, data: bytes) -> None:
        """Count any data as a sign of life."""
        self._heard_at = self._clock()
        super().data_received(data)

    def on_frame(self, frame: Frame) -> None:
        """Process a message of the actor."""
        if frame.kind is FrameKind.PONG:
            return
        if frame.kind is FrameKind.FAILURE:
            text = frame.body.decode("utf-8", "replace")
            self._end_unreadable(f"the actor could not read a message: {_last_line(text)}")
            return
        try:
            message = pickle.loads(frame.body)  # noqa: S301 - the sender is authenticated
        except Exception as error:  # noqa: BLE001 - unpickling may raise anything
            self._end_unreadable(f"cannot unpickle a reply: {type(error).__name__}: {error}"[:_MAX_REASON])
        else:
            self._take_in(message)

    def _take_in(self, message: object) -> None:
        match message:
            case Welcome(epoch):
                self.epoch = epoch
                if not self.welcomed.done():
                    self.welcomed.set_result(None)
            case Replies(replies):
                read, failures = unpack(replies)
                self._caller.on_replies(message if read is replies else Replies(read))
                self._answer_failures(failures)
            case _:
                self.end(f"the actor sent an unexpected {type(message).__name__}")

    def _answer_failures(self, failures: Failures) -> None:
        """Answer the items that cannot be sent, or whose replies cannot be read, with errors."""
        if failures:
            _sparing.write(logging.ERROR, "one message failed: %s", failures[0][1], cause=failures[0][1])
            self._caller.on_replies(Replies(failures))

    def _end_unreadable(self, reason: str) -> None:
        """End the connection. The next one packs each part separately, which finds the unreadable one."""
        _sparing.write(logging.ERROR, "%s", reason, cause=reason)
        self._on_unreadable()
        self.end(reason)

    def on_closed(self, reason: str) -> None:
        """Resolve `welcomed` and `broken`."""
        if self._watch is not None:
            self._watch.cancel()
        error = LinkError(reason)
        if not self.welcomed.done():
            self.welcomed.set_exception(error)
            self.welcomed.exception()  # marks it as retrieved: the waiter may be cancelled
        if not self.broken.done():
            self.broken.set_result(error)

    # ---- silence -----------------------------------------------------------------------------------------

    def _schedule_check(self) -> None:
        self._watch_due = self._clock() + self._settings.ping_after_s
        self._watch = asyncio.get_running_loop().call_later(self._settings.ping_after_s, self._check_silence)

    def _check_silence(self) -> None:
        """Send a silent peer a ping, and close the connection when it stays silent."""
        self._watch = None
        now = self._clock()
        if not self._caller.is_waiting:
            return  # the next delivery starts the watch again
        if now - self._watch_due > self._settings.ping_after_s:
            self._heard_at = now  # this process was stalled and has not read what arrived meanwhile
        silent_s = now - self._heard_at
        if silent_s >= self._settings.lost_after_s:
            self.end(f"no sign of life for {silent_s:.0f} s")
            return
        if silent_s >= self._settings.ping_after_s:
            self.send(FrameKind.PING)
        self._schedule_check()


def _last_line(text: str) -> str:
    return next(iter(reversed(text.strip().splitlines())), "unknown")[:_MAX_REASON]
