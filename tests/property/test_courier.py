"""Whatever a link loses and however often the actor dies: each call ends, and none is paid for twice."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.core.errors import PeerLostError
from actors.courier import Courier
from actors.courier_settings import CourierSettings, OnRestart
from actors.inbox import Inbox
from actors.link import LinkError

ITEMS = 25


class Target:
    """An actor that answers some turns of the loop later, if it lives so long."""

    def __init__(self, rng):
        self.rng = rng
        self.life = 0
        self.ran = defaultdict(list)  # by item: the lives in which it ran
        self.restart()

    def restart(self):
        self.life += 1
        life = self.life
        self.inbox = Inbox(lambda item, reply: self.on_item(life, item, reply), interval_s=0)

    def on_item(self, life, item, reply):
        self.ran[item].append(life)
        self.work = asyncio.get_running_loop()
        self.later(self.rng.randrange(6), life, lambda: reply(item * 2))

    def later(self, turns, life, act):
        if turns:
            self.work.call_soon(self.later, turns - 1, life, act)
        elif life == self.life:  # what a dead actor had begun is gone
            act()


class Link:
    """Loses messages on their way and answers on theirs back, delays both, and at times the actor dies."""

    def __init__(self, target, rng, *, loss, death):
        self.target = target
        self.rng = rng
        self.loss = loss
        self.death = death
        self.is_calm = False
        self.reached = target.inbox  # the life that was spoken to last

    async def deliver(self, delivery):
        return await self.carry(lambda inbox: inbox.deliver(delivery))

    async def collect(self, poll):
        return await self.carry(lambda inbox: inbox.collect(poll))

    async def close(self):
        pass

    async def carry(self, act):
        await self.drift()
        if self.has(self.loss):
            raise LinkError("lost on its way", False)
        self.reached = inbox = self.target.inbox
        receipt = act(inbox)
        if asyncio.iscoroutine(receipt):
            receipt = await receipt
        if self.has(self.death):
            self.target.restart()
        await self.drift()
        # What an actor had answered before it died may arrive all the same, but not after its next life's.
        if (
            self.has(self.loss)
            or self.reached is not inbox
            or (self.target.inbox is not inbox and self.has(0.5))
        ):
            raise LinkError("the answer was lost", False)
        return receipt

    def has(self, chance):
        return not self.is_calm and self.rng.random() < chance

    async def drift(self):
        for _ in range(self.rng.randrange(4)):
            await asyncio.sleep(0)


async def run(rule, seed, loss, death):
    """Send all items, some urgent, over a link that calms down in the end; return what became of each."""
    rng = random.Random(seed)
    target = Target(rng)
    link = Link(target, rng, loss=loss, death=death)
    limits = CourierSettings(
        max_outstanding=ITEMS // 2,
        max_outstanding_bytes=10**6,
        on_restart=rule,
        interval_s=0,
        retry_s=0,
        wait_s=0.0,
    )
    restarts = []
    courier = Courier(link, peer="target", settings=limits, on_restart=lambda: restarts.append(1))
    sent = []
    for item in range(ITEMS):
        urgent = rng.random() < 0.2
        sent.append(courier.post(item, urgent=True) if urgent else await courier.send(item))
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
    link.is_calm = True
    async with asyncio.timeout(10):
        ends = await asyncio.gather(*sent, return_exceptions=True)
    known = courier.statistics()
    assert (known.outstanding, known.outstanding_bytes, known.waiting_for_room) == (0, 0, 0)
    assert known.restarts <= target.life - 1
    assert known.restarts == len(restarts)
    await courier.close()
    return target, ends


worlds = {
    "seed": st.integers(0, 2**32),
    "loss": st.sampled_from([0.0, 0.1, 0.4]),
    "death": st.sampled_from([0.0, 0.05, 0.3]),
}


@settings(max_examples=80, deadline=None)
@given(**worlds)
def test_what_may_run_twice_is_answered_whatever_happens(seed, loss, death):
    target, ends = asyncio.run(run(OnRestart.RESEND, seed, loss, death))
    assert ends == [item * 2 for item in range(ITEMS)]
    for lives in target.ran.values():
        assert len(set(lives)) == len(lives), "an item ran twice in one life"


@settings(max_examples=80, deadline=None)
@given(**worlds)
def test_what_must_not_run_twice_runs_in_one_life_and_ends(seed, loss, death):
    target, ends = asyncio.run(run(OnRestart.FAIL, seed, loss, death))
    for item, end in enumerate(ends):
        runs = len(target.ran[item])
        assert runs <= 1
        if isinstance(end, PeerLostError):
            assert end.may_have_run or not runs, "an item that ran is said not to have"
        else:
            assert end == item * 2
            assert runs == 1
