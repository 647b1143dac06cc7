"""A `History` in its compact form of a few kilobytes, in which it is sent and stored.

It is compressed JSON. Times are differences with milliseconds: each date would take a dozen digits.
"""

from __future__ import annotations

import math
import zlib
from itertools import accumulate, chain

import msgspec
from msgspec import Struct

from actors.core.errors import InvariantError
from actors.core.metrics.history import (
    MOST_POINTS,
    MOST_SERIES,
    EndpointHistory,
    GaugeHistory,
    History,
    check_history,
)

MOST_PACKED_BYTES = 512 * 1024
_MOST_BYTES = 8 * 1024 * 1024  # of the JSON
_VERSION = 1


class _PackedHistory(Struct, frozen=True, array_like=True):
    """`begin` is the date of the first point. `gaps` precede the points, whose durations are `lengths`."""

    version: int
    begin: float
    gaps: tuple[float, ...]
    lengths: tuple[float, ...]
    active_s: tuple[float, ...]
    endpoints: tuple[EndpointHistory, ...]


def pack(history: History) -> bytes:
    """Return a history in its compact form. Times and means are rounded."""
    at, until = [round(each, 3) for each in history.at], [round(each, 3) for each in history.until]
    begin = at[0] if at else 0.0
    gaps = [round(start - end, 3) for start, end in zip(at, [begin, *until], strict=False)]
    lengths = [round(end - start, 3) for start, end in zip(at, until, strict=True)]
    active_s = tuple(round(each, 3) for each in history.active_s)
    endpoints = tuple(map(_rounded, history.endpoints))
    packed = _PackedHistory(_VERSION, begin, tuple(gaps), tuple(lengths), active_s, endpoints)
    return zlib.compress(msgspec.json.encode(packed), 6)


def unpack(data: bytes) -> History:
    """Return the history of its compact form. Raises ValueError if it is invalid or of a newer version."""
    reader = zlib.decompressobj()
    try:
        document = reader.decompress(data, _MOST_BYTES)
        packed = msgspec.json.decode(document, type=_PackedHistory)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise ValueError(f"a stored history cannot be read: {error}") from error
    if packed.version != _VERSION:
        raise ValueError(f"a stored history has version {packed.version}; this Headrace reads {_VERSION}")
    steps = list(chain.from_iterable(zip(packed.gaps, packed.lengths, strict=False)))
    if not all(math.isfinite(step) and step >= 0 for step in steps) or len(packed.gaps) > MOST_POINTS:
        raise ValueError("a stored history has an invalid time")
    times = [round(each, 3) for each in accumulate(steps, initial=packed.begin)][1:]
    history = History(tuple(times[::2]), tuple(times[1::2]), packed.active_s, packed.endpoints[:MOST_SERIES])
    try:
        check_history(history)
    except InvariantError as error:
        raise ValueError(f"a stored history is damaged: {error}") from error
    return history


def _rounded(series: EndpointHistory) -> EndpointHistory:
    gauges = [series.limit, series.in_flight, series.queued]
    limit, in_flight, queued = (
        GaugeHistory(each.least, tuple(round(mean, 2) for mean in each.mean), each.most) for each in gauges
    )
    return msgspec.structs.replace(series, limit=limit, in_flight=in_flight, queued=queued)
