"""How a simulator's HTTP server treats clients that leave, read slowly, or come from another site."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from simulators.serving import SimulatorServer

WITHIN_S = 30.0
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def connected(handler):
    """Serve `handler` and connect to it; yield a reader and a writer."""
    server = SimulatorServer(handler)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    try:
        async with asyncio.timeout(WITHIN_S):
            yield reader, writer
    finally:
        writer.transport.abort()
        listening.close()
        await server.shutdown(0.1)


async def test_a_body_of_64_mib_is_read_and_a_larger_one_is_refused():
    async def size(request):
        return web.Response(text=f"{len(await request.read())} bytes")

    async with connected(size) as (reader, writer):
        writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (64 << 20))
        writer.write(bytes(64 << 20))
        assert (await reader.readuntil(b"bytes")).endswith(b"67108864 bytes")
        writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % ((64 << 20) + 1))
        writer.write(bytes((64 << 20) + 1))
        assert b" 413 " in await reader.readuntil(b"\r\n")


async def test_a_handler_that_fails_is_answered_with_500_and_its_traceback_is_logged(caplog):
    async def faulty(_):
        raise ZeroDivisionError

    async with connected(faulty) as (reader, writer):
        writer.write(GET)
        assert b" 500 " in await reader.readuntil(b"\r\n")
    assert "ZeroDivisionError" in caplog.text


async def test_a_response_that_breaks_off_has_no_end_for_the_client(caplog):
    async def breaks_off(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a")
        raise ZeroDivisionError

    async with connected(breaks_off) as (reader, writer):
        writer.write(GET)
        assert (await reader.read()).endswith(b"\r\n\r\n1\r\na\r\n")  # the last chunk would be 0\r\n\r\n
    assert "ZeroDivisionError" in caplog.text


async def test_a_handler_learns_that_its_client_has_left_and_keeps_running():
    learned: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def patient(request):
        await request.departed(WITHIN_S)
        await asyncio.sleep(0)
        response = web.Response(body=b"late")
        try:
            await response.prepare(request)
            await response.write_eof()
        except ConnectionError as error:
            learned.set_result(str(error))
        return response

    async with connected(patient) as (_, writer):
        writer.write(GET)
        await writer.drain()
        writer.close()
        assert "closing transport" in await learned


async def test_a_client_that_does_not_read_slows_its_handler_and_its_departure_ends_the_response():
    left: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def pours(request):
        sent = 0
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while sent < 100:
                await response.write(b"x" * (1 << 20))
                sent += 1
        finally:
            left.set_result(sent)
        return response

    async with connected(pours) as (reader, writer):
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        assert await left < 100


async def test_an_answer_that_its_client_leaves_before_it_is_whole_is_entered_as_not_taken(start_llm_here):
    one = await start_llm_here(faults=[{"kind": "huge", "rate": 1, "bytes": 50_000_000}])
    async with one.post() as answer:
        await answer.content.readany()
        answer.close()
    await one.until(lambda stats: stats["requests"] == 1)
    (entry,) = (await one.ledger()).entries
    assert (entry.phase, entry.status, entry.billed) == ("client_gone", 0, 1)


# ---- web pages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/control", "/flush", "/stats"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "["},
        {"Host": ""},
    ],
)
async def test_a_page_of_another_site_may_not_administer_an_endpoint(start_llm_here, path, headers):
    one = await start_llm_here("--cap", "1")
    method = "GET" if path == "/stats" else "POST"
    async with one.session.request(
        method, one.base + path, data=b'{"cap": 7}' if path == "/control" else None, headers=headers
    ) as answer:
        assert answer.status == 403
    await one.hold()
    first = asyncio.create_task(one.ask(key="first"))
    await one.until(lambda stats: stats["in_flight"] == 1)
    assert (await one.ask(key="second"))[0] == 429  # the cap is still 1
    await one.release()
    await first


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
async def test_a_page_of_the_endpoint_itself_may_administer_it(start_llm_here, host):
    one = await start_llm_here()
    headers = {"Host": f"{host}:8000", "Origin": f"http://{host}:8000"}
    async with one.session.get(f"{one.base}/stats", headers=headers) as answer:
        assert answer.status == 200


async def test_an_endpoint_may_be_administered_at_the_address_it_listens_on(start_llm):
    one = await start_llm("--host", "127.0.0.2")
    async with aiohttp.ClientSession() as session, session.get(f"{one.base}/stats") as answer:
        assert "127.0.0.2" in one.base
        assert answer.status == 200
