"""A courier whose connection breaks and whose actor dies: what goes again, and what is in doubt."""

from __future__ import annotations

from collections import Counter

import pytest

from actors.core.errors import PeerLostError
from actors.courier_settings import OnRestart
from actors.link import LinkError
from tests.unit.courier_target import FlakyLink, Target, make, turns, until


class Desk:
    def __init__(self, rule):
        self.now = 0.0
        self.target = Target(hold=True)
        self.link = FlakyLink(self.target)
        self.restarts = []
        self.courier = make(
            self.link, rule=rule, on_restart=lambda: self.restarts.append(1), clock=lambda: self.now
        )

    async def running(self, item):
        """Post an item, and return its future once it runs."""
        posted = self.courier.post(item)
        await until(lambda: item in [held for held, _ in self.target.held])
        return posted


@pytest.fixture
async def make_desk():
    desks = []

    def make_one(rule=OnRestart.FAIL):
        desks.append(Desk(rule))
        return desks[-1]

    yield make_one
    for desk in desks:
        await desk.courier.close()


@pytest.mark.parametrize("rule", OnRestart)
async def test_a_broken_connection_is_made_again_and_what_runs_goes_on(make_desk, rule):
    desk = make_desk(rule)
    first = await desk.running(1)
    desk.link.stream.break_off(LinkError("broke", False))
    second = await desk.running(2)
    desk.target.release()
    assert (await first, await second) == (2, 4)
    assert desk.target.ran == Counter({1: 1, 2: 1})
    assert desk.restarts == []


async def test_a_reply_that_was_lost_with_its_connection_is_told_on_the_next(make_desk):
    desk = make_desk()
    pending = await desk.running(1)
    desk.target.release()
    desk.link.stream.break_off(LinkError("broke", False))
    assert await pending == 2
    assert desk.target.ran[1] == 1


async def test_what_was_never_sent_runs_in_the_next_life_and_what_was_is_in_doubt(make_desk):
    desk = make_desk()
    old = await desk.running(1)
    desk.target.restart()
    new = await desk.running(2)
    with pytest.raises(PeerLostError) as lost:
        await old
    assert lost.value.may_have_run
    desk.target.release()
    assert await new == 4
    assert desk.target.ran == Counter({1: 1, 2: 1})
    assert desk.restarts == [1]


async def test_before_any_life_has_said_its_name_nothing_is_sent(make_desk):
    """What the first life had taken in without a word would be sent to the second as well."""
    desk = make_desk()
    desk.link.be_away()
    pending = desk.courier.post(1)
    await until(lambda: desk.link.opened > 2)
    assert not desk.target.ran
    desk.target.restart()
    desk.link.error = None
    await until(lambda: desk.target.held)
    desk.target.release()
    assert await pending == 2
    assert desk.restarts == []


async def test_a_connection_that_breaks_while_nothing_is_pending_is_made_again_when_something_is(make_desk):
    desk = make_desk()
    first = await desk.running(1)
    desk.target.release()
    await first
    desk.link.stream.break_off(LinkError("broke", False))
    await turns()
    assert desk.link.opened == 1
    await desk.running(2)
    assert desk.link.opened == 2


@pytest.mark.parametrize("rule", OnRestart)
async def test_once_an_actor_is_lost_nothing_more_is_sent_to_it(make_desk, rule):
    desk = make_desk(rule)
    pending = await desk.running(1)
    desk.link.be_away(for_good=True)
    with pytest.raises(PeerLostError):
        await pending
    opened = desk.link.opened
    await turns(200)
    assert desk.link.opened == opened
    with pytest.raises(PeerLostError) as lost:
        await desk.courier.call(2)
    assert not lost.value.may_have_run


async def test_an_actor_that_stays_away_too_long_is_given_up_and_not_heard_again(make_desk):
    """Its owner was told that it is gone for good, and gave its work to others."""
    desk = make_desk()
    pending = await desk.running(1)
    desk.link.be_away()
    await until(lambda: desk.link.opened > 3)
    assert not pending.done()
    desk.now = 31.0
    with pytest.raises(PeerLostError) as lost:
        await pending
    assert lost.value.may_have_run
    desk.target.restart()
    desk.link.error = None
    await turns()
    assert desk.restarts == []


async def test_how_long_it_is_away_counts_from_the_first_connection_that_failed(make_desk):
    """Nobody looked while nothing was pending."""
    desk = make_desk()
    first = await desk.running(1)
    desk.target.release()
    await first
    desk.link.be_away()
    await turns()
    desk.now = 3600.0
    pending = desk.courier.post(2)
    await until(lambda: desk.link.opened > 3)
    assert not pending.done()
    desk.link.error = None
    await until(lambda: desk.target.held)


async def test_the_time_that_one_vain_attempt_takes_counts_as_well(make_desk):
    """A stopped actor keeps whoever asks for it waiting for half a minute."""
    desk = make_desk()
    pending = await desk.running(1)
    desk.link.be_away()
    away = desk.link.open

    async def open_slowly(hello, caller):
        desk.now += 31.0
        return await away(hello, caller)

    desk.link.open = open_slowly
    with pytest.raises(PeerLostError):
        await pending
    assert desk.link.opened == 2


async def test_one_that_came_back_is_given_as_long_again(make_desk):
    desk = make_desk()
    pending = await desk.running(1)
    for now in (20.0, 40.0):
        desk.link.be_away()
        opened = desk.link.opened
        await until(lambda opened=opened: desk.link.opened > opened + 1)
        desk.now = now
        await turns()
        assert not pending.done()
        desk.link.error = None
        await until(lambda: not desk.link.stream.broken.done())
