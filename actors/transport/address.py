"""The address of an actor: a name that stays the same across restarts, from which links are made."""

from __future__ import annotations

from typing import Generic, TypeVar

from msgspec import Struct

from actors.transport.link import Link

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")


class Address(Struct, Generic[RequestT, ReplyT], frozen=True):
    """The address of an actor that answers each `RequestT` with a `ReplyT`.

    Each engine has its own subclass. Actors use only this interface.
    """

    name: str

    def link(self) -> Link:
        """Return a new link to the actor. Must be called on a running event loop."""
        raise NotImplementedError
