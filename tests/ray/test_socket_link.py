"""Connections to an inbox, and to the actor around it: who gets in, what is noticed, and how soon."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pickle
import signal
from typing import Any

import pytest
import ray

from actors.core.errors import UnsendableError
from actors.core.messages.delivery import Delivery, Hello, Replies
from actors.transport.address import Address
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, OnRestart
from actors.transport.discovery import RayLocator, Reachable
from actors.transport.inbox import Inbox
from actors.transport.link import LinkError
from actors.transport.tcp import server as socket_server
from actors.transport.tcp.authentication import CallerHandshake, Location
from actors.transport.tcp.connection import TcpConnection
from actors.transport.tcp.frames import FrameKind, encode
from actors.transport.tcp.link import LinkSettings, SocketLink, SocketStream
from actors.transport.tcp.server import SocketServer
from tests.ray.conftest import PATIENCE_S, PATIENT, WITHIN_S

SETTINGS = CourierSettings(10_000, 256 << 20, OnRestart.RESEND)


class At(Address[Any, Any], frozen=True):
    """An address with one link."""

    made: SocketLink

    def link(self) -> SocketLink:
        return self.made


class Known:
    """Introduces to a server in this process."""

    def __init__(self, location: Location) -> None:
        self.known = location

    async def location(self) -> Location:
        return self.known


class Echo(Reachable):
    """Answers every item with itself, but for `hold`, which it keeps."""

    def __init__(self) -> None:
        self.inbox = Inbox(self._on_item)
        super().__init__(self.inbox)

    def _on_item(self, item: Any, reply: Any) -> None:
        if item != "hold":
            reply(item)


EchoActor = ray.remote(Echo)
UNPICKLED: list[str] = []


def spring() -> None:
    UNPICKLED.append("sprung")


class Trap:
    """Tells when somebody unpickles it."""

    def __reduce__(self) -> Any:
        return spring, ()


@pytest.fixture
async def served():
    UNPICKLED.clear()
    server = SocketServer(Echo().inbox)
    yield await server.location("127.0.0.1")
    server.close()


@contextlib.asynccontextmanager
async def link_to(location: Location):
    link = SocketLink(Known(location))
    yield link
    await link.close()


@contextlib.asynccontextmanager
async def raw(location: Location, secret: bytes):
    """A caller that goes through the handshake with `secret`, and then says whatever a test wants."""
    reader, writer = await asyncio.open_connection(location.host, location.port)
    handshake = CallerHandshake(secret, os.urandom(32))
    writer.write(handshake.take(await reader.readexactly(handshake.wants)))
    yield reader, writer
    writer.close()


class Talk:
    """One who asks: connects, delivers, and waits for one reply at a time."""

    is_waiting = True
    numbers = itertools.count()

    def __init__(self, link: SocketLink) -> None:
        self.link = link
        self.heard: asyncio.Queue[tuple[int, Any]] = asyncio.Queue()

    def on_replies(self, replies: Replies) -> None:
        for each in replies.replies:
            self.heard.put_nowait(each)

    async def begin(self) -> SocketStream:
        """Connect as a courier would: until there is a connection."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                try:
                    return await self.link.open(Hello("test", next(self.numbers)), self)
                except LinkError:
                    await asyncio.sleep(0.05)

    async def reply(self) -> Any:
        async with asyncio.timeout(WITHIN_S):
            return (await self.heard.get())[1]


def items(*values: Any) -> Delivery:
    return Delivery(tuple(enumerate(values)), ())


async def answered(link: SocketLink, value: Any) -> Any:
    """Return what comes back for `value` on a connection of its own."""
    talk = Talk(link)
    (await talk.begin()).deliver(items(value))
    return await talk.reply()


async def test_one_with_a_wrong_secret_is_shut_out_before_anything_is_unpickled(served, caplog):
    async with raw(served, b"x" * 32) as (reader, writer):
        writer.write(b"".join(encode(FrameKind.HELLO, pickle.dumps(Trap()))))
        async with asyncio.timeout(WITHIN_S):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
    assert UNPICKLED == []
    assert "does not know this actor's secret" in caplog.text
    async with raw(served, served.secret) as (reader, writer):  # the trap works: who knows it gets this far
        writer.write(b"".join(encode(FrameKind.HELLO, pickle.dumps(Trap()))))
        async with asyncio.timeout(WITHIN_S):
            await reader.readexactly(32 + 5)
    assert UNPICKLED == ["sprung"]


