"""Where an actor's inbox is reached: a port of its own, open to those who know its secret."""

from __future__ import annotations

import asyncio
import logging
import pickle
import secrets
import socket
import traceback
from functools import partial
from typing import Protocol

from actors.connection import Connection
from actors.core.messages import Delivery, Poll, Receipt
from actors.frames import Frame, FrameError, Kind
from actors.handshake import CHALLENGE_BYTES, CalledHandshake, Meeting
from actors.pickling import dumps

_log = logging.getLogger(__name__)

_MOST_STRANGERS = 256  # connections before their proof; more at once are turned away
_MOST_TRACEBACK = 8000  # characters of a defect that are told to the caller
_IDLE_S, _PROBE_S, _PROBES = 30, 10, 3  # then the system takes a caller whose host is gone for lost


class Served(Protocol):
    """What a server serves: an `Inbox`."""

    def deliver(self, delivery: Delivery) -> Receipt:
        """Take items in."""
        ...

    async def collect(self, poll: Poll) -> Receipt:
        """Wait for replies."""
        ...


class SocketServer:
    """Serves one inbox. Made on a running event loop; listens on a host from its first `meeting` on."""

    def __init__(self, inbox: Served) -> None:
        self._inbox = inbox
        self._secret = secrets.token_bytes(32)
        self._opening = asyncio.Lock()
        self._servers: dict[str, asyncio.Server] = {}
        self._strangers: set[_Caller] = set()
        self._callers: set[_Caller] = set()

    async def meeting(self, host: str) -> Meeting:
        """Listen on a free port of `host`, if not yet so, and tell where. Raises `OSError`."""
        async with self._opening:
            if host not in self._servers:
                loop = asyncio.get_running_loop()
                self._servers[host] = await loop.create_server(self._caller, host, 0)
        port = self._servers[host].sockets[0].getsockname()[1]
        return Meeting(host, port, self._secret)

    def close(self) -> None:
        """Stop listening, and end all connections."""
        for server in self._servers.values():
            server.close()
        for caller in [*self._strangers, *self._callers]:
            caller.end("the server was closed")

    def _caller(self) -> _Caller:
        return _Caller(self._inbox, self._secret, self._strangers, self._callers)


class _Caller(Connection):
    """The connection of one caller."""

    def __init__(self, inbox: Served, secret: bytes, strangers: set[_Caller], callers: set[_Caller]) -> None:
        super().__init__(CalledHandshake(secret, secrets.token_bytes(CHALLENGE_BYTES)))
        self._inbox = inbox
        self._strangers = strangers
        self._callers = callers
        self._polls: set[asyncio.Task[Receipt]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake, unless too many others are at it."""
        self._strangers.add(self)
        super().connection_made(transport)
        keep_alive(transport)
        if len(self._strangers) > _MOST_STRANGERS:
            self.end("too many connections without a proof")

    def on_open(self) -> None:
        """Count it among those who may ask."""
        self._strangers.discard(self)
        self._callers.add(self)

    def on_frame(self, frame: Frame) -> None:
        """Answer a delivery at once, a poll in time."""
        if frame.kind is Kind.PING:
            self.send(Kind.PONG, frame.number)
            return
        if frame.kind is not Kind.REQUEST:
            raise FrameError(f"a caller sent a message of kind {frame.kind.name}")
        try:
            message = pickle.loads(frame.body)  # noqa: S301 - it comes from a holder of the secret
            if isinstance(message, Delivery):
                self._answer(frame.number, self._inbox.deliver(message))
                return
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller has to learn it
            self._fail(frame.number, error)
            return
        poll = asyncio.create_task(self._inbox.collect(message))
        self._polls.add(poll)
        poll.add_done_callback(partial(self._on_polled, frame.number))

    def on_closed(self, reason: str) -> None:
        """Forget it; a reply that it did not get stays with the inbox."""
        if self in self._strangers:
            _log.warning("a connection from %s came to nothing: %s", self.peer, reason)
        self._strangers.discard(self)
        self._callers.discard(self)
        for poll in self._polls:
            poll.cancel()

    def _on_polled(self, number: int, poll: asyncio.Task[Receipt]) -> None:
        self._polls.discard(poll)
        if poll.cancelled():
            return
        error = poll.exception()
        if error is not None:
            self._fail(number, error)
        else:
            self._answer(number, poll.result())

    def _answer(self, number: int, receipt: Receipt) -> None:
        try:
            self.send(Kind.ANSWER, number, dumps(receipt))
        except Exception as error:  # noqa: BLE001 - a reply that does not pickle, or too much of it
            self._fail(number, error)

    def _fail(self, number: int, error: BaseException) -> None:
        text = "".join(traceback.format_exception(error))[-_MOST_TRACEBACK:]
        _log.error("a message failed inside this actor: %s", text)
        self.send(Kind.FAILURE, number, text.encode("utf-8", "replace"))


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Have the system notice a host that is gone, where nothing is sent that would show it."""
    connected = transport.get_extra_info("socket")
    if connected is None:
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", _IDLE_S), ("TCP_KEEPINTVL", _PROBE_S), ("TCP_KEEPCNT", _PROBES)):
        if hasattr(socket, option):  # not every system has all of them
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
