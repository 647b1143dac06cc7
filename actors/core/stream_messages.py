"""What a dispatcher and its clients say to each other about answers that are being streamed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the stream of an attempt had come: so many characters, `after_s` seconds after its start."""

    attempt: int
    streamed: int
    after_s: float


@dataclass(frozen=True, slots=True)
class Watch:
    """Dispatcher to client: tell me as soon as something has been streamed."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Client to dispatcher: what has been streamed since the last time, in the order in which it came."""

    marks: tuple[Mark, ...]
