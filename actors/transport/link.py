"""The way from a courier to the inbox of one actor, whatever carries the messages."""

from __future__ import annotations

import asyncio
from typing import Protocol

from actors.core.messages.delivery import Delivery, Hello, Replies


class LinkError(Exception):
    """A connection could not be made, or broke. The next one may hold."""


class Caller(Protocol):
    """Whose link it is: a courier."""

    @property
    def is_waiting(self) -> bool:
        """Whether the actor owes a reply; else its silence says nothing."""
        ...

    def on_replies(self, replies: Replies) -> None:
        """Take in replies, in the order in which the actor gave them."""
        ...


class Stream(Protocol):
    """A connection to one life of the actor: what is sent arrives in order, up to where it breaks.

    `broken` resolves at its end. What was sent by then may have arrived.
    """

    @property
    def epoch(self) -> str:
        """The name of that life."""
        ...

    @property
    def broken(self) -> asyncio.Future[LinkError]:
        """Why it ended, once it has."""
        ...

    def deliver(self, delivery: Delivery) -> None:
        """Hand over items, or nothing once it is broken.

        What can never be sent is answered here, by `on_replies` with an error, and hurts nothing else.
        """
        ...


class Link(Protocol):
    """The way to one actor. Has one stream at a time."""

    @property
    def lingers(self) -> bool:
        """Whether messages are worth waiting for, so that each carries more."""
        ...

    async def open(self, hello: Hello, caller: Caller) -> Stream:
        """Connect, say hello, and return the stream to whichever life answers. Raises `LinkError` in time."""
        ...

    async def close(self) -> None:
        """Let go of what it holds; nothing is asked of it any more."""
        ...
