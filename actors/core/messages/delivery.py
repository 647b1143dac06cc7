"""Messages between a courier and an inbox: many small items in few messages."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Hello(Struct, frozen=True):
    """Courier to inbox, first on each connection: who asks. `number` grows with each of a sender's.

    `singly` asks for replies that are `Packed`: one on an earlier connection could not be read.
    """

    sender: str
    number: int
    singly: bool = False


class Welcome(Struct, frozen=True):
    """Inbox to courier, in answer to `Hello`: which life of the actor this is."""

    epoch: str


class Delivery(Struct, frozen=True):
    """Courier to inbox: work on these items; those replies have come."""

    items: tuple[tuple[int, Any], ...]
    acked: tuple[int, ...]


class Replies(Struct, frozen=True):
    """Inbox to courier: some replies, by item id."""

    replies: tuple[tuple[int, Any], ...]


class Packed(Struct, frozen=True):
    """One item or reply, pickled by itself: where it cannot be read, the others of its message can."""

    body: bytes
