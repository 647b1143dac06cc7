"""What chunks of a completion come to, also where a provider does not keep to the rules."""

from __future__ import annotations

import orjson
import pytest

from actors.llm.dialects.chat import StreamedCompletion
from actors.llm.dialects.event_stream import EventStream


def streamed(*events, close=True):
    found = StreamedCompletion()
    for event in events:
        data = event if isinstance(event, bytes) else orjson.dumps(event)
        found.feed(b"data: " + data + b"\n\n")
    if close:
        found.close()
    return found


def delta(finish_reason=None, **parts):
    return {"choices": [{"index": 0, "delta": parts, "finish_reason": finish_reason}]}


def test_an_event_counts_though_its_blank_line_is_missing():
    stream = EventStream()
    assert stream.feed(b"data: [DONE]") == []
    assert stream.close() == [b"[DONE]"]


def test_a_mark_of_byte_order_is_no_part_of_the_first_line():
    assert EventStream().feed(b"\xef\xbb\xbfdata: x\n\n") == [b"x"]


def test_the_last_usage_stands_where_every_chunk_counts():
    one = {**delta(content="a"), "usage": {"completion_tokens": 1}}
    two = {**delta("stop", content="b"), "usage": {"completion_tokens": 2}}
    assert streamed(one, two).document()["usage"] == {"completion_tokens": 2}


def test_reasoning_is_counted_and_not_shown():
    found = streamed(delta(reasoning_content="hm"), delta("stop", content="ok"))
    assert found.streamed == 4
    assert found.document()["choices"][0]["message"] == {"content": "ok"}


def test_a_refusal_is_put_together_as_well():
    found = streamed(delta(refusal="No"), delta("stop", refusal=", sorry"))
    assert found.document()["choices"][0]["message"] == {"refusal": "No, sorry"}


@pytest.mark.parametrize("event", [{"error": {"message": "overloaded"}}, b"<html>"])
def test_an_error_in_the_stream_is_what_the_answer_comes_to(event):
    document = streamed(delta(content="half"), event, b"[DONE]").document()
    assert "choices" not in document
    assert document["error"]


@pytest.mark.parametrize(
    "event", [b"7", b"null", {"choices": [3]}, {"choices": [{"delta": None}]}, {"usage": 1}]
)
def test_what_makes_no_sense_raises_nothing(event):
    assert not streamed(event).is_whole


@pytest.mark.parametrize(
    ("events", "is_whole", "is_complete"),
    [
        ((delta(content="x"),), False, False),
        ((delta("stop", content="x"),), True, False),  # what it took is still to come
        ((delta("stop", content="x"), {"choices": [], "usage": {}}), True, True),
        ((delta(content="x"), b"[DONE]"), True, True),
    ],
)
def test_a_stream_is_complete_when_nothing_more_is_needed_of_it(events, is_whole, is_complete):
    found = streamed(*events)
    assert (found.is_whole, found.is_done or found.has_usage) == (is_whole, is_complete)
