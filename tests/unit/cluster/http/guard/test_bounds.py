"""Requests and bodies beyond the bounds are refused before Serve has them."""

from __future__ import annotations

import asyncio
import gc
import json

import pytest

from actors.core.errors import ConfigError
from cluster.http.guard import bounds, limits
from cluster.http.guard.bounds import RequestBounds
from tests.unit.support.leaping_loop import run_leaping

PIECE = 1 << 20
UNCOUNTED = ("/v1/batches", "/v1/tasks/t/events", "/healthz", "/readyz", "/-/healthz")


class Inner:
    """The application behind: reads all it gets, or `reads` pieces, and says what it made of it."""

    def __init__(self, reads=10**6):
        self.reads = reads
        self.seen = []

    async def __call__(self, scope, receive, send):
        for _ in range(self.reads):
            message = await receive()
            self.seen.append(message["type"])
            if message["type"] == "http.disconnect" or not message["more_body"]:
                break
        cut = self.seen[-1:] == ["http.disconnect"]
        await send({"type": "http.response.start", "status": 400 if cut else 202, "headers": []})
        await receive()
        await send({"type": "http.response.body", "body": b"inner"})


async def ask(inner, *, path="/v1/tasks", size=0, **headers):
    """Send a body of `size` bytes in pieces; return the status, the body, and how many pieces were read."""
    left, sent, read = size, [], 0

    async def receive():
        nonlocal left, read
        read += 1
        body = b"x" * min(left, PIECE)
        left -= len(body)
        return {"type": "http.request", "body": body, "more_body": left > 0}

    async def send(message):
        sent.append(message)

    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await RequestBounds(inner)({"type": "http", "path": path, "headers": pairs}, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    return sent[0]["status"], sent[1]["body"], read


async def test_what_is_announced_as_too_large_is_refused_unread():
    inner = Inner()
    status, body, read = await ask(inner, size=100 << 20, content_length=str(100 << 20))
    assert (status, json.loads(body)["limit_bytes"], read) == (413, limits.TASK_BYTES, 0)
    assert inner.seen == []


@pytest.mark.parametrize(
    ("path", "kind", "most"),
    [
        ("/v1/tasks", "application/json", limits.TASK_BYTES),
        ("/healthz", "", limits.TASK_BYTES),
        ("/v1/batches", "application/json", limits.ARRAY_BYTES),
        ("/v1/batches", "application/x-ndjson; charset=utf-8", limits.BATCH_BYTES),
    ],
)
async def test_what_is_not_announced_is_read_up_to_its_bound(path, kind, most):
    inner = Inner()
    status, body, read = await ask(inner, path=path, size=2 * most + PIECE, content_type=kind)
    assert (status, json.loads(body)["limit_bytes"]) == (413, most)
    assert read == most // PIECE + 1  # a piece beyond tells that there is more
    assert inner.seen[-1] == "http.disconnect"  # so that it lets go of the request
    assert (await ask(Inner(), path=path, size=most, content_type=kind))[:2] == (202, b"inner")


LINES = "application/x-ndjson"


async def test_a_batch_that_is_too_large_is_told_its_bound_and_what_to_set(monkeypatch):
    status, body, read = await ask(
        Inner(), path="/v1/batches", content_type=LINES, content_length=str(662 << 20)
    )
    told = json.loads(body)
    assert (status, told["limit_bytes"], read) == (413, limits.BATCH_BYTES, 0)
    assert "HEADRACE_BATCH_BYTES" in told["detail"]
    assert limits.BATCH_BYTES <= 64 << 20  # Serve keeps it, twice over
    monkeypatch.setenv("HEADRACE_BATCH_BYTES", str(2 << 20))
    status, body, _ = await ask(Inner(), path="/v1/batches", content_type=LINES, content_length="3000000")
    assert (status, json.loads(body)["limit_bytes"]) == (413, 2 << 20)


@pytest.mark.parametrize("framing", [{"content_length": "1048576"}, {"transfer_encoding": "chunked"}])
async def test_the_batches_of_a_process_are_bounded_together(monkeypatch, framing):
    monkeypatch.setenv("HEADRACE_BATCH_BYTES", str(1 << 20))
    may_end, inside, answers = asyncio.Event(), [], []

    async def inner(scope, receive, send):
        inside.append(scope)
        await may_end.wait()

    guard = RequestBounds(inner)
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in framing.items()]
    scope = {"type": "http", "path": "/v1/batches", "headers": [(b"content-type", LINES.encode()), *headers]}

    async def send(message):
        answers.append(message)

    clients = [{**scope, "client": (f"10.0.0.{n}", 5)} for n in range(limits.BATCHES_HELD + 3)]
    asking = [asyncio.create_task(guard(each, None, send)) for each in clients]
    while len(answers) < 6:  # a start and a body each
        await asyncio.sleep(0)
    assert len(inside) == limits.BATCHES_HELD
    assert {message["status"] for message in answers if "status" in message} == {503}
    empty = {"type": "http", "path": "/v1/batches", "headers": []}
    asking.append(asyncio.create_task(guard(empty, None, send)))  # it has no body, and needs no memory
    await asyncio.sleep(0)
    assert len(inside) == limits.BATCHES_HELD + 1
    may_end.set()
    await asyncio.gather(*asking)
    await guard(scope, None, send)
    assert len(inside) == limits.BATCHES_HELD + 2


