"""The address of an actor: a name that outlives each life of the actor, and the way to a link to it."""

from __future__ import annotations

from typing import Generic, TypeVar

from msgspec import Struct

from actors.transport.link import Link

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")


class Address(Struct, Generic[RequestT, ReplyT], frozen=True):
    """The address of an actor that answers each `RequestT` with a `ReplyT`.

    Each engine has its own subclass. An actor never knows which one it has.
    """

    name: str

    def link(self) -> Link:
        """Return a new link to the actor. Called on a running event loop."""
        raise NotImplementedError
