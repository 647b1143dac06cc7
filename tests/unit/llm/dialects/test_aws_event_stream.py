"""Frames of AWS event streams: wherever pieces end, and whatever is damaged."""

from __future__ import annotations

import struct
import zlib

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from actors.llm.dialects.aws_event_stream import AwsEventStream
from simulators.dialects.bedrock import frame

GOOD = frame({":event-type": "a", ":message-type": "event"}, b'{"x": 1}') + frame({}, b"")


def lengths(total, headers):
    return (found := struct.pack("!II", total, headers)) + struct.pack("!I", zlib.crc32(found))


def with_headers(packed):
    data = lengths(len(packed) + 16, len(packed)) + packed
    return data + struct.pack("!I", zlib.crc32(data))


def fed(*pieces):
    stream = AwsEventStream()
    return [found for piece in pieces for found in stream.feed(piece)], stream


@given(ends=st.lists(st.integers(0, len(GOOD)), max_size=5).map(sorted))
def test_frames_are_those_of_botocore_wherever_pieces_end(ends):
    pieces = [GOOD[start:end] for start, end in zip([0, *ends], [*ends, len(GOOD)], strict=True)]
    found, stream = fed(*pieces)

    buffer = EventStreamBuffer()
    buffer.add_data(GOOD)
    assert [(one.headers, one.payload) for one in found] == [(one.headers, one.payload) for one in buffer]
    assert (stream.held, stream.damage) == (0, "")


@pytest.mark.parametrize(
    "header",
    [
        b"\x01a\x00",
        b"\x01a\x01",
        b"\x01a\x02\xff",
        b"\x01a\x04\0\0\0\1",
        b"\x01a\x06\0\1x",
        b"\x01a\x08" + bytes(8),
        b"\x01a\x09" + bytes(16),
    ],
)
def test_headers_of_other_types_are_skipped(header):
    [found], _ = fed(with_headers(header + b"\x01b\x07\0\1x"))
    assert found.headers == {"b": "x"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (GOOD[:8] + bytes(4) + GOOD[12:], "the sum of its lengths is wrong"),
        (GOOD[:-1] + b"\0", "its sum is wrong"),
        (lengths(15, 0), "it has 15 bytes"),
        (lengths(20, 5), "with headers of 5"),
        (lengths(2**31, 0), "it has 2147483648 bytes"),
        *((with_headers(each), "its headers are wrong")
          for each in (b"\x09a", b"\x01a", b"\x01a\x07", b"\x01a\x07\0\5x", b"\x01a\x63", b"\x01\xff\x00")),
    ],
)  # fmt: skip
def test_a_damaged_frame_is_said_and_ends_the_stream(data, said):
    found, stream = fed(GOOD, data, GOOD)

    assert len(found) >= 2
    assert len(found) < 5
    assert said in stream.damage
    assert stream.held == 0


@given(pieces=st.lists(st.binary(max_size=40), max_size=5))
def test_no_bytes_raise(pieces):
    fed(*pieces)
    fed(GOOD, *pieces)
