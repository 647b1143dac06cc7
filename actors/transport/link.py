"""The interface between couriers and inboxes. Each engine carries messages in its own way."""

from __future__ import annotations

import asyncio
from typing import Protocol

from actors.core.messages.delivery import Delivery, Hello, Replies


class LinkError(Exception):
    """A connection could not be made, or broke. A later attempt may succeed."""


class Caller(Protocol):
    """The user of a link: a courier."""

    @property
    def is_waiting(self) -> bool:
        """Whether the actor owes a reply. If not, its silence is no sign of a failure."""
        ...

    def on_replies(self, replies: Replies) -> None:
        """Process replies, in the order in which the actor sent them."""
        ...


class Stream(Protocol):
    """A connection to one epoch of the actor. Messages arrive in order until it breaks."""

    @property
    def epoch(self) -> str:
        """The epoch of the actor."""
        ...

    @property
    def broken(self) -> asyncio.Future[LinkError]:
        """Resolves to the reason when the connection ends. Messages sent before may have arrived."""
        ...

    def deliver(self, delivery: Delivery) -> None:
        """Send items. Does nothing once the connection is broken.

        Passes an error to `on_replies` for each item that cannot be sent; other items are not affected.
        """
        ...


class Link(Protocol):
    """Connects to one actor. Has one stream at a time."""

    @property
    def lingers(self) -> bool:
        """Whether messages cost so much that items should wait to share one."""
        ...

    async def open(self, hello: Hello, caller: Caller) -> Stream:
        """Connect, send `hello`, and return the stream. Raises `LinkError`, and has a deadline."""
        ...

    async def close(self) -> None:
        """Release all resources. The link must not be used afterwards."""
        ...
