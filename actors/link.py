"""The way from a courier to the inbox of one actor, whatever carries the messages."""

from __future__ import annotations

from typing import Protocol

from actors.core.messages import Delivery, Poll, Receipt


class LinkError(Exception):
    """A message may or may not have arrived. `final` tells that the actor will not come back."""

    def __init__(self, reason: str, final: bool) -> None:  # noqa: FBT001 - unpickling is positional
        super().__init__(reason, final)
        self.final = final


class Link(Protocol):
    """The way to one actor. Every call ends: with a receipt, or with `LinkError`."""

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Hand over items."""
        ...

    async def collect(self, poll: Poll) -> Receipt:
        """Wait for replies."""
        ...

    async def close(self) -> None:
        """Let go of what it holds; nothing is asked of it any more."""
        ...
