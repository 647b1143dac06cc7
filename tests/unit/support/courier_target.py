"""An actor for a courier to talk to, a link to it that breaks, and a caller that speaks by hand."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from actors.core.messages.delivery import Delivery, Hello
from actors.transport.address import Address
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, OnRestart
from actors.transport.inbox import Inbox
from actors.transport.link import LinkError


class At(Address, frozen=True):
    """An address whose links a test makes."""

    make: Any

    def link(self):
        return self.make()


class DirectLink:
    """The way to an inbox in this process."""

    lingers = True

    def __init__(self, inbox):
        self.inbox = inbox
        self.opened = 0
        self.error = None  # instead of a connection
        self.stream = None

    async def open(self, hello, caller):
        await asyncio.sleep(0)
        self.opened += 1
        if self.error is not None:
            raise self.error
        self.stream = self.stream_to(self.inbox, hello, caller)
        return self.stream

    def stream_to(self, inbox, hello, caller):
        return DirectStream(inbox, hello, caller)

    def be_away(self):
        """Break the connection, and make no other."""
        self.error = LinkError("away")
        if self.stream is not None:
            self.stream.break_off(self.error)

    async def close(self):
        if self.stream is not None:
            self.stream.break_off(LinkError("closed"))
            await self.stream.broken


class DirectStream:
    """Everything arrives one turn of the event loop later, until the stream is broken off."""

    def __init__(self, inbox, hello, caller):
        self.epoch = inbox.epoch
        self.broken = asyncio.get_running_loop().create_future()
        self.caller = caller
        self.visit = inbox.greet(hello, self.push)

    def deliver(self, delivery):
        asyncio.get_running_loop().call_soon(self.arrive, delivery)

    def arrive(self, delivery):
        if not self.broken.done():
            self.visit.deliver(delivery)

    def push(self, replies):
        asyncio.get_running_loop().call_soon(self.hear, replies)

    def hear(self, replies):
        if not self.broken.done():
            self.caller.on_replies(replies)

    def break_off(self, error):
        if not self.broken.done():
            self.broken.set_result(error)
            self.visit.end()


class Visitor:
    """A caller by hand: what it delivers arrives at once, each item under its number, from 1 on."""

    def __init__(self, inbox, name="visitor"):
        self.number = 0
        self.answers = {}
        self.visit = inbox.greet(Hello(name, 0), self.hear)

    def deliver(self, *items):
        first = self.number + 1
        self.number += len(items)
        self.visit.deliver(Delivery(tuple(enumerate(items, first)), tuple(self.answers)))

    def hear(self, replies):
        for item_id, reply in replies.replies:
            assert item_id not in self.answers
            self.answers[item_id] = reply


class Target:
    """An actor that doubles numbers, when told to go on; `restart()` gives it a new, empty life."""

    def __init__(self, *, hold=False):
        self.ran = Counter()
        self.held = []
        self.hold = hold
        self.inbox = Inbox(self.on_item, interval_s=0)
        self.links = []

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
        for link in self.links:
            link.inbox = self.inbox
            if link.stream is not None:
                link.stream.break_off(LinkError("it died"))


class FlakyLink(DirectLink):
    """Breaks at the deliveries of scripted numbers: before they arrive, or as their replies come back."""

    def __init__(self, target, *, lose_before=(), lose_after=()):
        super().__init__(target.inbox)
        target.links.append(self)
        self.lose_before = set(lose_before)
        self.lose_after = set(lose_after)
        self.delivered = 0
        self.batches = []

    def stream_to(self, inbox, hello, caller):
        return FlakyStream(self, hello, caller)


class FlakyStream(DirectStream):
    def __init__(self, link, hello, caller):
        super().__init__(link.inbox, hello, caller)
        self.link = link

    def arrive(self, delivery):
        number, self.link.delivered = self.link.delivered, self.link.delivered + 1
        if number in self.link.lose_before:
            self.break_off(LinkError("lost"))
            return
        self.link.batches.append(len(delivery.items))
        super().arrive(delivery)
        if number in self.link.lose_after:
            self.break_off(LinkError("replies lost"))


def make(link, *, rule=OnRestart.RESEND, outstanding=1000, size=10**6, interval=0, retry=0, **more):
    settings = CourierSettings(
        max_outstanding=outstanding,
        max_outstanding_bytes=size,
        on_restart=rule,
        interval_s=interval,
        retry_s=retry,
    )
    return Courier(At("target", lambda: link), settings=settings, **more)


async def turns(n=20):
    for _ in range(n):
        await asyncio.sleep(0)


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)
