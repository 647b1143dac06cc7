"""What a dispatcher and its clients say to each other about answers that are being streamed."""

from __future__ import annotations

from msgspec import Struct


class Mark(Struct, frozen=True):
    """How far the stream of an attempt had come: so many characters, `after_s` seconds after its start."""

    attempt: int
    streamed: int
    after_s: float


class Watch(Struct, frozen=True):
    """Dispatcher to client: tell me as soon as something has been streamed."""


class Progress(Struct, frozen=True):
    """Client to dispatcher: what has been streamed since the last time, in the order in which it came."""

    marks: tuple[Mark, ...]
