"""Reads the part of SQLite's write-ahead log after its last readable commit.

SQLite reads the log up to the first invalid frame and silently drops the rest. It may drop a commit that a
crash interrupted, because that commit was not acknowledged. It must not drop acknowledged commits. The two
differ: an interrupted commit is the last one in the log.

A log has a header of 32 bytes and frames. Each frame has a header of 24 bytes and one page. Header and frames
have the same salts until the log restarts, and a checksum that covers all frames before. The last frame of a
commit holds the size of the database, other frames hold 0. Source: "Database File Format" of the SQLite
documentation, section 4.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_BIG_ENDIAN_SUMS, _LITTLE_ENDIAN_SUMS = 0x377F0683, 0x377F0682
_CHUNK_FRAMES = 2048
_MASK = 0xFFFFFFFF
_PAGE_BYTES = {2**power for power in range(9, 17)}

Sums = tuple[int, int]


class Tail(Struct, frozen=True):
    """The part that SQLite will drop: `length` bytes from byte `begins`, the end of the last commit it reads.

    `at` is the offset of the first invalid frame, or `begins` if all frames are valid. `stood`: the tail
    contains a commit that ended before another frame was written, so that it was acknowledged.
    """

    begins: int
    length: int
    at: int
    stood: bool


def unreadable_tail(path: Path) -> Tail | None:
    """Return the part of the log at `path` after its last readable commit, None if there is none."""
    try:
        with path.open("rb") as log:
            return _tail(log, path.stat().st_size)
    except FileNotFoundError:
        return None


def _tail(log: BinaryIO, size: int) -> Tail | None:
    header = log.read(_HEADER_BYTES)
    if not header:
        return None
    if len(header) < _HEADER_BYTES:
        return Tail(0, size, 0, stood=False)  # interrupted while the header was written
    magic, _, page_bytes, _, _, _, *expected = struct.unpack(">8I", header)
    order = ">" if magic == _BIG_ENDIAN_SUMS else "<"
    sums = _header_sums(header, order)
    known = magic in {_BIG_ENDIAN_SUMS, _LITTLE_ENDIAN_SUMS} and page_bytes in _PAGE_BYTES
    if not known or sums != tuple(expected):
        return Tail(0, size, 0, stood=size > _HEADER_BYTES)
    return _Frames(header[16:24], order, page_bytes, sums).read(log, size)


def _header_sums(header: bytes, order: str) -> Sums:
    words = np.frombuffer(header[:24], f"{order}u4").astype(np.uint32)
    return _advance((0, 0), words @ _weights(len(words)), _power(len(words) // 2))


class _Frames:
    """The frames of one log, read in order."""

    def __init__(self, salts: bytes, order: str, page_bytes: int, sums: Sums) -> None:
        self._salts = salts
        self._order = order
        self._frame_bytes = _FRAME_HEADER_BYTES + page_bytes
        words = (8 + page_bytes) // 4
        self._weights = _weights(words)
        self._power = _power(words // 2)
        self._sums = sums
        self._fits = True
        self._at = _HEADER_BYTES  # the offset of the frame after the last one that SQLite reads
        self._committed = _HEADER_BYTES  # the end of the last commit that SQLite reads
        self._own_end = _HEADER_BYTES  # the end of the last frame of this log, readable or not
        self._unread_commits: list[int] = []  # the ends of commits that SQLite does not read

    def read(self, log: BinaryIO, size: int) -> Tail | None:
        """Return the tail of `log`, which must be positioned after its header."""
        position = _HEADER_BYTES
        while chunk := log.read(_CHUNK_FRAMES * self._frame_bytes):
            whole = len(chunk) // self._frame_bytes
            self._chunk(
                np.frombuffer(chunk, np.uint8, whole * self._frame_bytes).reshape(whole, -1), position
            )
            position += whole * self._frame_bytes
            if len(chunk) % self._frame_bytes:
                self._own_end, self._fits = size, False  # an incomplete frame: its write was interrupted
                break
        if self._own_end == self._committed:
            return None
        at = self._committed if self._fits else self._at
        stood = any(end < self._own_end for end in self._unread_commits)
        return Tail(self._committed, self._own_end - self._committed, at, stood)

    def _chunk(self, frames: NDArray[np.uint8], position: int) -> None:
        own = (frames[:, 8:16] == np.frombuffer(self._salts, np.uint8)).all(axis=1)
        heads = frames[:, :_FRAME_HEADER_BYTES].copy().view(">u4")
        summed = np.concatenate((frames[:, :8], frames[:, _FRAME_HEADER_BYTES:]), axis=1)
        added = summed.view(f"{self._order}u4").astype(np.uint32) @ self._weights
        for index, head in enumerate(heads.tolist()):
            end = position + (index + 1) * self._frame_bytes
            _, ends_commit, _, _, *expected = head
            if self._fits:
                sums = _advance(self._sums, added[index], self._power)
                self._fits = bool(own[index]) and sums == tuple(expected)
            if self._fits:
                self._sums, self._at = sums, end
                self._committed = end if ends_commit else self._committed
            elif own[index] and ends_commit:
                self._unread_commits.append(end)
            if own[index]:
                self._own_end = end


# For each pair of words (x, y) SQLite computes s += x + t, t += y + s, modulo 2^32. In matrix form, (s, t)
# becomes M (s, t) + (x, x + y), M = ((1, 1), (1, 2)). The term of a frame depends on no other frame.
_Matrix = tuple[tuple[int, int], tuple[int, int]]


def _power(pairs: int) -> _Matrix:
    """Return M to the power of `pairs`."""
    (a, b), (c, d) = ((1, 0), (0, 1))
    for _ in range(pairs):
        (a, b), (c, d) = ((a + b) & _MASK, (a + 2 * b) & _MASK), ((c + d) & _MASK, (c + 2 * d) & _MASK)
    return ((a, b), (c, d))


def _weights(words: int) -> NDArray[np.uint32]:
    """Return the factors by which each of `words` words enters the two final sums: shape (words, 2)."""
    rows: list[Sums] = []
    (a, b), (c, d) = ((1, 0), (0, 1))
    for _ in range(words // 2):
        rows += [(b, d), ((a + b) & _MASK, (c + d) & _MASK)]  # from the last pair to the first
        (a, b), (c, d) = ((a + b) & _MASK, (a + 2 * b) & _MASK), ((c + d) & _MASK, (c + 2 * d) & _MASK)
    return np.array(rows[::-1], np.uint32)


def _advance(sums: Sums, added: NDArray[np.uint32], power: _Matrix) -> Sums:
    (a, b), (c, d) = power
    s, t = sums
    x, y = (int(each) for each in added)
    return (a * s + b * t + x) & _MASK, (c * s + d * t + y) & _MASK
