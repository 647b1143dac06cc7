"""How messages are cut out of a stream of bytes: a length, a kind, a number, and a body.

Pure: bytes in, frames out. What a body holds is no business of this module.
"""

from __future__ import annotations

import enum
import struct

from msgspec import Struct

MOST_BYTES = 256 << 20  # of a body: what a sender in disorder can make its peer keep in memory

_HEAD = struct.Struct("!IBI")


class Kind(enum.IntEnum):
    """What a frame is for."""

    REQUEST = 1
    ANSWER = 2
    FAILURE = 3  # in place of an answer: the text of the defect that prevented one
    PING = 4
    PONG = 5


class FrameError(Exception):
    """The stream cannot be read any further; the connection has to end."""


class Frame(Struct, frozen=True):
    """One message. `number` tells which request an answer belongs to."""

    kind: Kind
    number: int
    body: bytes


def encode(
    kind: Kind, number: int, body: bytes = b"", *, most_bytes: int = MOST_BYTES
) -> tuple[bytes, bytes]:
    """Return the bytes of a frame, in two parts. Raises `FrameError` for a body that no reader would take."""
    if len(body) > most_bytes:
        raise FrameError(f"a message of {len(body):,} bytes; the most that is sent is {most_bytes:,}")
    return _HEAD.pack(len(body), kind, number), body


class FrameReader:
    """Collects bytes until they make frames. `most_bytes` bounds a body."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes. Raises `FrameError` once a head makes no sense."""
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        start = 0
        while len(buffer) - start >= _HEAD.size:
            length, kind, number = _HEAD.unpack_from(buffer, start)
            if length > self._most_bytes:
                raise FrameError(
                    f"a message of {length:,} bytes; the most that is read is {self._most_bytes:,}"
                )
            body_at = start + _HEAD.size
            if len(buffer) < body_at + length:
                break
            start = body_at + length
            frames.append(Frame(_kind(kind), number, bytes(buffer[body_at:start])))
        del buffer[:start]
        return frames


def _kind(value: int) -> Kind:
    try:
        return Kind(value)
    except ValueError:
        raise FrameError(f"a message of an unknown kind, {value}") from None
