"""An answer of any content is read or refused: it was paid for, and must not raise."""

from __future__ import annotations

import tracemalloc

import orjson
import pytest

from actors.core.errors import FailureKind
from actors.core.limits.attempt_cost import counted_as
from actors.core.messages.attempts import Attempt
from actors.llm import http_endpoint
from actors.llm.dialects.chat import ChatDialect
from actors.llm.dialects.event_stream import EventStream
from actors.llm.endpoint import EndpointSettings
from actors.llm.fields import NumberField
from actors.llm.forms import AnswerForm, AnswerProblem
from actors.llm.http_endpoint import HttpEndpoint
from tests.unit.support.scripted_origin import ScriptedOrigin, gzipped

FORM = AnswerForm("rate", {"q": NumberField(type="number")}, 10)
SETTINGS = EndpointSettings(name="main", base_url="http://h/v1", model="m", max_answer_bytes=65_536)
DEEP = b"[" * 500 + b"]" * 500
STREAM = {"content-type": "text/event-stream"}
MIB = 2**20


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":' + DEEP + b"}",
        b'{"choices":[{"message":{"refusal":' + DEEP + b"}}]}",
        b'{"error":"' + b"x" * MIB + b'"}',
        b'{"choices":[{"message":{"refusal":"' + b"x" * MIB + b'"}}]}',
    ],
)
def test_what_stands_in_place_of_an_answer_is_told_in_short_and_never_raises(body):
    found = ChatDialect(SETTINGS).read(FORM, body).found
    assert isinstance(found, AnswerProblem)
    assert len(found.text) < 2000


def test_lines_of_an_event_that_hold_nothing_are_counted():
    stream = EventStream()
    stream.feed(b"data:\n" * 100_000)
    assert stream.held >= 100_000 * 8


@pytest.fixture
async def ask(monkeypatch):
    """Ask an endpoint whose origin gives this answer; `ask.peak` is the memory that took."""

    async def run(*answer, stream=False):
        monkeypatch.setattr(http_endpoint, "Origin", ScriptedOrigin(answer))
        endpoint = HttpEndpoint(ChatDialect(SETTINGS), {"rate": FORM})
        attempt = Attempt(1, "call", "main", "rate", "prompt", 1, "key", 60.0, stream=stream)
        tracemalloc.start()
        try:
            return await endpoint.attempt(attempt, 60.0)
        finally:
            run.peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()

    return run


async def test_an_answer_that_is_too_large_says_its_size_and_the_key_to_set(ask):
    body = orjson.dumps({"choices": [{"message": {"content": "x" * 100_000}}]})
    ended = await ask(200, {"content-length": str(len(body))}, body)
    assert ended.error.kind is FailureKind.UNUSABLE
    assert f"larger than 65536 bytes: it has {len(body)}" in ended.error.message
    assert "raise llm.endpoints.main.max_answer_bytes" in ended.error.message


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("body", [b"<html>Log in</html>", b"", b"null", b'{"error": "no route"}'])
async def test_a_page_of_a_gateway_is_no_answer_and_may_pass(ask, body, stream):
    ended = await ask(
        200, {"content-type": "text/html", "content-length": str(len(body))}, body, stream=stream
    )
    assert ended.error.kind is FailureKind.IN_DOUBT
    assert counted_as(ended) == "in_doubt"
    assert ended.correction is None


@pytest.mark.parametrize(
    "event",
    [
        b"data:\n",
        b"data: {}\n\n",
        b": nothing\n",
        b'data: {"choices":[{"delta":{"content":"\xe6\xbc\xa2"}}]}\n\n',
    ],
)
async def test_a_stream_that_unpacks_without_end_is_cut_off_in_little_memory(ask, event):
    body = gzipped(event * (48 * MIB // len(event)))
    ended = await ask(200, {**STREAM, "content-encoding": "gzip"}, body, stream=True)
    assert ended.error.kind is FailureKind.UNUSABLE
    assert "raise llm.endpoints.main.max_answer_bytes" in ended.error.message
    assert ask.peak < 16 * MIB


@pytest.mark.parametrize(
    ("body", "is_page"),
    [
        (b"<!DOCTYPE html><p>Welcome", True),
        (b"", True),
        (b" ok", True),
        (b' {"error": {"message": "overloaded"}}', False),
    ],
)
async def test_a_response_without_a_json_object_is_a_page(ask, body, is_page):
    end = await ask(200, {}, body)
    assert (end.error.kind, end.is_page) == (FailureKind.IN_DOUBT, is_page)
