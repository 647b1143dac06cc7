"""Server-sent events that a property test does not reach."""

from __future__ import annotations

from actors.llm.dialects.event_stream import EventStream


def test_an_event_counts_though_its_blank_line_is_missing():
    stream = EventStream()
    assert stream.feed(b"data: [DONE]") == []
    assert stream.close() == [b"[DONE]"]


def test_a_mark_of_byte_order_is_no_part_of_the_first_line():
    assert EventStream().feed(b"\xef\xbb\xbfdata: x\n\n") == [b"x"]
