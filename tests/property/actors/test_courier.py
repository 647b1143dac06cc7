"""However often a connection breaks, the actor dies or is away: each call ends, none is paid for twice."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict, deque

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.core.errors import PeerLostError
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, OnRestart
from actors.transport.inbox import Inbox, OvertakenError
from actors.transport.link import LinkError
from tests.unit.support.courier_target import At
from tests.unit.support.leaping_loop import run_leaping

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
        self.later(self.rng.randrange(6), life, lambda: reply(item * 2))

    def later(self, turns, life, act):
        if turns:
            asyncio.get_running_loop().call_soon(self.later, turns - 1, life, act)
        elif life == self.life:  # what a dead actor had begun is gone
            act()


class Way:
    """Carries messages one way, in order, each some turns of the loop later."""

    def __init__(self, rng, arrive):
        self.rng = rng
        self.arrive = arrive
        self.messages = deque()
        self.carrying = None

    def put(self, message):
        self.messages.append(message)
        if self.carrying is None:
            self.carrying = asyncio.create_task(self.carry())

    async def carry(self):
        while self.messages:
            for _ in range(self.rng.randrange(5)):
                await asyncio.sleep(0)
            self.arrive(self.messages.popleft())
        self.carrying = None


class Stream:
    """A connection to one life. Its caller may take it for broken while what was sent still arrives."""

    def __init__(self, link, hello, caller):
        self.link = link
        self.inbox = link.target.inbox
        self.caller = caller
        self.epoch = self.inbox.epoch
        self.visit = None
        self.welcomed = asyncio.get_running_loop().create_future()
        self.broken = asyncio.get_running_loop().create_future()
        self.there = Way(link.rng, self.arrive)
        self.back = Way(link.rng, self.hear)
        self.there.put(hello)

    def deliver(self, delivery):
        self.there.put(delivery)

    def arrive(self, message):
        """As a process does: one that has died takes in nothing, one that lives takes in all that came."""
        if self.link.target.inbox is not self.inbox:
            self.break_off()
            return
        if self.visit is None:
            try:
                self.visit = self.inbox.greet(message, self.back.put)
            except OvertakenError:
                self.break_off()
                return
            self.back.put(None)
        else:
            self.visit.deliver(message)
        if self.link.has(self.link.death):
            self.link.target.restart()
        if self.link.has(self.link.absence):
            self.link.leave()
        if self.link.has(self.link.loss):
            self.break_off()

    def hear(self, replies):
        if self.broken.done():
            return
        if replies is None:
            self.welcomed.set_result(None)
        else:
            self.caller.on_replies(replies)
        if self.link.has(self.link.loss) or self.link.target.inbox is not self.inbox:
            self.break_off()

    def break_off(self):
        error = LinkError("broke")
        if not self.broken.done():
            self.broken.set_result(error)
        if not self.welcomed.done():
            self.welcomed.set_exception(error)


class Link:
    """Connections break, messages are late, and at times the actor dies or is away for long."""

    lingers = True

    def __init__(self, target, rng, *, loss, death, absence):
        self.target = target
        self.rng = rng
        self.loss = loss
        self.death = death
        self.absence = absence
        self.away_until = 0.0
        self.is_calm = False
        self.streams = []

    async def open(self, hello, caller):
        if asyncio.get_running_loop().time() < self.away_until:
            raise LinkError("away")
        stream = Stream(self, hello, caller)
        self.streams.append(stream)
        if self.has(self.loss):  # given up, while the hello is still on its way
            stream.break_off()
        await stream.welcomed
        return stream

    async def close(self):
        ways = [way.carrying for stream in self.streams for way in (stream.there, stream.back)]
        await asyncio.gather(*[carrying for carrying in ways if carrying is not None])

    def has(self, chance):
        return not self.is_calm and self.rng.random() < chance

    def leave(self):
        """Cut all connections, and let nobody in for a while."""
        away_s = self.rng.choice([1.0, 20.0, 100.0, 1000.0])
        self.away_until = asyncio.get_running_loop().time() + away_s
        for stream in self.streams:
            stream.break_off()

    def notice(self):
        """Have every connection to a dead actor break, as it does in the end."""
        for stream in self.streams:
            if stream.inbox is not self.target.inbox:
                stream.break_off()


async def run(rule, seed, loss, death, absence):
    """Send all items, some urgent, over a link that calms down in the end; return what became of each."""
    rng = random.Random(seed)
    target = Target(rng)
    link = Link(target, rng, loss=loss, death=death, absence=absence)
    limits = CourierSettings(
        max_outstanding=ITEMS // 2,
        max_outstanding_bytes=10**6,
        on_restart=rule,
        interval_s=0,
    )
    told = []
    courier = Courier(
        At("target", lambda: link),
        settings=limits,
        on_restart=lambda: told.append("restart"),
        on_lost=lambda: told.append("lost"),
        on_back=lambda: told.append("back"),
    )
    sent = []
    async with asyncio.timeout(1e6):
        for item in range(ITEMS):
            urgent = rng.random() < 0.2
            if urgent:
                sent.append(courier.post(item, urgent=True))
            else:
                sending = asyncio.create_task(courier.send(item))
                while not sending.done():
                    link.notice()
                    await asyncio.wait({sending}, timeout=1.0)
                sent.append(sending.result())
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(0)
        link.is_calm = True
        link.away_until = 0.0
        link.notice()
        ends = await asyncio.gather(*sent, return_exceptions=True)
        await asyncio.sleep(3.0)  # where all has failed, it is found again
    known = courier.statistics()
    assert (known.outstanding, known.outstanding_bytes, known.waiting_for_room) == (0, 0, 0)
    assert known.restarts <= target.life - 1
    assert told.count("restart") <= known.restarts
    assert [what for what in told if what != "restart"] == ["lost", "back"] * told.count("lost")
    if rule is OnRestart.RESEND:
        assert told == ["restart"] * known.restarts
    await courier.close()
    return target, ends


worlds = {
    "seed": st.integers(0, 2**32),
    "loss": st.sampled_from([0.0, 0.1, 0.4]),
    "death": st.sampled_from([0.0, 0.05, 0.3]),
    "absence": st.sampled_from([0.0, 0.05, 0.2]),
}


@settings(max_examples=80, deadline=None)
@given(**worlds)
def test_what_may_run_twice_is_answered_whatever_happens(seed, loss, death, absence):
    target, ends = run_leaping(run(OnRestart.RESEND, seed, loss, death, absence))
    assert ends == [item * 2 for item in range(ITEMS)]
    for lives in target.ran.values():
        assert len(set(lives)) == len(lives), "an item ran twice in one life"


@settings(max_examples=80, deadline=None)
@given(**worlds)
def test_what_must_not_run_twice_runs_in_one_life_and_ends(seed, loss, death, absence):
    target, ends = run_leaping(run(OnRestart.FAIL, seed, loss, death, absence))
    for item, end in enumerate(ends):
        runs = len(target.ran[item])
        assert runs <= 1
        if isinstance(end, PeerLostError):
            assert end.may_have_run or not runs, "an item that ran is said not to have"
        else:
            assert end == item * 2
            assert runs == 1
