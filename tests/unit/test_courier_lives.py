"""A courier whose actor dies, message by message: what it may conclude from an answer, when it stops."""

from __future__ import annotations

import asyncio

import pytest

from actors.core.errors import PeerLostError
from actors.courier import Courier
from actors.courier_settings import CourierSettings, OnRestart
from actors.inbox import Inbox
from actors.link import LinkError


class Life:
    """One life of an actor that answers nothing by itself."""

    def __init__(self):
        self.ran = []
        self.inbox = Inbox(lambda item, reply: self.ran.append(item), interval_s=0)


class ManualLink:
    """Holds every message until a test says what comes back."""

    def __init__(self):
        self.deliveries = []
        self.polls = []

    async def deliver(self, delivery):
        return await self.hold(self.deliveries, delivery)

    async def collect(self, poll):
        return await self.hold(self.polls, poll)

    async def close(self):
        pass

    async def hold(self, held, message):
        answer = asyncio.get_running_loop().create_future()
        held.append((message, answer))
        return await answer


class Desk:
    def __init__(self, rule):
        self.now = 0.0
        self.link = ManualLink()
        self.restarts = []
        settings = CourierSettings(
            max_outstanding=100,
            max_outstanding_bytes=10**6,
            on_restart=rule,
            interval_s=0,
            retry_s=0,
        )
        self.courier = Courier(
            self.link,
            peer="target",
            settings=settings,
            on_restart=lambda: self.restarts.append(1),
            clock=lambda: self.now,
        )

    async def delivered_to(self, life, *, answer=True):
        """Have the delivery under way reach `life`; return its items. Without `answer`, that is lost."""
        delivery, future = await self.under_way(self.link.deliveries)
        receipt = life.inbox.deliver(delivery)
        if answer:
            future.set_result(receipt)
        else:
            future.set_exception(LinkError("the answer was lost", False))
        return [item for _, item in delivery.items]

    async def under_way(self, held):
        async with asyncio.timeout(5):
            while not held or held[-1][1].done():
                await asyncio.sleep(0)
        return held[-1]

    @property
    def messages(self):
        return len(self.link.deliveries) + len(self.link.polls)


@pytest.fixture
async def make_desk():
    desks = []

    def make(rule=OnRestart.FAIL):
        desks.append(Desk(rule))
        return desks[-1]

    yield make
    for desk in desks:
        await desk.courier.close()


async def turns(n=20):
    for _ in range(n):
        await asyncio.sleep(0)


async def test_the_answer_to_a_question_asked_before_a_failure_tells_nothing_of_what_came_after(make_desk):
    """A poll of the first life may be answered just before it dies; what was in doubt then stays in doubt."""
    desk, first, second = make_desk(), Life(), Life()
    desk.courier.post("a")
    await desk.delivered_to(first)
    doubtful = desk.courier.post("b")
    _, poll = await desk.under_way(desk.link.polls)
    await desk.delivered_to(first, answer=False)
    poll.set_result(first.inbox.deliver(desk.link.deliveries[-1][0]))  # an empty receipt of the first life
    await turns()
    assert await desk.delivered_to(second) == ["b"]
    with pytest.raises(PeerLostError) as lost:
        await doubtful
    assert lost.value.may_have_run
    assert (first.ran, second.ran) == (["a", "b"], [])


async def test_what_was_meant_for_a_life_that_has_ended_does_not_run_in_the_next(make_desk):
    """But what no life can have run is sent to the next one as if nothing had been."""
    desk, first, second = make_desk(), Life(), Life()
    old = desk.courier.post("a")
    await desk.delivered_to(first)
    desk.courier.post("b")
    assert await desk.delivered_to(second) == ["b"]
    assert second.ran == []
    with pytest.raises(PeerLostError) as lost:
        await old
    assert lost.value.may_have_run
    assert await desk.delivered_to(second) == ["b"]
    assert (first.ran, second.ran) == (["a"], ["b"])
    assert desk.restarts == [1]


async def test_before_any_life_is_known_what_may_be_running_is_asked_about_and_not_sent_again(make_desk):
    desk, first, second = make_desk(), Life(), Life()
    doubtful = desk.courier.post("a")
    await desk.delivered_to(first, answer=False)
    assert await desk.delivered_to(second) == []
    with pytest.raises(PeerLostError) as lost:
        await doubtful
    assert lost.value.may_have_run
    assert (first.ran, second.ran) == (["a"], [])


@pytest.mark.parametrize("rule", OnRestart)
async def test_once_an_actor_is_lost_nothing_more_is_sent_to_it(make_desk, rule):
    desk = make_desk(rule)
    pending = desk.courier.post("a")
    _, delivery = await desk.under_way(desk.link.deliveries)
    _, poll = await desk.under_way(desk.link.polls)
    delivery.set_exception(LinkError("dead", True))
    with pytest.raises(PeerLostError):
        await pending
    poll.set_exception(LinkError("dead", True))
    messages = desk.messages
    await turns(200)
    assert desk.messages == messages
    with pytest.raises(PeerLostError) as lost:
        await desk.courier.call("b")
    assert not lost.value.may_have_run


async def test_an_actor_that_was_given_up_does_not_begin_anew(make_desk):
    """Its owner was told that it is gone for good, and gave its work to others."""
    desk, first, second = make_desk(), Life(), Life()
    pending = desk.courier.post("a")
    await desk.delivered_to(first)
    await turns()
    desk.courier.post("b")
    _, poll = await desk.under_way(desk.link.polls)
    for now in (0.0, 31.0):
        desk.now = now
        _, delivery = await desk.under_way(desk.link.deliveries)
        delivery.set_exception(LinkError("away", False))
        await turns()
    with pytest.raises(PeerLostError):
        await pending
    poll.set_result(second.inbox.deliver(desk.link.deliveries[0][0]))
    await turns()
    assert desk.restarts == []
