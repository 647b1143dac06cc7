"""Every error has one form, and nothing that is sent does harm."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from cluster.http.guard import limits
from tests.e2e.http.conftest import ANN, PROXY, WITHIN_S

JSON = "application/json"


@pytest.mark.parametrize(
    "path", ["/nothing", "/v1", "/v1/", "/v1/tasks/", "/v1/nothing", "//", "/v1/tasks/a/b"]
)
async def test_an_address_that_is_not_there_is_a_problem(ann, path):
    (await ann("GET", path)).problem(404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/tasks", "GET, POST"),
        ("POST", "/v1/tasks/a", "DELETE, GET"),
        ("DELETE", "/healthz", "GET"),
    ],
)
async def test_a_method_that_is_not_there_says_which_are(ann, method, path, allowed):
    answer = await ann(method, path)
    answer.problem(405)
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/pipeline", "/v1/nothing"])
async def test_without_a_token_there_is_nothing_to_see(nobody, path):
    answer = await nobody("GET", path)
    answer.problem(401)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    (await nobody("GET", path, Authorization="Bearer wrong-token")).problem(401)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/docs", "/openapi.json"])
async def test_some_addresses_are_open(nobody, path):
    answer = await nobody("GET", path)
    assert answer.status == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_runs_what_is_its_own_and_asks_no_other_address(nobody, path):
    answer = await nobody("GET", path)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.findall(rb"""(?:src|href)=["'](?!/|#|data:)""", answer.body)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b"{", JSON),
        (400, b'{"key": "\\ud800"}', JSON),
        (400, b'{"params": {"n": NaN}}', JSON),
        (400, b"[" * 50_000, JSON),
        (400, b'{"params":' * 5000 + b"1" + b"}" * 5000, JSON),
        (400, b"\xff\xfe{}", JSON),
        (400, b"", JSON),
        (422, b'{"params":' + b'{"a":' * 40 + b"1" + b"}" * 40 + b"}", JSON),
        (422, b"[]", JSON),
        (422, b'{"url": "http://127.0.0.1"}', JSON),
        (413, b'{"key": "' + b"x" * 200_000 + b'"}', JSON),
        (415, b"{}", "text/plain"),
        (415, b"{}", "application/json; charset=utf-16"),
    ],
)
async def test_a_body_that_cannot_be_used_is_refused(ann, status, body, kind):
    (await ann.send("POST", "/v1/tasks", body, Content_Type=kind)).problem(status)


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "ä"])
async def test_an_idempotency_key_that_cannot_be_used_is_refused(ann, key):
    (await ann("POST", "/v1/tasks", {}, Idempotency_Key=key)).problem(422)


async def test_headers_that_are_too_large_are_refused(ann):
    (await ann("GET", "/v1/tasks", X_Large="x" * 40_000)).problem(431)
    (await ann("GET", "/v1/tasks?cursor=" + "x" * 9_000)).problem(414)


@asynccontextmanager
async def connection(service):
    """Open a connection, and let go of it at once: nobody may ever read what is still on its way."""
    address = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def head(path, *headers):
    more = (f"Authorization: Bearer {ANN}", f"Content-Type: {JSON}", "Host: 127.0.0.1", *headers)
    return "\r\n".join((f"POST {path} HTTP/1.1", *more, "", "")).encode()


async def heard(reader):
    """Return the beginning of an answer, as far as it comes: who sends on unheard is hung up on."""
    try:
        return await reader.readuntil(b"}")
    except asyncio.IncompleteReadError as cut:
        return cut.partial
    except ConnectionError:
        return b""


async def test_a_large_body_is_refused_unread_and_costs_no_memory(service):
    piece, pieces = b"x" * (1 << 20), 200
    announced = (f"Content-Length: {pieces << 20}", piece)
    endless = ("Transfer-Encoding: chunked", b"%x\r\n%b\r\n" % (len(piece), piece))

    def memory():
        # In the resident set of each process are the pages of the object store that it has touched: the first
        # bodies add 30 MB to it in both processes. A page that several processes share counts here once.
        titles = ("ServeReplica", PROXY)
        return sum(one.memory_full_info().pss for title in titles for one in service.processes(title))

    async def is_refused(path, framing, piece):
        taken = 0

        async def send(writer):
            nonlocal taken
            for _ in range(pieces):
                writer.write(piece)
                await writer.drain()
                taken += 1

        async with connection(service) as (reader, writer), asyncio.timeout(WITHIN_S):
            writer.write(head(path, framing))
            sending = asyncio.create_task(send(writer))
            try:
                answer = await heard(reader)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        assert b"HTTP/1.1 413 ".startswith(answer[:13])
        assert b"\r\n\r\n" not in answer or b"application/problem+json" in answer
        assert taken < pieces // 2  # the kernel's buffers have 40 MB, and a batch has 8 MB
        return len(answer)

    told = [
        await is_refused(path, framing, each)
        for _ in range(8)
        for path in ("/v1/tasks", "/v1/batches")
        for framing, each in (announced, endless)
    ]
    assert any(told)
    # By now the modules are loaded and the allocators have their pools: what is kept is all that grows.
    before, read = memory(), 0
    for _ in range(40):
        await is_refused("/v1/batches", *endless)
        read += limits.ARRAY_BYTES
    deadline = time.monotonic() + 30
    while (grown := memory() - before) >= read // 2 and time.monotonic() < deadline:
        await asyncio.sleep(0.5)  # the garbage of a second's refusals is collected together
    assert grown < read // 2


async def test_callers_that_send_slowly_keep_nobody_waiting(service, ann):
    address = urlsplit(service.url)
    slow = []
    try:
        for _ in range(50):
            one = socket.create_connection((address.hostname, address.port))
            one.sendall(b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n")
            slow.append(one)
        async with asyncio.timeout(25):  # the slow ones are given up after 30
            assert (await ann("GET", "/v1/pipeline")).status == 200
    finally:
        for one in slow:
            one.close()


@pytest.mark.parametrize(
    "header",
    [
        b"x-request-timeout-seconds: 0.000001",
        b"X_Request_Timeout_Seconds: 0",
        b"x-request-timeout-seconds: \xff",
        b"x-request-disconnect-disabled: \xff",
        b"serve-multiplexed_model-id: \xff",
        b"x-session-id: \xff",
        b"x-request-id: \xff",
    ],
)
async def test_what_a_client_asks_of_serve_is_not_heard(service, header, name):
    address = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    body = b'{"key": "%s"}' % name.encode()
    head = b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    more = b"Authorization: Bearer %s\r\nContent-Length: %d\r\n%s\r\n\r\n" % (ANN.encode(), len(body), header)
    writer.write(head + more + body)
    async with asyncio.timeout(WITHIN_S):
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 202 "), answer


async def test_the_id_that_a_client_gives_its_request_comes_back(ann):
    assert (await ann("GET", "/v1/tasks", x_request_id="mine-1")).headers.getall("x-request-id") == ["mine-1"]


async def test_the_service_says_what_it_does_now(ann):
    # Tasks of earlier tests may still be at work.
    known = await ann.statistics(lambda known: known["tasks"]["unfinished"] == 0)
    assert known["binding"]
    assert [endpoint["name"] for endpoint in known["endpoints"]] == ["simulator"]
    assert [source["name"] for source in known["sources"]] == ["wire", "forum"]
    assert known["tasks"] == {"unfinished": 0}  # a tenant sees its own tasks only
    assert known["journal"] is None  # it is everybody's
