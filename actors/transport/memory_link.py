"""The link between two actors in one process. Messages are handed over as they are, without pickling."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from actors.core.messages.delivery import Delivery, Hello
from actors.transport.address import Address, ReplyT, RequestT
from actors.transport.inbox import Inbox, OvertakenError
from actors.transport.link import Caller, LinkError


class LocalAddress(Address[RequestT, ReplyT], frozen=True):
    """The address of an actor in this process: its name in `inboxes`, from which it may be absent yet."""

    inboxes: Mapping[str, Inbox]

    def link(self) -> MemoryLink:
        """Return a link in memory."""
        return MemoryLink(self.name, self.inboxes)


class MemoryLink:
    """The `Link` to the inbox that has a name.

    A message costs so little here that it does not wait for others to share a message with.
    """

    lingers = False

    def __init__(self, name: str, inboxes: Mapping[str, Inbox]) -> None:
        self._name = name
        self._inboxes = inboxes
        self._stream: MemoryStream | None = None

    async def open(self, hello: Hello, caller: Caller) -> MemoryStream:
        """Return a stream to the actor. Raises `LinkError`."""
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

    Courier and inbox both send in a turn of the event loop of their own. So what is sent can be taken in at
    once: neither is in the middle of anything.
    """

    def __init__(self, inbox: Inbox, hello: Hello, caller: Caller) -> None:
        self.epoch = inbox.epoch
        self.broken: asyncio.Future[LinkError] = asyncio.get_running_loop().create_future()
        self._visit = inbox.greet(hello, caller.on_replies, lingers=False)

    def deliver(self, delivery: Delivery) -> None:
        """Hand over items, or nothing once the stream has ended."""
        if not self.broken.done():
            self._visit.deliver(delivery)

    def end(self, reason: str) -> None:
        """Hand over nothing more. Replies stay with the inbox for the next stream."""
        if not self.broken.done():
            self._visit.end()
            self.broken.set_result(LinkError(reason))
