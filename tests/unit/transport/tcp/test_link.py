"""What a stream makes of silence, without sockets: the wire is a list, and the clock is turned by hand."""

from __future__ import annotations

import asyncio
import gc
import pickle

import pytest

from actors.core.errors import UnsendableError
from actors.core.messages.delivery import Delivery, Hello, Packed, Replies, Welcome
from actors.transport.link import LinkError
from actors.transport.pickling import dumps
from actors.transport.tcp import link as socket_link
from actors.transport.tcp.authentication import CalledHandshake, Location
from actors.transport.tcp.envelopes import unpack
from actors.transport.tcp.frames import FrameKind, FrameReader, encode
from actors.transport.tcp.link import LinkSettings, SocketStream

SECRET = b"s" * 32
HELLO = Hello("test", 1)
DELIVERY = Delivery(((0, "item"),), ())


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
    """An open connection to an actor that says only what a test has it say, of one who waits for it."""

    def __init__(self):
        self.now = 100.0
        self.is_waiting = True
        self.replies = []
        self.unread = False
        self.stream = SocketStream(SECRET, HELLO, self, LinkSettings(), self.on_unreadable)
        self.stream._clock = lambda: self.now
        self.wire = Wire(self.stream)
        self.stream.connection_made(self.wire)
        called = CalledHandshake(SECRET, b"2" * 32)
        self.stream.data_received(called.begin())
        self.stream.data_received(called.take(self.wire.first[-1]))

    def on_replies(self, replies):
        self.replies += replies.replies

    def on_unreadable(self):
        self.unread = True

    def look(self, at):
        """Let the stream's timer go off, at the time it was set for unless that is late."""
        self.now = at
        self.stream._watch.cancel()
        self.stream._check_silence()

    def say(self, kind, body=b""):
        self.stream.data_received(b"".join(encode(kind, body)))

    def why_broken(self):
        assert self.stream.broken.done()
        return self.stream.broken.result()

    @property
    def delivered(self):
        bodies = [frame.body for frame in self.wire.frames if frame.kind is FrameKind.DELIVERY]
        return [pickle.loads(body) for body in bodies]  # noqa: S301 - it was pickled here

    @property
    def pings(self):
        return sum(frame.kind is FrameKind.PING for frame in self.wire.frames)


@pytest.fixture
async def desk():
    made = Desk()
    yield made
    made.stream.connection_lost(None)


async def test_who_asks_is_said_first_and_which_life_answers_is_known_before_the_stream_is_used(desk):
    [hello] = desk.wire.frames
    assert (hello.kind, hello.body) == (FrameKind.HELLO, dumps(HELLO))
    assert not desk.stream.welcomed.done()
    desk.say(FrameKind.WELCOME, dumps(Welcome("second life")))
    assert desk.stream.welcomed.done()
    assert desk.stream.epoch == "second life"


async def test_replies_reach_the_one_who_asked_in_their_order(desk):
    desk.say(FrameKind.REPLIES, dumps(Replies(((2, "b"),))))
    desk.say(FrameKind.REPLIES, dumps(Replies(((1, "a"), (3, "c")))))
    assert desk.replies == [(2, "b"), (1, "a"), (3, "c")]


async def test_an_actor_that_is_silent_is_asked_for_a_sign_of_life_and_given_up_when_none_comes(desk):
    desk.stream.deliver(DELIVERY)
    for at in (102.0, 104.0, 106.0, 108.0):
        desk.look(at)
    assert desk.pings == 4
    assert not desk.stream.broken.done()
    desk.look(110.0)
    assert "no sign of life for 10 s" in str(desk.why_broken())


async def test_a_sign_of_life_is_enough_for_as_long_as_an_answer_takes(desk):
    desk.stream.deliver(DELIVERY)
    for at in range(102, 1000, 2):
        desk.look(float(at))
        desk.say(FrameKind.PONG)
    assert not desk.stream.broken.done()


async def test_silence_before_there_was_a_question_says_nothing(desk):
    desk.now = 200.0
    desk.stream.deliver(DELIVERY)
    desk.look(202.0)
    assert not desk.stream.broken.done()


async def test_a_process_that_stood_still_itself_blames_nobody_for_the_silence(desk):
    desk.stream.deliver(DELIVERY)
    desk.look(160.0)
    for at in (162.0, 164.0, 166.0, 168.0):
        desk.look(at)
    assert not desk.stream.broken.done()
    desk.look(170.0)
    assert "no sign of life" in str(desk.why_broken())