def chunked(client="10.0.0.1", token="ann-token", **headers):  # noqa: S107 - no token of anybody
    """Return a batch whose size is not told."""
    headers |= {"content-type": LINES, "transfer-encoding": "chunked"}
    headers |= {"authorization": f"Bearer {token}"} if token else {}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "path": "/v1/batches", "headers": pairs, "client": (client, 5)}


@pytest.mark.parametrize("same", [{"client": "10.0.0.1", "token": ""}, {"token": "ann-token"}])
async def test_one_caller_cannot_reserve_the_memory_of_all_batches(same):
    """Eight stalled batches of one tenant without a Content-Length had everybody else's refused."""
    may_end, inside, answers = asyncio.Event(), [], []

    async def inner(scope, receive, send):
        inside.append(scope)
        await may_end.wait()

    async def send(message):
        answers.append(message)

    guard = RequestBounds(inner)

    def begun(**who):
        return asyncio.create_task(guard(chunked(**who), None, send))

    each = [{"client": f"10.0.1.{n}", "token": f"token-{n}"} | same for n in range(limits.BATCHES_HELD)]
    asking = [begun(**who) for who in each]
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(inside) == limits.BATCHES_HELD // 2
    starts = [message for message in answers if "status" in message]
    assert {message["status"] for message in starts} == {429}
    assert {dict(message["headers"])[b"retry-after"] for message in starts} == {b"15"}
    assert b"Content-Length" in answers[1]["body"]
    asking.append(begun(client=each[-1]["client"], token="bob-token"))  # noqa: S106 - behind the same proxy
    await asyncio.sleep(0)
    assert len(inside) == limits.BATCHES_HELD // 2 + 1
    may_end.set()
    await asyncio.gather(*asking)
    await begun(**each[0])
    assert len(inside) == limits.BATCHES_HELD // 2 + 2
    assert not guard._reserved._held


@pytest.mark.parametrize(
    ("bound", "value"),
    [("CHUNK_WITHIN_S", 0.0), ("BATCH_WITHIN_S", -PIECE / limits.BATCH_BYTES_EACH_S)],
)
async def test_a_batch_whose_caller_stalls_or_trickles_is_ended(monkeypatch, bound, value):
    """It kept its reservation for as long as its caller liked."""
    monkeypatch.setattr(limits, bound, value)
    pieces, never, answers = 0, asyncio.Event(), []

    async def receive():
        nonlocal pieces
        pieces += 1
        if pieces > 1:
            await never.wait()
        return {"type": "http.request", "body": b"x" * PIECE, "more_body": True}

    async def send(message):
        answers.append(message)

    inner = Inner()
    async with asyncio.timeout(60):
        await RequestBounds(inner)(chunked(), receive, send)
    assert inner.seen == ["http.request", "http.disconnect"]
    assert answers[0]["status"] == 408
    assert dict(answers[0]["headers"])[b"connection"] == b"close"
    assert "within 0 s" in json.loads(answers[1]["body"])["detail"]


