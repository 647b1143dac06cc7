"""Streams of other dialects than `chat` over connections that are slow, break off, stay open or never end."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from msgspec.structs import replace

from actors.core.errors import FailureKind
from tests.e2e.support.scripted_server import attempt, open_endpoint
from tests.unit.llm.dialects.conformance import all_cases

IN_DOUBT, UNUSABLE = FailureKind.IN_DOUBT, FailureKind.UNUSABLE
ALL = all_cases()

pytestmark = pytest.mark.parametrize("cases", [ALL["anthropic"], ALL["bedrock"]], ids=lambda one: one.dialect)


def stream(server, cases, pieces, *, then):
    """Have the server send `pieces`, and then await `then` with the request before it ends the body."""

    async def respond(request):
        response = web.StreamResponse(headers={"Content-Type": cases.make().stream_type})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(0)
        await then(request)
        return response

    server.behaviour = respond


def whole(cases):
    return cases.encode(cases.streams[0].events)


def half(cases):
    events = cases.streams[0].events
    return cases.encode(events[: len(events) // 2 + 1])


async def ask_streamed(server, cases, *, timeout_s=60.0, **settings):
    described = {**cases.settings, "base_url": server.url, "dialect": cases.dialect, **settings}
    async with open_endpoint(described.pop("base_url"), **described) as endpoint:
        return await endpoint.attempt(replace(attempt(), stream=True), timeout_s)


async def go_on(_request):
    pass


async def hang_up(request):
    request.transport.close()


async def test_a_stream_that_comes_byte_by_byte_is_the_same_answer(server, cases):
    wire = whole(cases)
    stream(server, cases, [wire[at : at + 1] for at in range(len(wire))], then=go_on)
    ended = await ask_streamed(server, cases)
    assert (ended.values, ended.error) == ({"x": 0.5}, None)
    assert ended.usage.input_tokens == cases.streams[0].expected.tokens.input


async def test_an_answer_that_is_complete_does_not_wait_for_the_end_of_its_connection(server, cases):
    stream(server, cases, [whole(cases)], then=lambda _: server.held_up.wait())
    ended = await ask_streamed(server, cases)
    assert ended.values == {"x": 0.5}


async def test_a_stream_that_breaks_off_is_in_doubt(server, cases):
    stream(server, cases, [half(cases)], then=hang_up)
    ended = await ask_streamed(server, cases)
    assert ended.error.kind is IN_DOUBT


async def test_a_stream_that_stalls_is_in_doubt_and_is_hung_up_on(server, cases):
    stream(server, cases, [half(cases)], then=lambda _: server.held_up.wait())
    ended = await ask_streamed(server, cases, timeout_s=0.3)
    assert ended.error.kind is IN_DOUBT
    await asyncio.wait_for(server.gave_up.wait(), 60)


async def test_a_stream_that_is_closed_in_the_middle_is_unusable(server, cases):
    stream(server, cases, [half(cases)], then=go_on)
    ended = await ask_streamed(server, cases)
    assert (ended.error.kind, ended.unmetered) == (UNUSABLE, True)
    assert "ended before the answer did" in ended.error.message


async def test_a_stream_without_an_end_is_given_up_at_its_bound(server, cases):
    stream(server, cases, [half(cases), *[b"x" * 65536] * 1000], then=lambda _: server.held_up.wait())
    ended = await ask_streamed(server, cases, max_answer_bytes=1 << 16)
    # Bedrock's frames have sums, so that the first bytes show that the rest is no part of the answer.
    assert ended.error.kind in {UNUSABLE, IN_DOUBT}
    await asyncio.wait_for(server.gave_up.wait(), 60)
