"""An incremental parser of AWS event streams: bytes in, frames out.

A frame is its length and that of its headers, the CRC of both, the headers, the payload, and the CRC of all
before it. All numbers are big-endian. Source: botocore/eventstream.py.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Iterator, Mapping

from msgspec import Struct

_PRELUDE = struct.Struct("!III")
_SUM = struct.Struct("!I")
_SHORT = struct.Struct("!H")
_LEAST_BYTES = _PRELUDE.size + _SUM.size
_MOST_BYTES = 16 << 20  # of a payload, by AWS; a longer one is damaged
_USUAL_BYTES = 512  # of headers that are worth remembering
_STRING, _BYTES = 7, 6
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # of the values of headers, by their type


class AwsFrame(Struct, frozen=True):
    """A frame. `headers`: only those with text."""

    headers: Mapping[str, str]
    payload: bytes


class _DamagedError(Exception):
    pass


class AwsEventStream:
    """Parses one stream. Keeps a frame until it is complete, so the caller must bound `held`.

    damage: what is wrong with the stream, empty if nothing. No frame follows a damaged one.
    """

    def __init__(self) -> None:
        self.damage = ""
        self._buffer = bytearray()

    @property
    def held(self) -> int:
        """The number of bytes kept of an incomplete frame."""
        return len(self._buffer)

    def feed(self, piece: bytes) -> list[AwsFrame]:
        """Parse the next bytes. Return the frames that they complete. Never raises."""
        frames: list[AwsFrame] = []
        if self.damage:
            return frames
        self._buffer += piece
        start = 0
        try:
            while (size := self._size(start)) is not None:
                frames.append(_frame(bytes(self._buffer[start : start + size])))
                start += size
            del self._buffer[:start]
        except _DamagedError as error:
            self.damage = f"a frame of the stream is damaged: {error}"
            self._buffer.clear()
        return frames

    def _size(self, start: int) -> int | None:
        """Return the size of the frame at `start`, None if it is incomplete."""
        if len(self._buffer) - start < _PRELUDE.size:
            return None
        size, headers, check = _PRELUDE.unpack_from(self._buffer, start)
        if zlib.crc32(self._buffer[start : start + 8]) != check:
            raise _DamagedError("the sum of its lengths is wrong")
        if not _LEAST_BYTES + headers <= size <= _MOST_BYTES:
            raise _DamagedError(f"it has {size} bytes, with headers of {headers}")
        return size if len(self._buffer) - start >= size else None


def _frame(data: bytes) -> AwsFrame:
    end = len(data) - _SUM.size
    if _SUM.unpack_from(data, end)[0] != zlib.crc32(memoryview(data)[:end]):
        raise _DamagedError("its sum is wrong")
    _, headers, _ = _PRELUDE.unpack_from(data)
    payload = _PRELUDE.size + headers
    try:
        return AwsFrame(_headers(data[_PRELUDE.size : payload]), data[payload:end])
    except (struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
        raise _DamagedError("its headers are wrong") from error


def _headers(data: bytes) -> Mapping[str, str]:
    # Most frames of a stream have the same headers, which take half of the time to parse.
    return _usual_headers(data) if len(data) <= _USUAL_BYTES else dict(_parsed(data))


@functools.lru_cache(maxsize=64)
def _usual_headers(data: bytes) -> Mapping[str, str]:
    return dict(_parsed(data))


def _parsed(data: bytes) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(data):
        name_end = at + 1 + data[at]
        name, kind = data[at + 1 : name_end].decode(), data[name_end]
        at = name_end + 1
        if kind in (_STRING, _BYTES):
            size = _SHORT.unpack_from(data, at)[0]
            at += _SHORT.size
        else:
            size = _SIZES[kind]
        if at + size > len(data):
            raise IndexError
        if kind == _STRING:
            yield name, data[at : at + size].decode()
        at += size
