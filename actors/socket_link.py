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

from actors.connection import Connection
from actors.core.errors import text_of
from actors.core.messages import Delivery, Hello, Replies, Welcome
from actors.frames import Frame, Kind
from actors.handshake import CHALLENGE_BYTES, CallerHandshake, Meeting
from actors.link import Caller, LinkError
from actors.meeting import Address, Introduction
from actors.pickling import dumps

_log = logging.getLogger(__name__)

CONNECT_WITHIN_S = 10.0  # until the actor has said which life of it this is


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
    """The `Link` to the actor at `address`, which is `Reachable`."""

    def __init__(
        self,
        address: Address,
        settings: LinkSettings = LinkSettings(),
        introducer: Introducer | None = None,
    ) -> None:
        self._settings = settings
        self._introducer = introducer or Introduction(address)
        self._stream: SocketStream | None = None

    async def open(self, hello: Hello, caller: Caller) -> SocketStream:
        """Connect, and return once the actor has said which life of it this is. Raises `LinkError`."""
        meeting = await self._introducer.meeting()
        made = SocketStream(meeting.secret, hello, caller, self._settings)
        where = f"{meeting.host}:{meeting.port}"
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: made, meeting.host, meeting.port)
                await made.welcomed
        except TimeoutError as error:
            made.end("no welcome in time")
            raise LinkError(f"no connection to {where} within {CONNECT_WITHIN_S:.0f} s", False) from error
        except OSError as error:
            raise LinkError(f"no connection to {where}: {text_of(error)}", False) from error
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


class SocketStream(Connection):
    """The `Stream` to an actor over one connection, on which `hello` is the first thing said."""

    def __init__(self, secret: bytes, hello: Hello, caller: Caller, settings: LinkSettings) -> None:
        super().__init__(CallerHandshake(secret, secrets.token_bytes(CHALLENGE_BYTES)))
        loop = asyncio.get_running_loop()
        self.epoch = ""
        self.welcomed: asyncio.Future[None] = loop.create_future()
        self.broken: asyncio.Future[LinkError] = loop.create_future()
        self._hello = hello
        self._caller = caller
        self._settings = settings
        self._clock: Callable[[], float] = loop.time
        self._is_hopeless = False
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._watch_due = 0.0

    def deliver(self, delivery: Delivery) -> None:
        """Hand over items. Raises `LinkError` for what can never be sent."""
        if self._watch is None:
            self._heard_at = self._clock()  # nothing was owed before: that silence says nothing
            self._watch_again()
        try:
            self.send(Kind.DELIVERY, dumps(delivery))
        except Exception as error:
            _log.exception("a message cannot be sent")
            raise LinkError(f"a message that cannot be sent: {error!r}", True) from error

    def on_open(self) -> None:
        """Say who asks."""
        self.send(Kind.HELLO, dumps(self._hello))

    def data_received(self, data: bytes) -> None:
        """Take note of a sign of life, whatever it says."""
        self._heard_at = self._clock()
        super().data_received(data)

    def on_frame(self, frame: Frame) -> None:
        """Pass on what the actor says."""
        if frame.kind is Kind.PONG:
            return
        if frame.kind is Kind.FAILURE:
            text = frame.body.decode("utf-8", "replace")
            _log.error("a message failed inside the actor it went to: %s", text)
            last = text.strip().splitlines()[-1] if text.strip() else "unknown"
            self._give_up(f"a defect in the actor: {last}")
            return
        try:
            self._take_in(pickle.loads(frame.body))  # noqa: S301 - it comes from a holder of the secret
        except Exception as error:  # noqa: BLE001 - whatever a class does on being unpickled
            _log.exception("an actor's answer cannot be read")
            self._give_up(f"an answer that cannot be read: {error!r}")

    def _take_in(self, message: object) -> None:
        match message:
            case Welcome(epoch):
                self.epoch = epoch
                if not self.welcomed.done():
                    self.welcomed.set_result(None)
            case Replies():
                self._caller.on_replies(message)
            case _:
                raise TypeError(f"an actor does not say {type(message).__name__}")

    def _give_up(self, reason: str) -> None:
        self._is_hopeless = True
        self.end(reason)

    def on_closed(self, reason: str) -> None:
        """Tell whoever uses it."""
        if self._watch is not None:
            self._watch.cancel()
        error = LinkError(reason, self._is_hopeless)
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
            self.send(Kind.PING)
        self._watch_again()
