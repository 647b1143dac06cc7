"""How messages are cut out of a stream of bytes: a length, a kind, and a body.

Pure: bytes in, frames out. What a body holds is no business of this module.
"""

from __future__ import annotations

import enum
import struct

from msgspec import Struct

MOST_BYTES = 256 << 20  # of a body: what a sender in disorder can make its peer keep in memory

_HEAD = struct.Struct("!IB")


class FrameKind(enum.IntEnum):
    """What a frame is for."""

    HELLO = 1
    WELCOME = 2
    DELIVERY = 3
    REPLIES = 4
    FAILURE = 5  # the text of a defect that keeps the other end from going on
    PING = 6
    PONG = 7


_KINDS = {kind.value: kind for kind in FrameKind}


class FrameError(Exception):
    """The stream cannot be read any further; the connection has to end."""


class Frame(Struct, frozen=True):
    """One message."""

    kind: FrameKind
    body: bytes


def encode(kind: FrameKind, body: bytes = b"", *, most_bytes: int = MOST_BYTES) -> tuple[bytes, bytes]:
    """Return the bytes of a frame, in two parts. Raises `FrameError` for a body that no reader would take."""
    if len(body) > most_bytes:
        raise FrameError(f"a message of {len(body):,} bytes; the most that is sent is {most_bytes:,}")
    return _HEAD.pack(len(body), kind), body


class FrameReader:
    """Collects bytes until they make frames. `most_bytes` bounds a body."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._begun = bytearray()  # of a frame that is not whole yet

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes. Raises `FrameError` once a head makes no sense."""
        if not self._begun:  # as it is most of the time: nothing has to be copied
            frames, read = self._cut(data)
            self._begun += data[read:]
            return frames
        self._begun += data
        frames, read = self._cut(self._begun)
        del self._begun[:read]
        return frames

    def _cut(self, data: bytes | bytearray) -> tuple[list[Frame], int]:
        """Return the frames that `data` begins with, and how long they are together."""
        frames: list[Frame] = []
        start = 0
        while len(data) - start >= _HEAD.size:
            length, value = _HEAD.unpack_from(data, start)
            if length > self._most_bytes:
                raise FrameError(
                    f"a message of {length:,} bytes; the most that is read is {self._most_bytes:,}"
                )
            body_at = start + _HEAD.size
            if len(data) < body_at + length:
                break
            kind = _KINDS.get(value)
            if kind is None:
                raise FrameError(f"a message of an unknown kind, {value}")
            start = body_at + length
            frames.append(Frame(kind, bytes(data[body_at:start])))
        return frames, start
