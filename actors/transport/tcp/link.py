"""The way to an actor over a connection of the courier's own; Ray only tells where the actor is.

A call through Ray costs each side 1.0-1.6 ms of processor time, a frame on an open connection some 50 us.
A killed actor's connection breaks within milliseconds; a stopped actor is found by its silence.
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
from actors.transport.tcp.authentication import CHALLENGE_BYTES, CallerHandshake, Meeting
from actors.transport.tcp.connection import TcpConnection
from actors.transport.tcp.envelopes import Failures, pack, unpack
from actors.transport.tcp.frames import Frame, FrameKind

_sparing = SparingLog(logging.getLogger(__name__))

CONNECT_WITHIN_S = 10.0  # until the actor has said which life of it this is
_MOST_REASON = 500


class LinkSettings(Struct, frozen=True):
    """Times in seconds.

    ping_after_s: how long a peer that owes an answer may be silent before it is asked for a sign of life.
    lost_after_s: how long before it is taken for lost.
    """

    ping_after_s: float = 2.0
    lost_after_s: float = 10.0


class Introducer(Protocol):
    """Whoever knows where the actor is."""

    async def meeting(self) -> Meeting:
        """Return where the actor is to be met now. Raises `LinkError`."""
        ...


class SocketLink:
    """The `Link` to the actor whose server the introducer names."""

    lingers = True

    def __init__(
        self,
        introducer: Introducer,
        settings: LinkSettings = LinkSettings(),
    ) -> None:
        self._settings = settings
        self._introducer = introducer
        self._stream: SocketStream | None = None
        self._singly = False  # a message could not be read: the next ones are packed one by one

    async def open(self, hello: Hello, caller: Caller) -> SocketStream:
        """Connect, and return once the actor has said which life of it this is. Raises `LinkError`."""
        meeting = await self._introducer.meeting()
        hello = replace(hello, singly=self._singly)
        made = SocketStream(meeting.secret, hello, caller, self._settings, self._be_careful)
        where = f"{meeting.host}:{meeting.port}"
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: made, meeting.host, meeting.port)
                await made.welcomed
        except TimeoutError as error:
            made.end("no welcome in time")
            raise LinkError(f"no connection to {where} within {CONNECT_WITHIN_S:.0f} s") from error
        except OSError as error:
            raise LinkError(f"no connection to {where}: {text_of(error)}") from error
        except asyncio.CancelledError:
            made.end("the link was closed")
            raise
        self._stream = made
        return made

    async def close(self) -> None:
        """Let go of the connection."""
        if self._stream is not None:
            self._stream.end("the link was closed")
            await self._stream.broken

    def _be_careful(self) -> None:
        self._singly = True


class SocketStream(TcpConnection):
    """The `Stream` to an actor over one connection, on which `hello` is the first thing said."""

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
        """Hand over items. What cannot be sent is answered here, with an error."""
        if self._watch is None:
            self._heard_at = self._clock()  # nothing was owed before: that silence says nothing
            self._watch_again()
        bodies, failures = pack(
            delivery.items, lambda items: Delivery(items, delivery.acked), singly=self._hello.singly
        )
        if not bodies and delivery.acked:
            bodies = [dumps(Delivery((), delivery.acked))]
        for body in bodies:
            self.send(FrameKind.DELIVERY, body)
        self._answer_for(failures)

    def on_open(self) -> None:
        """Say who asks."""
        self.send(FrameKind.HELLO, dumps(self._hello))

    def data_received(self, data: bytes) -> None:
        """Take note of a sign of life, whatever it says."""
        self._heard_at = self._clock()
        super().data_received(data)

    def on_frame(self, frame: Frame) -> None:
        """Pass on what the actor says."""
        if frame.kind is FrameKind.PONG:
            return
        if frame.kind is FrameKind.FAILURE:
            text = frame.body.decode("utf-8", "replace")
            self._end_unread(f"the actor could not read a message: {_last_line(text)}")
            return
        try:
            message = pickle.loads(frame.body)  # noqa: S301 - it comes from a holder of the secret
        except Exception as error:  # noqa: BLE001 - whatever a class does on being unpickled
            self._end_unread(f"an answer that cannot be read: {type(error).__name__}: {error}"[:_MOST_REASON])
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
                self._answer_for(failures)
            case _:
                self.end(f"an actor does not say {type(message).__name__}")

    def _answer_for(self, failures: Failures) -> None:
        """Answer, in place of the actor, what cannot be sent to it or was answered unreadably."""
        if failures:
            _sparing.write(logging.ERROR, "a message failed, alone: %s", failures[0][1], cause=failures[0][1])
            self._caller.on_replies(Replies(failures))

    def _end_unread(self, reason: str) -> None:
        """End the connection. On the next one each part is packed by itself: the unreadable one is found."""
        _sparing.write(logging.ERROR, "%s", reason, cause=reason)
        self._on_unreadable()
        self.end(reason)

    def on_closed(self, reason: str) -> None:
        """Tell whoever uses it."""
        if self._watch is not None:
            self._watch.cancel()
        error = LinkError(reason)
        if not self.welcomed.done():
            self.welcomed.set_exception(error)
            self.welcomed.exception()  # retrieved: whoever waited may be gone
        if not self.broken.done():
            self.broken.set_result(error)

    # ---- silence -----------------------------------------------------------------------------------------

    def _watch_again(self) -> None:
        self._watch_due = self._clock() + self._settings.ping_after_s
        self._watch = asyncio.get_running_loop().call_later(self._settings.ping_after_s, self._look)

    def _look(self) -> None:
        """Ask a silent peer for a sign of life, and give it up when none comes."""
        self._watch = None
        now = self._clock()
        if not self._caller.is_waiting:
            return  # nothing is owed: the next delivery begins to watch anew
        if now - self._watch_due > self._settings.ping_after_s:
            self._heard_at = now  # it was this process that stood still; what came meanwhile is not yet read
        silent_s = now - self._heard_at
        if silent_s >= self._settings.lost_after_s:
            self.end(f"no sign of life for {silent_s:.0f} s")
            return
        if silent_s >= self._settings.ping_after_s:
            self.send(FrameKind.PING)
        self._watch_again()


def _last_line(text: str) -> str:
    return next(iter(reversed(text.strip().splitlines())), "unknown")[:_MOST_REASON]