async def test_nothing_is_pinged_while_nothing_is_owed_and_silence_counts_anew_after_it(desk):
    desk.stream.deliver(DELIVERY)
    desk.is_waiting = False
    desk.look(102.0)
    assert desk.pings == 0
    assert desk.stream._watch is None
    desk.now, desk.is_waiting = 500.0, True
    desk.stream.deliver(DELIVERY)
    desk.look(502.0)
    assert (desk.pings, desk.stream.broken.done()) == (1, False)


async def test_a_broken_connection_is_told_once_with_its_reason_and_takes_nothing_more(desk):
    desk.stream.connection_lost(ConnectionResetError("reset by peer"))
    assert "reset by peer" in str(desk.why_broken())
    with pytest.raises(LinkError, match="reset by peer"):
        await desk.stream.welcomed


async def test_a_connection_that_breaks_before_its_welcome_may_have_nobody_that_waits():
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    Desk().stream.connection_lost(None)
    gc.collect()
    assert told == []


@pytest.mark.parametrize("body", [b"no pickle", dumps(HELLO)], ids=["no pickle", "no reply"])
async def test_an_answer_that_cannot_be_read_ends_its_connection(desk, body):
    desk.say(FrameKind.REPLIES, body)
    assert desk.stream.broken.done()
    assert desk.unread == (body == b"no pickle")


async def test_a_message_that_the_actor_cannot_read_ends_its_connection_with_the_cause(desk):
    desk.say(FrameKind.FAILURE, b"Traceback (most recent call last):\nValueError: so it was\n")
    assert "could not read a message: ValueError: so it was" in str(desk.why_broken())
    assert desk.unread


async def test_an_item_that_cannot_be_sent_is_answered_here_and_the_others_go(desk):
    desk.stream.deliver(Delivery(((0, "a"), (1, lambda: None), (2, "b")), (9,)))
    [(item_id, error)] = desk.replies
    assert (item_id, type(error)) == (1, UnsendableError)
    [sent] = desk.delivered
    assert unpack(sent.items) == (((0, "a"), (2, "b")), ())
    assert sent.acked == (9,)
    assert not desk.stream.broken.done()


async def test_acknowledgements_go_though_no_item_beside_them_can(desk):
    desk.stream.deliver(Delivery(((1, lambda: None),), (9,)))
    [sent] = desk.delivered
    assert sent == Delivery((), (9,))


async def test_a_reply_that_cannot_be_read_is_an_error_for_its_own_item(desk):
    packed = tuple((n, Packed(body)) for n, body in enumerate([dumps("a"), b"no pickle", dumps("c")]))
    desk.say(FrameKind.REPLIES, dumps(Replies(packed)))
    replies = dict(desk.replies)
    assert (replies[0], replies[2]) == ("a", "c")
    assert isinstance(replies[1], UnsendableError)
    assert not desk.stream.broken.done()


async def test_after_a_message_that_could_not_be_read_the_next_connection_packs_each_by_itself(monkeypatch):
    """The link finds the one that cannot be read, and the others of its message are answered."""
    streams = []

    class Stream(SocketStream):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.hello = self._hello
            self.welcomed.set_result(None)
            streams.append(self)

    async def connect(make, *_):
        make()

    monkeypatch.setattr(socket_link, "SocketStream", Stream)
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", connect)
    link = socket_link.SocketLink(Nowhere())
    await link.open(HELLO, None)
    streams[0]._on_unreadable()
    await link.open(HELLO, None)
    assert [stream.hello.singly for stream in streams] == [False, True]
    for stream in streams:
        stream.connection_lost(None)


async def test_closing_a_link_ends_its_connection(monkeypatch):
    async def connect(make, *_):
        made = make()
        wire = Wire(made)
        made.connection_made(wire)
        called = CalledHandshake(SECRET, b"2" * 32)
        made.data_received(called.begin())
        made.data_received(called.take(wire.first[-1]))
        made.data_received(b"".join(encode(FrameKind.WELCOME, dumps(Welcome("life")))))

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", connect)
    link = socket_link.SocketLink(Nowhere())
    stream = await link.open(HELLO, None)
    await link.close()
    assert "the link was closed" in str(stream.broken.result())


class Nowhere:
    async def location(self):
        return Location("nowhere", 0, SECRET)
