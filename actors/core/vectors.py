"""Vectors of embeddings as text: base64 of little-endian 32-bit floats, a quarter of the size of JSON."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Sequence
from math import isfinite

_BYTES = 4


def packed(numbers: Sequence[float]) -> str:
    """Return `numbers` as text. Raises ValueError if there is none, or if one is not finite in 32 bits."""
    try:
        found = array("f", numbers)
    except (OverflowError, TypeError) as error:
        raise ValueError("a number of the vector does not fit 32 bits") from error
    return base64.b64encode(_checked(found)).decode("ascii")


def repacked(text: str) -> str:
    """Return `text` if it is a vector. Raises ValueError as `packed`."""
    data = base64.b64decode(text, validate=True)
    if len(data) % _BYTES:
        raise ValueError(f"the vector has {len(data)} bytes, no multiple of {_BYTES}")
    _checked(_floats(data))
    return text


def dimensions_of(text: str) -> int:
    """Return the number of dimensions of a vector."""
    return len(text) * 3 // 4 // _BYTES


def unpacked(text: str) -> list[float]:
    """Return the numbers of a vector."""
    return _floats(base64.b64decode(text)).tolist()


def _floats(data: bytes) -> array[float]:
    found = array("f")
    found.frombytes(data)
    if sys.byteorder == "big":
        found.byteswap()
    return found


def _checked(numbers: array[float]) -> bytes:
    """Return the bytes of `numbers`, little-endian."""
    if not numbers:
        raise ValueError("the vector is empty")
    if not all(map(isfinite, numbers)):
        raise ValueError("a number of the vector is not finite")
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()
