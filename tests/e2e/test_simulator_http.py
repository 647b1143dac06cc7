"""How a simulator speaks HTTP/1.1, byte by byte: what clients ask of it, and what they do to it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial

import pytest

from simulators.http_server import Connection

WITHIN_S = 30.0
PLAIN = {"Content-Type": "text/plain"}


async def echo(request):
    await request.send(200, PLAIN, f"{request.method} {request.target} ".encode() + request.body)


@asynccontextmanager
async def connected(handler):
    """Serve `handler` and connect to it; yield a reader and a writer."""
    listening = await asyncio.get_running_loop().create_server(partial(Connection, handler), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    try:
        async with asyncio.timeout(WITHIN_S):
            yield reader, writer
    finally:
        writer.transport.abort()
        listening.close()


async def answer(reader):
    """Return an answer's status, headers in small letters, and body by its length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.rstrip().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return int(first.split()[1]), headers, body


async def test_requests_on_one_connection_are_answered_in_order_though_all_were_sent_at_once():
    async def slower_first(request):
        await asyncio.sleep(0.02 if request.target == "/0" else 0)
        await echo(request)

    async with connected(slower_first) as (reader, writer):
        writer.write(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(100)))
        for n in range(100):
            assert (await answer(reader))[2] == b"GET /%d " % n


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ],
)
async def test_a_body_is_read_whole_however_it_comes(body):
    async with connected(echo) as (reader, writer):
        for byte in b"POST /a HTTP/1.1\r\nHost: x\r\n" + body:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await answer(reader))[2] == b"POST /a hello"


async def test_a_connection_stays_unless_the_client_wants_it_closed():
    async with connected(echo) as (reader, writer):
        writer.write(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert "connection" not in (await answer(reader))[1]
        writer.write(b"GET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await answer(reader))[1]["connection"] == "close"
        assert await reader.read() == b""


async def test_what_was_sent_ahead_on_a_connection_that_closes_is_not_worked_on():
    worked_on = []

    async def counts(request):
        worked_on.append(request.target)
        await echo(request)

    async with connected(counts) as (reader, writer):
        first = b"GET /1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        writer.write(first + first)
        assert (await answer(reader))[0] == 200
        assert await reader.read() == b""
    assert worked_on == ["/1"]


async def test_an_offer_to_change_the_protocol_is_declined_by_an_answer():
    async with connected(echo) as (reader, writer):
        writer.write(b"GET /1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert (await answer(reader))[2] == b"GET /1 "
        assert await reader.read() == b""


async def test_a_head_request_gets_the_length_and_no_body():
    async with connected(echo) as (reader, writer):
        writer.write(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"Content-Length: 8" in await reader.readuntil(b"\r\n\r\n")
        assert (await answer(reader))[2] == b"GET /b "


async def test_what_is_no_http_is_turned_down_and_cut_off():
    async with connected(echo) as (reader, writer):
        writer.write(b"hello\r\n\r\n")
        status, _, reason = await answer(reader)
        assert (status, b"no HTTP/1.1" in reason) == (400, True)
        assert await reader.read() == b""


async def test_a_body_beyond_all_measure_is_turned_down_while_it_comes():
    async with connected(echo) as (reader, writer):
        writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n" + b"x" * (64 << 20))
        writer.write(b"x")
        assert (await answer(reader))[0] == 413


@pytest.mark.parametrize(
    ("handler", "reason"),
    [("raises", "ZeroDivisionError"), ("forgets", "GET /a was not answered")],
)
async def test_a_handler_that_fails_or_forgets_to_answer_is_a_500_and_its_reason_on_stderr(
    handler, reason, capfd
):
    async def faulty(_):
        if handler == "raises":
            raise ZeroDivisionError

    async with connected(faulty) as (reader, writer):
        writer.write(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await answer(reader))[0] == 500
        assert await reader.read() == b""
    assert reason in capfd.readouterr().err


async def test_an_answer_that_breaks_off_is_a_reset_and_no_end(capfd):
    async def breaks_off(request):
        await request.begin(200, PLAIN)
        await request.write(b"a")
        raise ZeroDivisionError

    async with connected(breaks_off) as (reader, writer):
        writer.write(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()
    assert "ZeroDivisionError" in capfd.readouterr().err


async def test_an_answer_in_pieces_is_chunked_and_the_connection_serves_on():
    async def in_pieces(request):
        await request.begin(200, PLAIN)
        await request.write(b"ab")
        await request.end(b"c")

    async with connected(in_pieces) as (reader, writer):
        for _ in range(2):
            writer.write(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"Transfer-Encoding: chunked" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readuntil(b"0\r\n\r\n") == b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"


async def test_a_handler_learns_that_its_client_has_left_and_may_go_on():
    learned: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def patient(request):
        await request.departed(WITHIN_S)
        try:
            await request.send(200, PLAIN, b"late")
        except ConnectionError as error:
            learned.set_result(str(error))

    async with connected(patient) as (_, writer):
        writer.write(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        await writer.drain()
        writer.close()
        assert await learned == "the client has left"


async def test_a_client_that_reads_slowly_is_waited_for_and_one_that_leaves_meanwhile_is_noticed():
    left: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def pours(request):
        sent = 0
        await request.begin(200, PLAIN)
        try:
            while sent < 100:
                await request.write(b"x" * (1 << 20))
                sent += 1
        finally:
            left.set_result(sent)

    async with connected(pours) as (reader, writer):
        writer.write(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        assert await left < 100
