"""Connections to an inbox, and to the actor around it: who gets in, what is noticed, and how soon."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import signal
from typing import Any

import pytest
import ray

from actors import socket_server
from actors.connection import Connection
from actors.core.messages import Delivery, Poll
from actors.courier import Courier
from actors.courier_settings import CourierSettings, OnRestart
from actors.frames import Kind, encode
from actors.handshake import CallerHandshake, Meeting
from actors.inbox import Inbox
from actors.link import LinkError
from actors.meeting import Address, Reachable
from actors.socket_link import LinkSettings, SocketLink
from actors.socket_server import SocketServer
from tests.ray.conftest import PATIENCE_S, PATIENT, WITHIN_S

NOWHERE = Address("nobody", "nowhere")
SETTINGS = CourierSettings(10_000, 256 << 20, OnRestart.RESEND)


class Known:
    """Introduces to a server in this process."""

    def __init__(self, meeting: Meeting) -> None:
        self.known = meeting

    async def meeting(self) -> Meeting:
        return self.known


class Echo(Reachable):
    """Answers every item with itself, but for `hold`, which it keeps."""

    def __init__(self) -> None:
        self._inbox = Inbox(self._on_item)

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
    server = SocketServer(Echo()._inbox)
    yield await server.meeting("127.0.0.1")
    server.close()


@contextlib.asynccontextmanager
async def link_to(meeting: Meeting):
    link = SocketLink(NOWHERE, introducer=Known(meeting))
    yield link
    await link.close()


@contextlib.asynccontextmanager
async def raw(meeting: Meeting, secret: bytes):
    """A caller that goes through the handshake with `secret`, and then says whatever a test wants."""
    reader, writer = await asyncio.open_connection(meeting.host, meeting.port)
    handshake = CallerHandshake(secret, os.urandom(32))
    writer.write(handshake.take(await reader.readexactly(handshake.wants)))
    yield reader, writer
    writer.close()


def items(*values: Any, sequence: int = 1) -> Delivery:
    return Delivery("test", None, 0, sequence, tuple(enumerate(values)), ())


async def test_one_with_a_wrong_secret_is_shut_out_before_anything_is_unpickled(served, caplog):
    async with raw(served, b"x" * 32) as (reader, writer):
        writer.write(b"".join(encode(Kind.REQUEST, 1, pickle.dumps(Trap()))))
        async with asyncio.timeout(WITHIN_S):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
    assert UNPICKLED == []
    assert "does not know this actor's secret" in caplog.text
    async with raw(served, served.secret) as (reader, writer):  # the trap works: who knows it gets this far
        writer.write(b"".join(encode(Kind.REQUEST, 1, pickle.dumps(Trap()))))
        async with asyncio.timeout(WITHIN_S):
            await reader.readexactly(32 + 9)
    assert UNPICKLED == ["sprung"]


async def test_an_impostor_on_an_actors_port_is_told_nothing_and_nothing_of_it_is_unpickled():
    UNPICKLED.clear()
    heard = []

    async def pretend(reader, writer):
        writer.write(b"headrace link 1\n" + b"2" * 32)
        await reader.readexactly(64)
        writer.write(b"0" * 32 + b"".join(encode(Kind.ANSWER, 1, pickle.dumps(Trap()))))
        heard.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(pretend, "127.0.0.1", 0)
    async with server, link_to(Meeting(*server.sockets[0].getsockname(), b"s" * 32)) as link:
        with pytest.raises(LinkError, match="does not know") as lost:
            await link.deliver(items("a word"))
    assert not lost.value.final
    assert UNPICKLED == []
    assert all(word == b"" for word in heard)


async def test_a_message_that_is_too_large_ends_its_connection_and_no_other(served):
    async with link_to(served) as link, raw(served, served.secret) as (reader, writer):
        await reader.readexactly(32)
        writer.write(b"\xff\xff\xff\xff" + bytes([Kind.REQUEST]) + b"\0\0\0\1")
        async with asyncio.timeout(WITHIN_S):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        assert (await link.deliver(items("still here"))).replies == ((0, "still here"),)


async def test_one_who_shuts_the_door_without_a_word_leaves_the_inbox_working(served):
    for _ in range(3):
        _, writer = await asyncio.open_connection(served.host, served.port)
        writer.close()
        await writer.wait_closed()
    async with link_to(served) as link:
        assert (await link.deliver(items(1))).replies == ((0, 1),)


async def test_strangers_that_crowd_the_door_are_turned_away(served, monkeypatch):
    monkeypatch.setattr(socket_server, "_MOST_STRANGERS", 1)
    assert Connection.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(Connection.__init__.__kwdefaults__, "within_s", PATIENCE_S)  # for a handshake
    first, writer = await asyncio.open_connection(served.host, served.port)
    await first.readexactly(48)
    second, other = await asyncio.open_connection(served.host, served.port)
    async with asyncio.timeout(WITHIN_S):
        with contextlib.suppress(ConnectionError):
            await second.read()
    for each in (writer, other):
        each.close()


async def test_two_couriers_to_one_inbox_get_their_own_answers_however_large(served):
    couriers: list[Courier[Any, Any]] = []
    for _ in range(2):
        link = SocketLink(NOWHERE, introducer=Known(served))
        couriers.append(Courier(link, peer="echo", settings=SETTINGS, size_of=len))
    sent = [[bytes([number]) * 1_000_000 for number in range(start, start + 20)] for start in (0, 100)]
    async with asyncio.timeout(WITHIN_S):
        calls = [courier.call(each) for courier, all_ in zip(couriers, sent, strict=True) for each in all_]
        answers = await asyncio.gather(*calls)
    assert answers == sent[0] + sent[1]
    for courier in couriers:
        await courier.close()


async def test_a_reply_that_does_not_pickle_is_told_with_its_cause(served, caplog):
    server = SocketServer(Inbox(lambda item, reply: reply(lambda: item)))
    async with link_to(await server.meeting("127.0.0.1")) as link:
        with caplog.at_level(logging.ERROR), pytest.raises(LinkError, match="defect") as lost:
            await link.deliver(items(1))
    server.close()
    assert lost.value.final


@pytest.fixture
async def echo(fleet):
    return fleet.actor(EchoActor, "echo")


async def pid_of(actor: Any, fleet: Any) -> int:
    return int(await fleet.answer(actor.__ray_call__.remote(lambda _: os.getpid())))


async def again(link: SocketLink, delivery: Delivery) -> Any:
    """Deliver as a courier would: until it is taken in, or there is no hope."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                return await link.deliver(delivery)
            except LinkError as error:
                if error.final:
                    raise
                await asyncio.sleep(0.05)


