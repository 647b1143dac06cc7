"""What a link makes of silence, without sockets: the wire is a list, and the clock is turned by hand."""

from __future__ import annotations

import asyncio

import pytest

from actors.core.messages import Delivery, Poll, Receipt
from actors.frames import FrameReader, Kind, encode
from actors.handshake import CalledHandshake
from actors.link import LinkError
from actors.pickling import dumps
from actors.socket_link import LinkSettings, _ToActor

SECRET = b"s" * 32
POLL = Poll("test", 0, (), 5.0)
RECEIPT = Receipt("epoch", ())


class Wire(asyncio.Transport):
    def __init__(self, connection):
        super().__init__()
        self.connection, self.frames, self.reader = connection, [], FrameReader()
        self.first = []

    def write(self, data):
        if self.connection.is_open:
            self.frames += self.reader.feed(data)
        else:
            self.first.append(data)

    def is_closing(self):
        return False

    def abort(self):
        self.connection.connection_lost(None)


class Desk:
    """An open connection to an actor that says only what a test has it say."""

    def __init__(self):
        self.now = 100.0
        self.link = _ToActor(SECRET, LinkSettings())
        self.link._clock = lambda: self.now
        self.wire = Wire(self.link)
        self.link.connection_made(self.wire)
        called = CalledHandshake(SECRET, b"2" * 32)
        self.link.data_received(called.begin())
        self.link.data_received(called.take(self.wire.first[-1]))

    async def ask(self, message=POLL, within_s=35.0):
        asked = asyncio.create_task(self.link.ask(message, within_s))
        await asyncio.sleep(0)
        return asked

    def look(self, at):
        """Let the link's timer go off, at the time it was set for unless that is late."""
        self.now = at
        self.link._watch.cancel()
        self.link._look()

    def say(self, kind, number=0, body=b""):
        self.link.data_received(b"".join(encode(kind, number, body)))

    @property
    def pings(self):
        return sum(frame.kind is Kind.PING for frame in self.wire.frames)


@pytest.fixture
async def desk():
    made = Desk()
    yield made
    made.link.connection_lost(None)


async def test_an_answer_reaches_the_one_who_asked(desk):
    first, second = await desk.ask(), await desk.ask()
    numbers = [frame.number for frame in desk.wire.frames]
    desk.say(Kind.ANSWER, numbers[1], dumps(Receipt("second", ())))
    desk.say(Kind.ANSWER, numbers[0], dumps(RECEIPT))
    assert (await first, (await second).epoch) == (RECEIPT, "second")


async def test_an_actor_that_is_silent_is_asked_for_a_sign_of_life_and_given_up_when_none_comes(desk):
    asked = await desk.ask()
    for at in (102.0, 104.0, 106.0, 108.0):
        desk.look(at)
    assert desk.pings == 4
    assert not asked.done()
    desk.look(110.0)
    with pytest.raises(LinkError, match="no sign of life for 10 s") as lost:
        await asked
    assert not lost.value.final


async def test_a_sign_of_life_is_enough_for_as_long_as_an_answer_may_take(desk):
    asked = await desk.ask()
    for at in range(102, 135, 2):
        desk.look(float(at))
        desk.say(Kind.PONG)
    assert not asked.done()
    desk.look(136.0)
    with pytest.raises(LinkError, match="though the actor lives"):
        await asked
    assert desk.link.is_open


async def test_silence_before_there_was_a_question_says_nothing(desk):
    desk.now = 200.0
    await desk.ask()
    desk.look(202.0)
    assert desk.link.is_open


async def test_a_process_that_stood_still_itself_blames_nobody_for_the_silence(desk):
    asked = await desk.ask(within_s=1000.0)
    desk.look(160.0)
    assert desk.link.is_open
    for at in (162.0, 164.0, 166.0, 168.0):
        desk.look(at)
    assert not asked.done()
    desk.look(170.0)
    with pytest.raises(LinkError, match="no sign of life"):
        await asked


async def test_nothing_is_pinged_while_nothing_is_owed(desk):
    asked = await desk.ask()
    desk.say(Kind.ANSWER, desk.wire.frames[-1].number, dumps(RECEIPT))
    await asked
    desk.look(102.0)
    assert desk.pings == 0
    assert desk.link._watch is None


async def test_an_answer_that_comes_after_its_question_was_dropped_does_no_harm(desk):
    asked = await desk.ask()
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    desk.say(Kind.ANSWER, desk.wire.frames[-1].number, dumps(RECEIPT))
    assert desk.link.is_open


async def test_a_broken_connection_is_told_to_all_who_wait_and_to_whoever_asks_later(desk):
    asked = [await desk.ask(), await desk.ask(Delivery("test", None, 0, 1, (), ()))]
    desk.link.connection_lost(ConnectionResetError("reset by peer"))
    for each in asked:
        with pytest.raises(LinkError, match="reset by peer") as lost:
            await each
        assert not lost.value.final
    with pytest.raises(LinkError):
        await desk.link.ask(POLL, 1.0)


async def test_an_answer_that_cannot_be_read_ends_the_hope_and_not_the_connection(desk):
    asked = await desk.ask()
    desk.say(Kind.ANSWER, desk.wire.frames[-1].number, b"no pickle")
    with pytest.raises(LinkError, match="cannot be read") as lost:
        await asked
    assert lost.value.final
    assert desk.link.is_open
