"""Packs items and replies into the bodies of frames, so that a part that cannot be sent fails alone.

Pickling a message as a whole costs least. If that fails, or the result exceeds the size of a frame, each part
is pickled separately: this finds the parts that cannot be sent, and the others are sent.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

from actors.core.errors import HeadraceError, MessageTooLargeError, UnsendableError
from actors.core.messages.delivery import Packed
from actors.transport.pickling import dumps
from actors.transport.tcp.frames import MOST_BYTES

Parts = tuple[tuple[int, Any], ...]  # items or replies, each with the id of its item
Failures = tuple[tuple[int, HeadraceError], ...]

_ENVELOPE_BYTES = 4096  # upper bound of what a message takes beside its parts
_GATHERED_BYTES = 1 << 20  # separately pickled parts share a body up to about this size
_MAX_TEXT = 500


def pack(
    parts: Parts, message: Callable[[Parts], Struct], *, singly: bool = False, most_bytes: int = MOST_BYTES
) -> tuple[list[bytes], Failures]:
    """Return the bodies that carry `parts` as messages, and an error for each part that cannot be sent.

    singly: pickle each part separately from the start.
    """
    if not singly:
        whole = _pickled(message(parts))
        if isinstance(whole, bytes) and len(whole) <= most_bytes:
            return [whole], ()
    packed: list[tuple[int, Packed]] = []
    failures: list[tuple[int, HeadraceError]] = []
    most_part = most_bytes - _ENVELOPE_BYTES
    for item_id, value in parts:
        body = _pickled(value)
        if isinstance(body, Exception):
            text = f"{type(value).__name__} cannot be sent: {type(body).__name__}: {body}"
            failures.append((item_id, UnsendableError(text[:_MAX_TEXT])))
        elif len(body) > most_part:
            failures.append((item_id, MessageTooLargeError(len(body), most_part)))
        else:
            packed.append((item_id, Packed(body)))
    return [dumps(message(group)) for group in _groups(packed, most_part)], tuple(failures)


def unpack(parts: Parts) -> tuple[Parts, Failures]:
    """Return `parts` with each `Packed` one unpickled, and an error for each that cannot be read."""
    if not any(isinstance(value, Packed) for _, value in parts):
        return parts, ()
    read: list[tuple[int, Any]] = []
    failures: list[tuple[int, HeadraceError]] = []
    for item_id, value in parts:
        try:
            # The sender is authenticated.
            read.append((item_id, pickle.loads(value.body) if isinstance(value, Packed) else value))  # noqa: S301
        except Exception as error:  # noqa: BLE001 - unpickling may raise anything
            text = f"a message cannot be unpickled: {type(error).__name__}: {error}"
            failures.append((item_id, UnsendableError(text[:_MAX_TEXT])))
    return tuple(read), tuple(failures)


def _pickled(value: object) -> bytes | Exception:
    try:
        return dumps(value)
    except Exception as error:  # noqa: BLE001 - pickling may raise anything
        return error


def _groups(packed: list[tuple[int, Packed]], most_bytes: int) -> Iterator[Parts]:
    """Yield the parts of each body: at least one, and about `_GATHERED_BYTES` together."""
    gathered: list[tuple[int, Packed]] = []
    size = 0
    for each in packed:
        grown = size + len(each[1].body) + 64
        if gathered and grown > min(_GATHERED_BYTES, most_bytes):
            yield tuple(gathered)
            gathered, grown = [], len(each[1].body) + 64
        gathered.append(each)
        size = grown
    if gathered:
        yield tuple(gathered)
