"""Framing: splits a stream of bytes into frames of a length, a kind and a body.

Pure: bytes in, frames out. This module does not interpret bodies.
"""

from __future__ import annotations

import enum
import struct

from msgspec import Struct

MOST_BYTES = 256 << 20  # of a body; bounds the memory that a faulty sender can use at its peer

_HEAD = struct.Struct("!IB")


class FrameKind(enum.IntEnum):
    """The purpose of a frame."""

    HELLO = 1
    WELCOME = 2
    DELIVERY = 3
    REPLIES = 4
    FAILURE = 5  # the text of a defect at the sender, which could not process a frame
    PING = 6
    PONG = 7


_KINDS = {kind.value: kind for kind in FrameKind}


class FrameError(Exception):
    """The stream is invalid from here on; the connection has to end."""


class Frame(Struct, frozen=True):
    """One message."""

    kind: FrameKind
    body: bytes


def encode(kind: FrameKind, body: bytes = b"", *, most_bytes: int = MOST_BYTES) -> tuple[bytes, bytes]:
    """Return the head and the body of a frame. Raises `FrameError` if `body` exceeds `most_bytes`."""
    if len(body) > most_bytes:
        raise FrameError(f"a message of {len(body):,} bytes exceeds the limit of {most_bytes:,}")
    return _HEAD.pack(len(body), kind), body


class FrameReader:
    """Collects bytes until they make frames. `most_bytes` bounds a body."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._begun = bytearray()  # an incomplete frame

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes. Raises `FrameError` for an invalid head."""
        if not self._begun:  # the common case, in which `data` need not be copied
            frames, read = self._cut(data)
            self._begun += data[read:]
            return frames
        self._begun += data
        frames, read = self._cut(self._begun)
        del self._begun[:read]
        return frames

    def _cut(self, data: bytes | bytearray) -> tuple[list[Frame], int]:
        """Return the complete frames at the beginning of `data`, and their total length."""
        frames: list[Frame] = []
        start = 0
        while len(data) - start >= _HEAD.size:
            length, value = _HEAD.unpack_from(data, start)
            if length > self._most_bytes:
                raise FrameError(f"a message of {length:,} bytes exceeds the limit of {self._most_bytes:,}")
            body_at = start + _HEAD.size
            if len(data) < body_at + length:
                break
            kind = _KINDS.get(value)
            if kind is None:
                raise FrameError(f"a message of the unknown kind {value}")
            start = body_at + length
            frames.append(Frame(kind, bytes(data[body_at:start])))
        return frames, start
