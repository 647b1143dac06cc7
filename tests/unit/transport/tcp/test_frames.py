"""How a stream is cut into frames: whatever the pieces, and never more than the bound."""

from __future__ import annotations

import pytest

from actors.transport.tcp.frames import Frame, FrameError, FrameKind, FrameReader, encode

FRAMES = [
    Frame(FrameKind.DELIVERY, b"a question"),
    Frame(FrameKind.PING, b""),
    Frame(FrameKind.REPLIES, b"x" * 70_000),
]


def stream(frames):
    return b"".join(b"".join(encode(frame.kind, frame.body)) for frame in frames)


@pytest.mark.parametrize("piece", [1, 4, 5, 6, 4096, 10**6])
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(piece):
    reader, data = FrameReader(), stream(FRAMES)
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
    assert [frame for each in pieces for frame in reader.feed(each)] == FRAMES


def test_a_frame_that_is_too_large_is_refused_at_its_head_before_its_body_is_kept():
    head, _ = encode(FrameKind.DELIVERY, b"x" * 101)
    with pytest.raises(FrameError, match="101 bytes"):
        FrameReader(most_bytes=100).feed(head)


def test_a_frame_of_the_largest_size_is_sent_and_read():
    data = b"".join(encode(FrameKind.DELIVERY, b"x" * 100, most_bytes=100))
    assert FrameReader(most_bytes=100).feed(data) == [Frame(FrameKind.DELIVERY, b"x" * 100)]


def test_a_frame_that_no_reader_would_take_is_not_sent():
    with pytest.raises(FrameError, match="101 bytes"):
        encode(FrameKind.DELIVERY, b"x" * 101, most_bytes=100)


def test_a_frame_of_an_unknown_kind_ends_the_stream():
    with pytest.raises(FrameError, match="unknown kind 99"):
        FrameReader().feed(b"\0\0\0\0" + bytes([99]))
