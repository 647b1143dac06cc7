"""An actor for a courier to talk to, with a link that loses messages: for tests of the courier."""

from __future__ import annotations

import asyncio
from collections import Counter

from actors.courier import Courier
from actors.courier_settings import CourierSettings, OnRestart
from actors.inbox import Inbox
from actors.link import LinkError


class Target:
    """An actor that doubles numbers, when told to go on; `restart()` gives it a new, empty life."""

    def __init__(self, *, hold=False):
        self.ran = Counter()
        self.held = []
        self.hold = hold
        self.inbox = Inbox(self.on_item, interval_s=0)

    def on_item(self, item, reply):
        self.ran[item] += 1
        if self.hold:
            self.held.append((item, reply))
        else:
            reply(item * 2)

    def release(self):
        held, self.held = self.held, []
        for item, reply in held:
            reply(item * 2)

    def restart(self):
        self.held = []
        self.inbox = Inbox(self.on_item, interval_s=0)


class FlakyLink:
    """Loses the messages whose numbers are scripted: before they arrive, or the answer on its way back."""

    def __init__(self, target, *, lose_before=(), lose_after=()):
        self.target = target
        self.lose_before = set(lose_before)
        self.lose_after = set(lose_after)
        self.delivered = 0
        self.dead = False
        self.closed = False
        self.batches = []

    async def deliver(self, delivery):
        number, self.delivered = self.delivered, self.delivered + 1
        await asyncio.sleep(0)
        if self.dead:
            raise LinkError("dead", True)
        if number in self.lose_before:
            raise LinkError("lost", False)
        self.batches.append(len(delivery.items))
        receipt = self.target.inbox.deliver(delivery)
        if number in self.lose_after:
            raise LinkError("answer lost", False)
        return receipt

    async def collect(self, poll):
        if self.dead:
            raise LinkError("dead", True)
        return await self.target.inbox.collect(poll)

    async def close(self):
        self.closed = True


def make(link, *, rule=OnRestart.RESEND, outstanding=1000, size=10**6, interval=0, **more):
    settings = CourierSettings(
        max_outstanding=outstanding,
        max_outstanding_bytes=size,
        on_restart=rule,
        interval_s=interval,
        retry_s=0,
        wait_s=0.02,
    )
    return Courier(link, peer="target", settings=settings, **more)


async def turns(n=20):
    for _ in range(n):
        await asyncio.sleep(0)


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)
