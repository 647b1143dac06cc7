"""What every link promises, as tests. A subclass has a fixture `place` with the actor that is linked to."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

import pytest

from actors.core.errors import OverloadedError
from actors.core.messages.delivery import Delivery, Hello
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, OnRestart
from actors.transport.inbox import Inbox
from actors.transport.link import LinkError

WITHIN_S = 60.0


class Echo:
    """An actor that answers every item with itself, at once or when it is released."""

    def __init__(self):
        self.inbox = Inbox(self.on_item)
        self.ran = []
        self.held = []
        self.holds = False

    def on_item(self, item, reply):
        self.ran.append(item)
        if self.holds:
            self.held.append((item, reply))
        else:
            reply(item)

    def release(self):
        held, self.held = self.held, []
        for item, reply in held:
            reply(item)


class Place:
    """Where the actor is. `address()` leads to its present life, `restart()` begins another."""

    def __init__(self):
        self.actor = Echo()

    def address(self):
        raise NotImplementedError

    async def restart(self):
        raise NotImplementedError

    async def close(self):
        """Let go of what it holds."""


class Talker:
    """A caller by hand: one name, a number for each connection, and what it hears."""

    is_waiting = True

    def __init__(self, place):
        self.place = place
        self.numbers = itertools.count(1)
        self.heard = []
        self.links = []

    def on_replies(self, replies):
        self.heard.extend(replies.replies)

    async def connect(self, number=None):
        link = self.place.address().link()
        self.links.append(link)
        async with asyncio.timeout(WITHIN_S):
            return await link.open(Hello("talker", next(self.numbers) if number is None else number), self)


def items(*values, first=0, acked=()):
    return Delivery(tuple(enumerate(values, first)), acked)


async def until(condition):
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0)


def courier(place, **more):
    settings = CourierSettings(**{"max_outstanding": 1000, "max_outstanding_bytes": 1 << 20, **more})
    return Courier(place.address(), settings=settings, size_of=len)


class LinkContract:
    """Tests of one kind of link."""

    @pytest.fixture
    async def talker(self, place):
        made = Talker(place)
        yield made
        for link in made.links:
            await link.close()

    async def test_items_arrive_in_order_and_replies_come_back(self, place, talker):
        stream = await talker.connect()
        for start in range(0, 1000, 100):
            stream.deliver(items(*range(start, start + 100), first=start))
        await until(lambda: len(talker.heard) == 1000)
        assert place.actor.ran == list(range(1000))
        assert talker.heard == [(number, number) for number in range(1000)]

    async def test_a_stream_names_the_life_of_its_actor(self, place, talker):
        stream = await talker.connect()
        assert stream.epoch == place.actor.inbox.epoch
        await place.restart()
        again = await talker.connect()
        assert again.epoch == place.actor.inbox.epoch != stream.epoch

    async def test_an_item_that_is_sent_again_on_the_next_stream_runs_once(self, place, talker):
        place.actor.holds = True
        (await talker.connect()).deliver(items("a", "b"))
        await until(lambda: len(place.actor.ran) == 2)
        await talker.links[0].close()
        (await talker.connect()).deliver(items("a", "b", "c"))
        await until(lambda: len(place.actor.ran) == 3)
        place.actor.release()
        await until(lambda: len(talker.heard) == 3)
        assert talker.heard == [(0, "a"), (1, "b"), (2, "c")]

    async def test_a_reply_is_told_again_on_the_next_stream_until_it_is_acknowledged(self, place, talker):
        first = await talker.connect()
        first.deliver(items("a", "b"))
        await until(lambda: len(talker.heard) == 2)
        first.deliver(Delivery((), (0,)))
        first.deliver(items("c", first=2))
        await until(lambda: len(talker.heard) == 3)
        await talker.links[0].close()
        talker.heard.clear()
        await talker.connect()
        await until(lambda: len(talker.heard) == 2)
        assert talker.heard == [(1, "b"), (2, "c")]

    async def test_nothing_is_taken_from_a_stream_that_another_has_followed(self, place, talker):
        old, new = await talker.connect(), await talker.connect()
        old.deliver(items("old"))
        new.deliver(items("new", first=1))
        await until(lambda: talker.heard)
        for _ in range(20):
            await asyncio.sleep(0)
        assert place.actor.ran == ["new"]

    async def test_a_hello_that_another_has_overtaken_is_refused(self, place, talker):
        await talker.connect(2)
        with pytest.raises(LinkError):
            await talker.connect(1)

    async def test_a_link_that_is_closed_breaks_its_stream_and_carries_nothing_more(self, place, talker):
        stream = await talker.connect()
        await talker.links[0].close()
        async with asyncio.timeout(WITHIN_S):
            assert isinstance(await stream.broken, LinkError)
        stream.deliver(items("late"))
        (await talker.connect()).deliver(items("next", first=1))
        await until(lambda: talker.heard)
        assert place.actor.ran == ["next"]

    async def test_an_error_as_a_reply_is_raised_at_the_caller_and_hurts_no_other(self, place):
        to_actor = courier(place, on_restart=OnRestart.RESEND)
        place.actor.holds = True
        calls = [asyncio.ensure_future(to_actor.call(each)) for each in ("bad", "good")]
        await until(lambda: len(place.actor.held) == 2)
        place.actor.held[0][1](OverloadedError("the test", 2.5))
        place.actor.held[1][1]("fine")
        async with asyncio.timeout(WITHIN_S):
            ends = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(ends[0], OverloadedError)
        assert ends[0].retry_after_s == 2.5
        assert ends[1] == "fine"
        await to_actor.close()

    @pytest.mark.parametrize("bound", [{"max_outstanding": 2}, {"max_outstanding_bytes": 20}], ids=str)
    async def test_what_is_outstanding_is_bounded_in_items_and_in_bytes(self, place, bound):
        to_actor = courier(place, on_restart=OnRestart.RESEND, **bound)
        place.actor.holds = True
        sends = [asyncio.ensure_future(to_actor.call(b"x" * 10)) for _ in range(5)]
        await until(lambda: len(place.actor.held) == 2)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(place.actor.ran) == 2
        with pytest.raises(OverloadedError):
            to_actor.post(b"x" * 10)
        place.actor.holds = False
        place.actor.release()
        async with asyncio.timeout(WITHIN_S):
            assert await asyncio.gather(*sends) == [b"x" * 10] * 5
        await to_actor.close()

    async def test_in_a_new_life_of_the_actor_what_is_unanswered_is_sent_again(self, place):
        to_actor = courier(place, on_restart=OnRestart.RESEND, retry_s=0.0)
        place.actor.holds = True
        calls = [asyncio.ensure_future(to_actor.call(each)) for each in "abc"]
        await until(lambda: len(place.actor.held) == 3)
        await place.restart()
        async with asyncio.timeout(WITHIN_S):
            assert await asyncio.gather(*calls) == ["a", "b", "c"]
        assert Counter(place.actor.ran) == Counter("abc")
        assert to_actor.statistics().restarts == 1
        await to_actor.close()