def test_only_the_time_that_a_batch_waits_for_its_caller_counts(monkeypatch):
    """Five waits of one second are too long where four seconds are allowed, however long the work takes."""
    monkeypatch.setattr(limits, "BATCH_WITHIN_S", 4.5)
    monkeypatch.setattr(limits, "BATCH_BYTES_EACH_S", 1e9)

    async def receive():
        await asyncio.sleep(1.0)
        return {"type": "http.request", "body": b"{}", "more_body": True}

    taken, sent = [], []

    async def inner(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            taken.append(1)
            await asyncio.sleep(100.0)

    async def send(message):
        sent.append(message)

    run_leaping(RequestBounds(inner)(chunked(), receive, send))
    assert (len(taken), sent[0]["status"]) == (4, 408)


async def test_a_batch_that_came_whole_is_not_hurried(monkeypatch):
    monkeypatch.setattr(limits, "CHUNK_WITHIN_S", 0.0)
    messages = [{"type": "http.request", "body": b"{}", "more_body": False}]

    async def receive():
        if not messages:
            await asyncio.sleep(0)
            return {"type": "http.disconnect"}
        return messages.pop()

    seen, answers = [], []

    async def inner(scope, receive, send):
        seen.extend([(await receive())["type"], (await receive())["type"]])

    async def send(message):
        answers.append(message)

    await RequestBounds(inner)(chunked(), receive, send)
    assert (seen, answers) == (["http.request", "http.disconnect"], [])


@pytest.mark.parametrize("said", ["0", "-1", "1e9", "32 MB", "9" * 30, "1048575"])
def test_a_size_that_cannot_be_used_is_an_error(said):
    with pytest.raises(ConfigError, match="HEADRACE_BATCH_BYTES"):
        limits.batch_bytes({"HEADRACE_BATCH_BYTES": said})
    assert limits.batch_bytes({"HEADRACE_BATCH_BYTES": " 1048576 "}) == 1 << 20
    assert limits.batch_bytes({}) == limits.BATCH_BYTES


async def test_an_answer_that_has_begun_is_not_answered_again():
    status, body, _ = await ask(Inner(reads=1), size=2 * PIECE, path="/v1/batches")
    assert (status, body) == (202, b"inner")
    early = Inner(reads=0)
    assert (await ask(early, size=100 << 20))[:2] == (202, b"inner")


async def test_what_is_left_of_refused_bodies_is_collected_together(monkeypatch):
    collected, bound = [], RequestBounds(Inner())
    monkeypatch.setattr(gc, "collect", collected.append)
    monkeypatch.setattr(bounds, "_SWEEP_AFTER_S", 0.0)
    bound._sweep_soon()
    bound._sweep_soon()
    while bound._sweep is not None:
        await asyncio.sleep(0)
    assert collected == [1]


async def test_more_requests_than_are_soon_answered_are_told_to_come_again(monkeypatch):
    monkeypatch.setattr(limits, "SHORT_REQUESTS", 2)
    may_end = asyncio.Event()

    async def inner(scope, receive, send):
        await may_end.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard, answers = RequestBounds(inner), []

    async def one(path="/v1/tasks", client="10.0.0.1"):
        async def send(message):
            if message["type"] == "http.response.start":
                answers.append((message["status"], dict(message["headers"]).get(b"retry-after")))

        await guard({"type": "http", "path": path, "headers": [], "client": (client, 5)}, None, send)

    lasting = [asyncio.create_task(one(path)) for path in UNCOUNTED]
    held = [asyncio.create_task(one(client=f"10.0.0.{n}")) for n in range(2)]
    await asyncio.sleep(0)
    await one(client="10.0.0.9")
    assert answers == [(503, b"1")]
    may_end.set()
    await asyncio.gather(*held, *lasting)
    await one()
    assert answers[1:] == [(200, None)] * (len(UNCOUNTED) + 3)


SLOW = ({"token": b"Bearer ann-token"}, {"client": "10.0.0.1"})


@pytest.mark.parametrize("same", SLOW, ids=["tenant", "address"])
async def test_one_caller_s_slow_bodies_leave_room_for_the_requests_of_others(same):
    """256 slow bodies of one tenant had everybody else's requests answered 503."""
    may_end, inside, answers = asyncio.Event(), [], []

    async def inner(scope, receive, send):
        inside.append(scope)
        await may_end.wait()

    async def send(message):
        if message["type"] == "http.response.start":
            answers.append((message["status"], dict(message["headers"])[b"retry-after"]))

    def asked(client="", token=b""):
        headers = [(b"content-length", b"100000"), *([(b"authorization", token)] if token else [])]
        return {"type": "http", "path": "/v1/tasks", "headers": headers, "client": (client, 5)}

    guard, half = RequestBounds(inner), limits.SHORT_REQUESTS // 2
    callers = [{"client": f"10.0.1.{n % 250}", **same} for n in range(limits.SHORT_REQUESTS)]
    asking = [asyncio.create_task(guard(asked(**caller), None, send)) for caller in callers]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (len(inside), answers) == (half, [(429, b"1")] * half)
    other = {"client": "10.0.0.1", "token": b"Bearer bob-token"}  # from the same address, too
    asking.append(asyncio.create_task(guard(asked(**other), None, send)))
    await asyncio.sleep(0)
    assert len(inside) == half + 1
    may_end.set()
    await asyncio.gather(*asking)
    await guard(asked(**callers[0]), None, send)
    assert len(inside) == half + 2
    assert guard._short._held == {}


async def test_what_is_no_request_passes():
    seen = []

    async def inner(scope, receive, send):
        seen.append(scope["type"])

    await RequestBounds(inner)({"type": "lifespan"}, None, None)
    assert seen == ["lifespan"]
