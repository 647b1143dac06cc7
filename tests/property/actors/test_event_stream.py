"""The events of a stream are the same wherever its pieces end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.llm.dialects.event_stream import EventStream

TEXT = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=8)


@st.composite
def streams(draw):
    """Return the bytes of a stream, and the data of its events."""
    wire, expected = "", []
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    for lines in draw(st.lists(st.lists(TEXT, min_size=1, max_size=3), max_size=4)):
        for line in lines:
            noise = draw(st.sampled_from(["", ": still here", "event: x", "id: 7", "retry: 10", "data2: no"]))
            wire += noise + end if noise else ""
            wire += "data:" + draw(st.sampled_from(["", " "])) + _spaced(line) + end
        wire += end
        expected.append("\n".join(map(_spaced, lines)).encode())
    return wire.encode(), expected


def _spaced(line):
    return line.removeprefix(" ")  # of a value, one leading space is no part


@st.composite
def cut(draw, wire):
    """Return `wire` in pieces that end anywhere."""
    ends = sorted(draw(st.lists(st.integers(0, len(wire)), max_size=12)))
    return [wire[start:end] for start, end in zip([0, *ends], [*ends, len(wire)], strict=True)]


@given(st.data())
def test_events_are_the_same_wherever_the_pieces_end(data):
    wire, expected = data.draw(streams())
    stream = EventStream()
    found = [event for piece in data.draw(cut(wire)) for event in stream.feed(piece)]
    assert found + stream.close() == expected
    assert stream.held == 0