async def test_an_impostor_on_an_actors_port_is_told_nothing_and_nothing_of_it_is_unpickled():
    UNPICKLED.clear()
    heard = []

    async def pretend(reader, writer):
        writer.write(b"headrace link 2\n" + b"2" * 32)
        await reader.readexactly(64)
        writer.write(b"0" * 32 + b"".join(encode(FrameKind.WELCOME, pickle.dumps(Trap()))))
        heard.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(pretend, "127.0.0.1", 0)
    async with server, link_to(Location(*server.sockets[0].getsockname(), b"s" * 32)) as link:
        with pytest.raises(LinkError, match="does not know"):
            await link.open(Hello("test", 1), Talk(link))
    assert UNPICKLED == []
    assert all(word == b"" for word in heard)


async def test_a_message_that_is_too_large_ends_its_connection_and_no_other(served):
    async with link_to(served) as link, raw(served, served.secret) as (reader, writer):
        await reader.readexactly(32)
        writer.write(b"\xff\xff\xff\xff" + bytes([FrameKind.HELLO]))
        async with asyncio.timeout(WITHIN_S):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        assert await answered(link, "still here") == "still here"


async def test_one_who_shuts_the_door_without_a_word_leaves_the_inbox_working(served):
    for _ in range(3):
        _, writer = await asyncio.open_connection(served.host, served.port)
        writer.close()
        await writer.wait_closed()
    async with link_to(served) as link:
        assert await answered(link, 1) == 1


async def test_the_oldest_unauthenticated_connection_makes_room_for_a_new_one(served, monkeypatch):
    monkeypatch.setattr(socket_server, "_MAX_UNAUTHENTICATED", 1)
    assert TcpConnection.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(TcpConnection.__init__.__kwdefaults__, "within_s", PATIENCE_S)  # for a handshake
    first, writer = await asyncio.open_connection(served.host, served.port)
    await first.readexactly(48)
    async with link_to(served) as link:
        assert await answered(link, 1) == 1
    async with asyncio.timeout(WITHIN_S):
        with contextlib.suppress(ConnectionError):
            assert await first.read() == b""
    writer.close()


async def test_replies_that_come_to_more_than_a_frame_may_hold_all_arrive(served):
    """The items of 512 tasks that are resumed: the link was lost for good."""
    server = SocketServer(Inbox(lambda item, reply: reply(b"x" * 540_000)))
    link = SocketLink(Known(await server.location("127.0.0.1")))
    courier: Courier[Any, Any] = Courier(At("journal", link), settings=SETTINGS)
    async with asyncio.timeout(WITHIN_S):
        sizes = await asyncio.gather(*(size(courier, n) for n in range(512)))
    await courier.close()
    server.close()
    assert sizes == [540_000] * 512


async def size(courier: Courier[Any, Any], item: Any) -> int:
    return len(await courier.call(item))


async def test_two_couriers_to_one_inbox_get_their_own_answers_however_large(served):
    couriers: list[Courier[Any, Any]] = []
    for _ in range(2):
        link = SocketLink(Known(served))
        couriers.append(Courier(At("echo", link), settings=SETTINGS, size_of=len))
    sent = [[bytes([number]) * 1_000_000 for number in range(start, start + 20)] for start in (0, 100)]
    async with asyncio.timeout(WITHIN_S):
        calls = [courier.call(each) for courier, all_ in zip(couriers, sent, strict=True) for each in all_]
        answers = await asyncio.gather(*calls)
    assert answers == sent[0] + sent[1]
    for courier in couriers:
        await courier.close()


async def test_a_reply_that_does_not_pickle_is_an_error_for_its_own_item(served):
    server = SocketServer(Inbox(lambda item, reply: reply((lambda: item) if item == 1 else item)))
    async with link_to(await server.location("127.0.0.1")) as link:
        talk = Talk(link)
        (await talk.begin()).deliver(items(0, 1, 2))
        async with asyncio.timeout(WITHIN_S):
            replies = dict([await talk.heard.get() for _ in range(3)])
    server.close()
    assert (replies[0], replies[2]) == (0, 2)
    assert isinstance(replies[1], UnsendableError)


