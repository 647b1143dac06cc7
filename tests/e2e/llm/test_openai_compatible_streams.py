"""A streamed answer comes to the same as a whole one, whatever the provider makes of the wish to stream."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from aiohttp import web
from msgspec.structs import replace

from actors.core.errors import Blame, FailureKind
from actors.core.messages.values import Usage
from tests.e2e.support.scripted_server import SPOKEN, SpokenDialect, ask, attempt, completion, open_endpoint

USAGE = {"choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 500}}


def chunks(content='{"x": 0.5}', *, usage=True):
    """Return the events of an answer, three characters each."""
    parts = [content[start : start + 3] for start in range(0, len(content), 3)]
    deltas = [{"delta": {"role": "assistant", "content": ""}}]
    deltas += [{"delta": {"content": part}} for part in parts]
    found = [{"choices": [{"index": 0, "finish_reason": None, **each}]} for each in deltas]
    found.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    events = [orjson.dumps(each) for each in [*found, *([USAGE] if usage else [])]]
    return [b"data: " + event + b"\n\n" for event in [*events, b"[DONE]"]]


def stream(server, events, *, then=None, media_type="text/event-stream; charset=utf-8"):
    """Have the server send `events` one by one; `then` is awaited with the request before the end."""

    async def respond(request):
        response = web.StreamResponse(headers={"Content-Type": media_type})
        await response.prepare(request)
        for event in events:
            await response.write(event)
        if then is not None:
            await then(request)
        return response

    server.behaviour = respond


async def ask_streamed(endpoint, *, on_streamed=None, timeout_s=60.0, **changes):
    return await endpoint.attempt(replace(attempt(**changes), stream=True), timeout_s, on_streamed)


def bodies(server):
    return [orjson.loads(body) for _, _, body in server.requests]


async def test_a_streamed_answer_is_the_same_as_a_whole_one_and_tells_how_far_it_is(server, endpoint):
    server.answer(completion())
    whole = await ask(endpoint)
    stream(server, chunks())
    heard = []
    streamed = await ask_streamed(endpoint, on_streamed=lambda count, _: heard.append(count))
    assert (streamed.values, streamed.usage) == (whole.values, whole.usage) == ({"x": 0.5}, Usage(1000, 500))
    assert (whole.streamed, streamed.streamed) == (0, 10)
    assert 0 < streamed.began_s <= streamed.took_s
    assert heard == sorted(heard)
    assert heard[-1] == 10
    asked = bodies(server)
    assert asked[1] == {**asked[0], "stream": True, "stream_options": {"include_usage": True}}


async def test_an_unusable_streamed_answer_is_corrected_as_a_whole_one_is(server, endpoint):
    server.answer(completion('{"x": 7}'))
    whole = await ask(endpoint)
    stream(server, chunks('{"x": 7}'))
    streamed = await ask_streamed(endpoint)
    assert (streamed.error, streamed.correction, streamed.usage) == (
        whole.error,
        whole.correction,
        whole.usage,
    )


async def test_an_endpoint_that_takes_no_notice_of_the_wish_is_understood(server, endpoint):
    server.answer(completion(), Content_Type="application/json")
    ended = await ask_streamed(endpoint)
    assert (ended.values, ended.streamed, ended.is_second) == ({"x": 0.5}, 0, False)


@pytest.mark.parametrize("status", [400, 422, 501])
async def test_an_endpoint_that_will_not_stream_is_asked_without_at_once_and_from_then_on(
    server, endpoint, status
):
    async def respond(request):
        if b"stream_options" in server.requests[-1][2]:
            return web.Response(status=status, body=b'{"error": {"message": "unknown: stream_options"}}')
        return web.Response(body=completion())

    server.behaviour = respond
    first = await ask_streamed(endpoint)
    assert (first.values, first.usage, first.is_second) == ({"x": 0.5}, Usage(1000, 500), True)
    second = await ask_streamed(endpoint, number=2)
    assert (second.values, second.is_second) == ({"x": 0.5}, False)
    assert ["stream" in body for body in bodies(server)] == [True, False, False]


@pytest.mark.parametrize(
    ("said", "requests"), [("prompt too long", 1), ("", 2), ("streams of consciousness", 2)]
)
async def test_a_question_that_is_wrong_either_way_does_not_end_streaming(server, endpoint, said, requests):
    server.answer(orjson.dumps({"error": {"message": said}}) if said else b"", status=400)
    ended = await ask_streamed(endpoint)
    assert (ended.error.kind, ended.error.blame) == (FailureKind.PERMANENT, Blame.TASK)
    assert len(server.requests) == requests
    stream(server, chunks())
    assert (await ask_streamed(endpoint, number=2)).streamed == 10


async def test_an_endpoint_that_does_not_count_what_it_streams_is_not_asked_to_again(server, endpoint):
    stream(server, chunks(usage=False))
    assert (await ask_streamed(endpoint)).usage == Usage()
    server.answer(completion())
    assert (await ask_streamed(endpoint, number=2)).usage == Usage(1000, 500)
    assert "stream" not in bodies(server)[1]


async def test_an_error_in_the_stream_says_why_the_answer_is_unusable(server, endpoint):
    stream(server, [*chunks()[:3], b'data: {"error": {"message": "engine overloaded"}}\n\n'])
    ended = await ask_streamed(endpoint)
    assert ended.error.kind is FailureKind.UNUSABLE
    assert "engine overloaded" in ended.error.message


async def test_a_stream_that_breaks_off_is_in_doubt_since_its_status_came_before_its_end(server, spoken):
    async def abort(request):
        request.transport.abort()

    stream(server, spoken.events()[:2], then=abort, media_type=spoken.stream_type)
    assert (await ask_streamed(spoken.endpoint)).error.kind is FailureKind.IN_DOUBT


async def test_a_connection_that_breaks_after_the_answer_does_not_matter(server, endpoint):
    async def abort(request):
        await asyncio.wait_for(heard.wait(), 60)
        request.transport.abort()

    heard = asyncio.Event()
    choice = {"delta": {"content": '{"x": 0.5}'}, "finish_reason": "stop"}
    whole = orjson.dumps({**USAGE, "choices": [choice]})
    stream(server, [b"data: " + whole + b"\n\n"], then=abort)
    ended = await ask_streamed(endpoint, on_streamed=lambda *_: heard.set())
    assert (ended.values, ended.usage) == ({"x": 0.5}, Usage(1000, 500))


async def test_a_stream_that_ends_too_soon_is_unusable(server, spoken):
    stream(server, spoken.events()[:2], media_type=spoken.stream_type)
    ended = await ask_streamed(spoken.endpoint)
    assert ended.error.kind is FailureKind.UNUSABLE
    assert "ended before the answer" in ended.error.message


@pytest.mark.parametrize(
    ("spoken", "timeout_s"),
    # A stream of Gemini has no mark of its end, and more usage may follow: it has its time.
    [*((name, 60.0) for name in SPOKEN if name != "gemini"), ("gemini", 1.0)],
    indirect=["spoken"],
)
async def test_a_stream_that_stays_open_after_its_end_holds_nothing_up(server, spoken, timeout_s):
    async def hang(request):
        await server.held_up.wait()

    stream(server, spoken.events(), then=hang, media_type=spoken.stream_type)
    ended = await ask_streamed(spoken.endpoint, timeout_s=timeout_s)
    assert (ended.values, ended.usage) == ({"x": 0.5}, Usage(1000, 500))
    assert ended.took_s < 30
    await asyncio.wait_for(server.gave_up.wait(), 30)  # and its connection is not kept for ever


@pytest.mark.parametrize("spoken", ["chat", "bedrock"], indirect=True)
async def test_a_stream_that_stalls_ends_in_time_and_in_doubt(server, spoken):
    async def hang(request):
        await server.held_up.wait()

    stream(server, spoken.events()[:2], then=hang, media_type=spoken.stream_type)
    assert (await ask_streamed(spoken.endpoint, timeout_s=1.0)).error.kind is FailureKind.IN_DOUBT


@pytest.mark.parametrize("dialect", SPOKEN)
async def test_a_stream_without_end_is_cut_where_a_whole_answer_would_be(server, dialect):
    async with open_endpoint(server.url, dialect=dialect, max_answer_bytes=1024) as endpoint:
        spoken = SpokenDialect(dialect, endpoint)
        stream(server, spoken.events("y" * 5000), media_type=spoken.stream_type)
        ended = await ask_streamed(endpoint)
    assert ended.error.kind is FailureKind.UNUSABLE
    assert "larger than 1024" in ended.error.message


@pytest.mark.parametrize("first", [True, False])
async def test_who_asked_otherwise_under_the_same_key_before_gets_that_answer(start_llm_here, first):
    """An earlier life asked, and this one does not know how: the endpoint would refuse another body."""
    one = await start_llm_here("--latency-s", "0.05")
    async with open_endpoint(f"{one.base}/v1") as endpoint:
        asked = [replace(attempt(), stream=wish) for wish in (first, not first)]
        before, again = [await endpoint.attempt(each, 10.0) for each in asked]
    assert (again.values, again.usage) == (before.values, before.usage)
    assert (before.replayed, again.replayed, again.is_second) == (False, True, True)
    assert (await one.stats())["billed"] == 1


async def test_a_body_that_changed_under_the_same_key_is_billed_once_more_and_then_repeated(start_llm_here):
    """The configuration or the program has changed since the first request, whose end is not known."""
    one = await start_llm_here("--latency-s", "0.05")
    async with open_endpoint(f"{one.base}/v1") as endpoint:
        before, changed = attempt(), replace(attempt(), prompt="Rate it now.")
        await endpoint.attempt(before, 10.0)
        ended = [await endpoint.attempt(replace(changed, stream=wish), 10.0) for wish in (False, True)]
    assert [each.replayed for each in ended] == [False, True]
    assert ended[0].values == ended[1].values is not None
    assert (await one.stats())["billed"] == 2


async def test_the_simulator_answers_the_same_in_a_stream_and_progress_comes_before_the_end(start_llm_here):
    one = await start_llm_here("--latency-s", "1.5", "--sigma", "0")
    async with open_endpoint(f"{one.base}/v1") as endpoint:
        heard = []
        streamed = await endpoint.attempt(
            replace(attempt(1), stream=True), 10.0, lambda count, _: heard.append(count)
        )
        whole = await endpoint.attempt(attempt(2), 10.0)
    assert streamed.values == whole.values
    assert streamed.usage.input_tokens == whole.usage.input_tokens
    assert len(heard) > 3
    assert streamed.began_s < 0.7 * streamed.took_s
    entries = (await one.ledger()).entries
    assert [(e.input_tokens, e.output_tokens) for e in entries] == [
        (each.usage.input_tokens, each.usage.output_tokens) for each in (streamed, whole)
    ]
