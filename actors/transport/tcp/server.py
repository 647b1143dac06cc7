"""The TCP server of an actor's inbox. Accepts callers that know the actor's secret."""

from __future__ import annotations

import asyncio
import logging
import pickle
import secrets
import socket
import traceback

from actors.core.messages.delivery import Delivery, Hello, Replies, Welcome
from actors.runtime.sparing_log import SparingLog
from actors.transport.inbox import Inbox, OvertakenError, Visit
from actors.transport.pickling import dumps
from actors.transport.tcp.authentication import CHALLENGE_BYTES, CalledHandshake, Location
from actors.transport.tcp.connection import TcpConnection
from actors.transport.tcp.envelopes import pack, unpack
from actors.transport.tcp.frames import Frame, FrameError, FrameKind

_failures = SparingLog(logging.getLogger(__name__))
_rejected = SparingLog(logging.getLogger(__name__))

_MAX_UNAUTHENTICATED = 256  # unauthenticated connections; the oldest is closed for a new one
_MAX_TRACEBACK = 8000  # characters of a traceback sent to the caller
_IDLE_S, _PROBE_S, _PROBES = 30, 10, 3  # TCP keepalive: detects a lost host after 60 s


class SocketServer:
    """Serves one inbox. Create it on a running event loop; `location(host)` makes it listen on `host`."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._secret = secrets.token_bytes(32)
        self._opening = asyncio.Lock()
        self._servers: dict[str, asyncio.Server] = {}
        self._unauthenticated: dict[_CallerConnection, None] = {}  # oldest first
        self._callers: set[_CallerConnection] = set()

    async def location(self, host: str) -> Location:
        """Listen on a free port of `host`, unless it does already, and return it. Raises `OSError`."""
        async with self._opening:
            if host not in self._servers:
                loop = asyncio.get_running_loop()
                self._servers[host] = await loop.create_server(self._caller, host, 0)
        port = self._servers[host].sockets[0].getsockname()[1]
        return Location(host, port, self._secret)

    def close(self) -> None:
        """Stop listening, and close all connections."""
        for server in self._servers.values():
            server.close()
        for caller in [*self._unauthenticated, *self._callers]:
            caller.end("the server was closed")

    def _caller(self) -> _CallerConnection:
        return _CallerConnection(self._inbox, self._secret, self._unauthenticated, self._callers)


class _CallerConnection(TcpConnection):
    """The connection of one caller."""

    def __init__(
        self,
        inbox: Inbox,
        secret: bytes,
        unauthenticated: dict[_CallerConnection, None],
        callers: set[_CallerConnection],
    ) -> None:
        super().__init__(CalledHandshake(secret, secrets.token_bytes(CHALLENGE_BYTES)))
        self._inbox = inbox
        self._unauthenticated = unauthenticated
        self._callers = callers
        self._visit: Visit | None = None
        self._singly = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake, and close the oldest unauthenticated connection if there are too many."""
        self._unauthenticated[self] = None
        super().connection_made(transport)
        keep_alive(transport)
        if len(self._unauthenticated) > _MAX_UNAUTHENTICATED:
            oldest = next(iter(self._unauthenticated))
            del self._unauthenticated[oldest]
            oldest.end("it did not authenticate, and too many newer connections wait")

    def on_open(self) -> None:
        """Move the connection to the authenticated ones."""
        self._unauthenticated.pop(self, None)
        self._callers.add(self)

    def on_frame(self, frame: Frame) -> None:
        """Process a message of the caller."""
        if frame.kind is FrameKind.PING:
            self.send(FrameKind.PONG)
        elif frame.kind is FrameKind.DELIVERY and self._visit is not None:
            self._take_in(self._visit, frame.body)
        elif frame.kind is FrameKind.HELLO and self._visit is None:
            self._greet(frame.body)
        else:
            raise FrameError(f"a caller sent a message of kind {frame.kind.name}")

    def _take_in(self, visit: Visit, body: bytes) -> None:
        try:
            delivery: Delivery = pickle.loads(body)  # noqa: S301 - the sender is authenticated
            items, failures = unpack(delivery.items)
            visit.deliver(delivery if items is delivery.items else Delivery(items, delivery.acked))
            for item_id, error in failures:
                visit.refuse(item_id, error)
        except Exception as error:  # noqa: BLE001 - the caller receives every error
            self._fail(error)

    def on_closed(self, reason: str) -> None:
        """Forget the connection. The inbox keeps replies that were not sent."""
        if self not in self._callers:
            _rejected.write(logging.WARNING, "a connection from %s failed: %s", self.peer, reason)
        self._unauthenticated.pop(self, None)
        self._callers.discard(self)
        if self._visit is not None:
            self._visit.end()

    def _greet(self, body: bytes) -> None:
        try:
            hello: Hello = pickle.loads(body)  # noqa: S301 - the sender is authenticated
            self._singly = hello.singly
            self._visit = self._inbox.greet(hello, self._push)
        except OvertakenError as error:
            self.end(str(error))
        except Exception as error:  # noqa: BLE001 - the caller receives every error
            self._fail(error)
        else:
            self.send(FrameKind.WELCOME, dumps(Welcome(self._inbox.epoch)))

    def _push(self, replies: Replies) -> None:
        """Send replies, with an error in place of each that cannot be sent."""
        bodies, failures = pack(replies.replies, Replies, singly=self._singly)
        if failures:
            _failures.write(logging.ERROR, "one reply failed: %s", failures[0][1], cause=failures[0][1])
            bodies.append(dumps(Replies(failures)))
        for body in bodies:
            self.send(FrameKind.REPLIES, body)

    def _fail(self, error: BaseException) -> None:
        text = "".join(traceback.format_exception(error))[-_MAX_TRACEBACK:]
        _failures.write(logging.ERROR, "a message failed in this actor: %s", text, cause=error)
        self.send(FrameKind.FAILURE, text.encode("utf-8", "replace"))


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Enable TCP keepalive, which detects a lost host on a connection that sends nothing."""
    connected = transport.get_extra_info("socket")
    if connected is None:
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", _IDLE_S), ("TCP_KEEPINTVL", _PROBE_S), ("TCP_KEEPCNT", _PROBES)):
        if hasattr(socket, option):  # absent on some platforms
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
