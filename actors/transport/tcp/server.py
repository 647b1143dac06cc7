"""Where an actor's inbox is reached: a port of its own, open to those who know its secret."""

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
from actors.transport.tcp.authentication import CHALLENGE_BYTES, CalledHandshake, Meeting
from actors.transport.tcp.connection import TcpConnection
from actors.transport.tcp.envelopes import pack, unpack
from actors.transport.tcp.frames import Frame, FrameError, FrameKind

_failures = SparingLog(logging.getLogger(__name__))
_turned_away = SparingLog(logging.getLogger(__name__))

_MOST_STRANGERS = 256  # connections before their proof; beyond, the oldest makes room for the newest
_MOST_TRACEBACK = 8000  # characters of a defect that are told to the caller
_IDLE_S, _PROBE_S, _PROBES = 30, 10, 3  # then the system takes a caller whose host is gone for lost


class SocketServer:
    """Serves one inbox. Made on a running event loop; listens on a host from its first `meeting` on."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._secret = secrets.token_bytes(32)
        self._opening = asyncio.Lock()
        self._servers: dict[str, asyncio.Server] = {}
        self._strangers: dict[_CallerConnection, None] = {}  # the oldest first
        self._callers: set[_CallerConnection] = set()

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

    def _caller(self) -> _CallerConnection:
        return _CallerConnection(self._inbox, self._secret, self._strangers, self._callers)


class _CallerConnection(TcpConnection):
    """The connection of one caller."""

    def __init__(
        self,
        inbox: Inbox,
        secret: bytes,
        strangers: dict[_CallerConnection, None],
        callers: set[_CallerConnection],
    ) -> None:
        super().__init__(CalledHandshake(secret, secrets.token_bytes(CHALLENGE_BYTES)))
        self._inbox = inbox
        self._strangers = strangers
        self._callers = callers
        self._visit: Visit | None = None
        self._singly = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake. One that is slow at it must not keep others out."""
        self._strangers[self] = None
        super().connection_made(transport)
        keep_alive(transport)
        if len(self._strangers) > _MOST_STRANGERS:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.end("it gave no proof, and too many others wait to give theirs")

    def on_open(self) -> None:
        """Count it among those who may ask."""
        self._strangers.pop(self, None)
        self._callers.add(self)

    def on_frame(self, frame: Frame) -> None:
        """Take in what is delivered; replies come later."""
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
            delivery: Delivery = pickle.loads(body)  # noqa: S301 - from a holder of the secret
            items, failures = unpack(delivery.items)
            visit.deliver(delivery if items is delivery.items else Delivery(items, delivery.acked))
            for item_id, error in failures:
                visit.refuse(item_id, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller has to learn it
            self._fail(error)

    def on_closed(self, reason: str) -> None:
        """Forget it; a reply that it did not get stays with the inbox."""
        if self not in self._callers:
            _turned_away.write(logging.WARNING, "a connection from %s came to nothing: %s", self.peer, reason)
        self._strangers.pop(self, None)
        self._callers.discard(self)
        if self._visit is not None:
            self._visit.end()

    def _greet(self, body: bytes) -> None:
        try:
            hello: Hello = pickle.loads(body)  # noqa: S301 - from a holder of the secret
            self._singly = hello.singly
            self._visit = self._inbox.greet(hello, self._push)
        except OvertakenError as error:
            self.end(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller has to learn it
            self._fail(error)
        else:
            self.send(FrameKind.WELCOME, dumps(Welcome(self._inbox.epoch)))

    def _push(self, replies: Replies) -> None:
        """Send replies; what cannot be sent is told as an error in its place."""
        bodies, failures = pack(replies.replies, Replies, singly=self._singly)
        if failures:
            _failures.write(logging.ERROR, "a reply failed, alone: %s", failures[0][1], cause=failures[0][1])
            bodies.append(dumps(Replies(failures)))
        for body in bodies:
            self.send(FrameKind.REPLIES, body)

    def _fail(self, error: BaseException) -> None:
        text = "".join(traceback.format_exception(error))[-_MOST_TRACEBACK:]
        _failures.write(logging.ERROR, "a message failed inside this actor: %s", text, cause=error)
        self.send(FrameKind.FAILURE, text.encode("utf-8", "replace"))


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Have the system notice a host that is gone, where nothing is sent that would show it."""
    connected = transport.get_extra_info("socket")
    if connected is None:
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", _IDLE_S), ("TCP_KEEPINTVL", _PROBE_S), ("TCP_KEEPCNT", _PROBES)):
        if hasattr(socket, option):  # not every system has all of them
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
