"""Messages between a courier and an inbox, which send items in batches."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Hello(Struct, frozen=True):
    """Courier to inbox, first on each connection. `number` increases with each connection of a sender.

    `singly` asks for `Packed` replies: a reply on an earlier connection could not be unpickled.
    """

    sender: str
    number: int
    singly: bool = False


class Welcome(Struct, frozen=True):
    """Inbox to courier, in answer to `Hello`. `epoch` identifies this life of the actor."""

    epoch: str


class Delivery(Struct, frozen=True):
    """Courier to inbox: new `items`, by id, and the ids of replies that have arrived."""

    items: tuple[tuple[int, Any], ...]
    acked: tuple[int, ...]


class Replies(Struct, frozen=True):
    """Inbox to courier: replies, by item id."""

    replies: tuple[tuple[int, Any], ...]


class Packed(Struct, frozen=True):
    """One item or reply, pickled separately: if it cannot be unpickled, the rest of its message can."""

    body: bytes
