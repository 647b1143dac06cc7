"""The link between two actors in one process. Passes messages without pickling them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from actors.core.messages.delivery import Delivery, Hello
from actors.transport.address import Address, ReplyT, RequestT
from actors.transport.inbox import Inbox, OvertakenError
from actors.transport.link import Caller, LinkError


class LocalAddress(Address[RequestT, ReplyT], frozen=True):
    """The address of an actor in this process: its name in `inboxes`, which may not contain it yet."""

    inboxes: Mapping[str, Inbox]

    def link(self) -> MemoryLink:
        """Return a link in memory."""
        return MemoryLink(self.name, self.inboxes)


class MemoryLink:
    """The `Link` to the inbox called `name`. Messages are so cheap that none waits to be batched."""

    lingers = False

    def __init__(self, name: str, inboxes: Mapping[str, Inbox]) -> None:
        self._name = name
        self._inboxes = inboxes
        self._stream: MemoryStream | None = None

    async def open(self, hello: Hello, caller: Caller) -> MemoryStream:
        """Return a stream to the actor. Raises `LinkError` if there is no such actor."""
        inbox = self._inboxes.get(self._name)
        if inbox is None:
            raise LinkError(f"no actor is named {self._name}")
        try:
            self._stream = MemoryStream(inbox, hello, caller)
        except OvertakenError as error:
            raise LinkError(str(error)) from error
        return self._stream

    async def close(self) -> None:
        """End the stream."""
        if self._stream is not None:
            self._stream.end("the link was closed")


class MemoryStream:
    """The `Stream` to an inbox in this process.

    Courier and inbox both send from a separate callback of the event loop. So a message can be processed
    synchronously: no other method of either is on the stack.
    """

    def __init__(self, inbox: Inbox, hello: Hello, caller: Caller) -> None:
        self.epoch = inbox.epoch
        self.broken: asyncio.Future[LinkError] = asyncio.get_running_loop().create_future()
        self._visit = inbox.greet(hello, caller.on_replies, lingers=False)

    def deliver(self, delivery: Delivery) -> None:
        """Pass items to the inbox. Does nothing once the stream has ended."""
        if not self.broken.done():
            self._visit.deliver(delivery)

    def end(self, reason: str) -> None:
        """End the stream. The inbox keeps replies for the next one."""
        if not self.broken.done():
            self._visit.end()
            self.broken.set_result(LinkError(reason))