class Unreadable:
    """Can be sent, and cannot be read."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


async def test_what_cannot_be_read_fails_alone_in_both_directions():
    server = SocketServer(Inbox(lambda item, reply: reply(Unreadable() if item == "answer so" else item)))
    link = SocketLink(Known(await server.location("127.0.0.1")))
    courier: Courier[Any, Any] = Courier(At("odd", link), settings=SETTINGS)
    async with asyncio.timeout(WITHIN_S):
        ends = await asyncio.gather(
            *(courier.call(item) for item in (1, "answer so", 2, Unreadable(), 3)), return_exceptions=True
        )
    await courier.close()
    server.close()
    assert (ends[0], ends[2], ends[4]) == (1, 2, 3)
    assert isinstance(ends[1], UnsendableError)
    assert isinstance(ends[3], UnsendableError)


@pytest.fixture
async def echo(fleet):
    return fleet.actor(EchoActor, "echo")


async def pid_of(actor: Any, fleet: Any) -> int:
    return int(await fleet.answer(actor.__ray_call__.remote(lambda _: os.getpid())))


async def why_broken(stream: SocketStream) -> LinkError:
    async with asyncio.timeout(WITHIN_S):
        return await stream.broken


async def test_a_killed_actor_is_noticed_at_once_and_found_again_in_its_next_life(fleet, echo):
    link = SocketLink(RayLocator(fleet.address("echo")), PATIENT)
    talk = Talk(link)
    before = await talk.begin()
    before.deliver(items("hold"))
    pid = await pid_of(echo, fleet)
    os.kill(pid, signal.SIGKILL)
    await why_broken(before)
    after = await talk.begin()
    after.deliver(items("new"))
    assert await talk.reply() == "new"
    assert after.epoch != before.epoch
    await link.close()


async def test_a_stopped_actor_is_found_by_its_silence_and_heard_again_when_it_goes_on(fleet, echo):
    link = SocketLink(RayLocator(fleet.address("echo")), LinkSettings(ping_after_s=0.1, lost_after_s=0.4))
    talk = Talk(link)
    stream = await talk.begin()
    pid = await pid_of(echo, fleet)
    os.kill(pid, signal.SIGSTOP)
    try:
        stream.deliver(items("hold"))
        why = await why_broken(stream)
        assert "no sign of life" in str(why)
    finally:
        os.kill(pid, signal.SIGCONT)
    (await talk.begin()).deliver(items("hold", "on"))
    assert await talk.reply() == "on"
    await link.close()


async def test_an_actor_that_only_has_nothing_to_say_is_not_taken_for_lost(fleet, echo):
    link = SocketLink(RayLocator(fleet.address("echo")), LinkSettings(ping_after_s=0.05, lost_after_s=1.0))
    stream = await Talk(link).begin()
    stream.deliver(items("hold"))
    broken, _ = await asyncio.wait([stream.broken], timeout=2.0)
    assert not broken
    await link.close()


async def test_an_actor_made_anew_under_its_name_is_found_though_the_first_is_gone_for_good(fleet, echo):
    link = SocketLink(RayLocator(fleet.address("echo")))
    before = await Talk(link).begin()
    ray.kill(echo, no_restart=True)
    await why_broken(before)
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                fleet.actor(EchoActor, "echo")
                break
            except ValueError:  # its name is not free yet
                await asyncio.sleep(0.01)
    after = await Talk(link).begin()
    assert after.epoch != before.epoch
    await link.close()


async def test_a_caller_on_the_same_host_is_met_on_loopback_and_one_elsewhere_at_the_nodes_address(
    fleet, echo
):
    here = ray.util.get_node_ip_address()
    near = await fleet.answer(echo.locate.remote(here))
    far = await fleet.answer(echo.locate.remote("192.0.2.99"))
    assert (near.host, far.host) == ("127.0.0.1", here)
    for location in (near, far):
        async with link_to(location) as link:
            assert await answered(link, 1) == 1
