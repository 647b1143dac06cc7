"""A courier whose connection breaks and whose actor dies: what goes again, and what is in doubt."""

from __future__ import annotations

from collections import Counter

import pytest

from actors.core.errors import PeerLostError
from actors.transport.courier_settings import OnRestart
from actors.transport.link import LinkError
from tests.unit.support.courier_target import FlakyLink, Target, make, turns, until


class Desk:
    def __init__(self, rule):
        self.target = Target(hold=True)
        self.link = FlakyLink(self.target)
        self.restarts = []
        self.courier = make(self.link, rule=rule, on_restart=lambda: self.restarts.append(1))

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
    desk.link.stream.break_off(LinkError("broke"))
    second = await desk.running(2)
    desk.target.release()
    assert (await first, await second) == (2, 4)
    assert desk.target.ran == Counter({1: 1, 2: 1})
    assert desk.restarts == []


async def test_a_reply_that_was_lost_with_its_connection_is_told_on_the_next(make_desk):
    desk = make_desk()
    pending = await desk.running(1)
    desk.target.release()
    desk.link.stream.break_off(LinkError("broke"))
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
    desk.link.stream.break_off(LinkError("broke"))
    await turns()
    assert desk.link.opened == 1
    await desk.running(2)
    assert desk.link.opened == 2
