"""Who gets in at an actor's door while others crowd it, without sockets: the wires are lists."""

from __future__ import annotations

import asyncio
import pickle
import socket

import pytest

from actors.core.messages.delivery import Delivery, Hello, Packed, Welcome
from actors.transport.inbox import AWAY_S, Inbox
from actors.transport.pickling import dumps
from actors.transport.tcp import server as socket_server
from actors.transport.tcp.authentication import CallerHandshake
from actors.transport.tcp.frames import FrameKind, FrameReader, encode
from actors.transport.tcp.server import SocketServer
from tests.unit.support.courier_target import turns


class Wire(asyncio.Transport):
    """One who connects: silent, until a test has it prove that it knows the secret."""

    def __init__(self, server):
        self.options = {}
        super().__init__({"peername": ("10.0.0.7", 4711), "socket": self})
        self.written = b""
        self.is_cut = False
        self.connection = server._caller()
        self.connection.connection_made(self)

    def write(self, data):
        self.written += data

    def is_closing(self):
        return self.is_cut

    def abort(self):
        if not self.is_cut:
            self.is_cut = True
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    def setsockopt(self, level, option, value):
        self.options[level, option] = value

    def prove(self, secret):
        greeting, self.written = self.written, b""
        self.connection.data_received(CallerHandshake(secret, b"1" * 32).take(greeting))
        self.written = self.written[32:]

    def say(self, kind, message):
        self.connection.data_received(b"".join(encode(kind, dumps(message))))

    def heard(self):
        frames = FrameReader().feed(self.written)
        self.written = b""
        return [pickle.loads(frame.body) for frame in frames]  # noqa: S301 - it was pickled here


@pytest.fixture
async def server(monkeypatch):
    monkeypatch.setattr(socket_server, "_MAX_UNAUTHENTICATED", 3)
    inbox = Inbox(lambda item, reply: reply(item), interval_s=0.0, clock=lambda: made.now)
    made = SocketServer(inbox)
    made.inbox, made.now = inbox, 0.0
    yield made
    made.close()
    await turns()


async def test_silent_connections_do_not_keep_out_one_who_knows_the_secret(server):
    early = Wire(server)
    early.prove(server._secret)
    silent = [Wire(server) for _ in range(10)]
    late = Wire(server)
    late.prove(server._secret)
    await turns()
    assert [wire.is_cut for wire in silent] == [True] * 8 + [False] * 2
    for wire in (early, late):
        assert not wire.is_cut
        wire.say(FrameKind.HELLO, Hello("one", 1) if wire is early else Hello("two", 1))
        wire.say(FrameKind.DELIVERY, Delivery(((1, "still here"),), ()))
        await turns()
        assert wire.heard()[1].replies == ((1, "still here"),)


@pytest.mark.parametrize("singly", [True, False])
async def test_a_caller_that_could_not_read_a_message_gets_its_replies_packed_one_by_one(server, singly):
    """One reply that cannot be read would take all others of its message with it, again and again."""
    caller = Wire(server)
    caller.prove(server._secret)
    caller.say(FrameKind.HELLO, Hello("a", 0, singly=singly))
    caller.say(FrameKind.DELIVERY, Delivery(((1, "x"), (2, "y")), ()))
    await turns()
    _, replies = caller.heard()
    assert [isinstance(value, Packed) for _, value in replies.replies] == [singly, singly]


async def test_a_caller_that_has_gone_is_forgotten(server):
    for name in ("gone", "later"):
        caller = Wire(server)
        caller.prove(server._secret)
        caller.say(FrameKind.HELLO, Hello(name, 1))
        caller.abort()
        await turns()
        server.now += AWAY_S + 1.0
    assert server.inbox.statistics().peers == 1


async def test_a_connection_that_sends_nothing_is_probed_by_the_system(server):
    assert Wire(server).options[socket.SOL_SOCKET, socket.SO_KEEPALIVE] == 1


@pytest.mark.parametrize(
    "said",
    [
        [(FrameKind.DELIVERY, Delivery(((1, "x"),), ()))],
        [(FrameKind.HELLO, Hello("a", 1)), (FrameKind.HELLO, Hello("a", 2))],
        [(FrameKind.HELLO, Hello("a", 1)), (FrameKind.WELCOME, Welcome("life"))],
    ],
    ids=["a delivery first", "two hellos", "a welcome"],
)
async def test_a_message_that_does_not_belong_there_ends_the_connection(server, said):
    caller = Wire(server)
    caller.prove(server._secret)
    for kind, message in said:
        assert not caller.is_cut
        caller.say(kind, message)
    assert caller.is_cut


async def test_the_crowd_is_logged_once(server, caplog, monkeypatch):
    monkeypatch.setattr(socket_server._rejected, "_kinds", {})
    for _ in range(50):
        Wire(server)
    await turns()
    [told] = [record.getMessage() for record in caplog.records if " failed: " in record.getMessage()]
    assert "a connection from ('10.0.0.7', 4711) failed: it did not authenticate" in told
