"""The endpoint and its connections: which it keeps, and what it concludes when no answer comes over one."""

from __future__ import annotations

import asyncio
import socket

import orjson
import pytest
from aiohttp import web

from actors.core.errors import Blame, FailureKind
from actors.http1.connection import HttpConnection
from tests.e2e.support.scripted_server import ask, attempt, completion, open_endpoint

# ---- what does not come back -----------------------------------------------------------------------------


async def hang_up(request):
    request.transport.close()
    return web.Response()


async def reset(request):
    request.transport.abort()
    return web.Response()


async def talk_rubbish(request):
    request.transport.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    request.transport.close()
    return web.Response()


@pytest.mark.parametrize("behaviour", [hang_up, reset, talk_rubbish])
async def test_a_connection_that_breaks_after_the_request_leaves_it_in_doubt(server, spoken, behaviour):
    server.behaviour = behaviour

    ended = await ask(spoken.endpoint)

    assert len(server.requests) == 1  # never sent twice behind our back
    assert (ended.error.kind, ended.error.blame) == (FailureKind.IN_DOUBT, Blame.ENDPOINT)


@pytest.mark.parametrize("bounds", [{"timeout_s": 1.0}, {"expires_in_s": 1.0}])
async def test_no_answer_in_time_is_in_doubt_and_the_endpoint_is_hung_up_on(server, endpoint, bounds):
    server.behaviour = lambda request: server.held_up.wait()

    ended = await ask(endpoint, **bounds)

    assert ended.error.kind is FailureKind.IN_DOUBT
    assert ended.took_s < 30
    await asyncio.wait_for(server.gave_up.wait(), 60)


@pytest.mark.parametrize("spoken", ["chat", "bedrock"], indirect=True)
async def test_an_answer_that_stalls_half_way_is_in_doubt(server, spoken):
    server.answer_and_stall(spoken.answer()[:10])

    ended = await ask(spoken.endpoint, timeout_s=1.0)

    assert ended.error.kind is FailureKind.IN_DOUBT
    await asyncio.wait_for(server.gave_up.wait(), 60)


@pytest.mark.parametrize(
    ("bounds", "kind"),
    [
        ((0.0, 10.0), FailureKind.DEADLINE),
        ((-3.0, 10.0), FailureKind.DEADLINE),
        ((30.0, 0.0), FailureKind.TRANSIENT),
    ],
)
async def test_an_attempt_without_time_left_ends_before_it_waits_for_anything(endpoint, bounds, kind):
    expires_in_s, timeout_s = bounds
    asking = endpoint.attempt(attempt(expires_in_s=expires_in_s), timeout_s)

    with pytest.raises(StopIteration) as returned:
        asking.send(None)

    assert returned.value.value.error.kind is kind


async def test_a_refused_connection_passes_and_is_not_in_doubt():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    async with open_endpoint(f"http://127.0.0.1:{port}/v1") as endpoint:
        ended = await ask(endpoint)

    assert (ended.error.kind, ended.error.blame) == (FailureKind.TRANSIENT, Blame.ENDPOINT)


async def test_a_name_that_nobody_knows_passes_and_is_not_in_doubt(monkeypatch):
    def unknown(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    async with open_endpoint("http://endpoint.invalid/v1") as endpoint:
        ended = await ask(endpoint)

    assert ended.error.kind is FailureKind.TRANSIENT


async def test_a_server_that_speaks_no_tls_was_sent_nothing(server):
    async with open_endpoint(server.url.replace("http:", "https:")) as endpoint:
        ended = await ask(endpoint)

    assert ended.error.kind is FailureKind.TRANSIENT
    assert server.requests == []


@pytest.mark.parametrize(
    ("bounds", "kind"),
    [({"timeout_s": 0.1}, FailureKind.TRANSIENT), ({"expires_in_s": 0.1}, FailureKind.DEADLINE)],
)
async def test_time_that_runs_out_before_the_request_is_written_is_not_in_doubt(bounds, kind):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, but never says the greeting of TLS
        async with open_endpoint(f"https://127.0.0.1:{silent.getsockname()[1]}/v1") as endpoint:
            ended = await ask(endpoint, **bounds)

    assert ended.error.kind is kind


async def test_a_connection_that_closes_just_as_it_is_picked_took_nothing(server, endpoint, monkeypatch):
    server.answer(completion())
    await ask(endpoint)
    start = HttpConnection.start

    def start_too_late(self, exchange):
        self.close()
        start(self, exchange)

    monkeypatch.setattr(HttpConnection, "start", start_too_late)

    ended = await ask(endpoint)

    assert ended.error.kind is FailureKind.TRANSIENT
    assert len(server.requests) == 1


async def test_cancelling_an_attempt_hangs_up_and_raises(server, endpoint):
    arrived = asyncio.Event()

    async def hold(request):
        arrived.set()
        await server.held_up.wait()

    server.behaviour = hold
    asking = asyncio.create_task(endpoint.attempt(attempt(), 10.0))
    await asyncio.wait_for(arrived.wait(), 60)

    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.wait_for(server.gave_up.wait(), 60)


# ---- many requests ---------------------------------------------------------------------------------------


async def test_one_connection_serves_one_request_after_another_even_after_errors(server, endpoint):
    for status in (200, 429, 400, 500, 200):
        server.answer(completion(), status)
        await ask(endpoint)

    assert len(server.connections) == 1


async def test_as_many_requests_fly_as_the_caller_sends(server, endpoint):
    all_there = asyncio.Barrier(300)

    async def wait_for_all(request):
        await all_there.wait()
        return web.Response(body=completion())

    server.behaviour = wait_for_all

    ends = await asyncio.gather(*(ask(endpoint, number=number) for number in range(300)))

    assert [end.values for end in ends] == [{"x": 0.5}] * 300


async def test_every_answer_goes_to_the_attempt_that_asked(server, endpoint):
    async def echo(request):
        prompt = orjson.loads(await request.read())["messages"][0]["content"]
        return web.Response(body=completion(orjson.dumps({"x": float(prompt)}).decode()))

    server.behaviour = echo

    ends = await asyncio.gather(*(ask(endpoint, number=n, prompt=str(n / 100)) for n in range(100)))

    assert [(end.id, end.values["x"]) for end in ends] == [(n, n / 100) for n in range(100)]