async def test_a_killed_actor_is_noticed_at_once_and_found_again_in_its_next_life(fleet, echo):
    link = SocketLink(fleet.address("echo"), PATIENT)
    before = await again(link, items("hold"))
    waiting = asyncio.create_task(link.collect(Poll("test", 0, (), PATIENCE_S)))
    pid = await pid_of(echo, fleet)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(LinkError) as lost:
        async with asyncio.timeout(WITHIN_S):
            await waiting
    assert not lost.value.final
    after = await again(link, items("new"))
    assert after.replies == ((0, "new"),)
    assert after.epoch != before.epoch
    await link.close()


async def test_a_stopped_actor_is_found_by_its_silence_and_heard_again_when_it_goes_on(fleet, echo):
    link = SocketLink(fleet.address("echo"), LinkSettings(ping_after_s=0.1, lost_after_s=0.4))
    await again(link, items("hold"))
    pid = await pid_of(echo, fleet)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(LinkError, match="no sign of life") as lost:
            async with asyncio.timeout(WITHIN_S):
                await link.collect(Poll("test", 0, (), PATIENCE_S))
        assert not lost.value.final
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (await again(link, items("hold", "on", sequence=2))).replies == ((1, "on"),)
    await link.close()


async def test_an_actor_that_only_has_nothing_to_say_is_not_taken_for_lost(fleet, echo):
    link = SocketLink(fleet.address("echo"), LinkSettings(ping_after_s=0.05, lost_after_s=1.5))
    await again(link, items("hold"))
    assert (await link.collect(Poll("test", 0, (), 2.0))).replies == ()
    await link.close()


async def test_an_actor_made_anew_under_its_name_is_found_though_the_first_is_gone_for_good(fleet, echo):
    link = SocketLink(fleet.address("echo"))
    before = await again(link, items(1))
    ray.kill(echo, no_restart=True)
    with pytest.raises(LinkError):
        await link.collect(Poll("test", 0, (), PATIENCE_S))
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                fleet.actor(EchoActor, "echo")
                break
            except ValueError:  # its name is not free yet
                await asyncio.sleep(0.01)
    after = await again(link, items(2))
    assert after.epoch != before.epoch
    await link.close()


async def test_a_caller_on_the_same_host_is_met_on_loopback_and_one_elsewhere_at_the_nodes_address(
    fleet, echo
):
    here = ray.util.get_node_ip_address()
    near = await fleet.answer(echo.meet.remote(here))
    far = await fleet.answer(echo.meet.remote("192.0.2.99"))
    assert (near.host, far.host) == ("127.0.0.1", here)
    for meeting in (near, far):
        async with link_to(meeting) as link:
            assert (await link.deliver(Delivery(meeting.host, None, 0, 1, ((0, 1),), ()))).replies == (
                (0, 1),
            )
