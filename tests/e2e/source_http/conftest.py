"""The http source asks a server whose answers the tests write."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from actors.core.messages.tasks import Task
from actors.sources.http import HttpSettings, HttpSource

DEADLINE_S = 100


class Server:
    """An HTTP server on loopback whose answers a test writes; it keeps what it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[web.BaseRequest] = []
        self.answers = {}

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request)
        made = self.answers[request.path]
        return await made(request) if callable(made) else web.json_response(made)


@pytest.fixture
async def serve():
    """Start a server, each of another origin."""
    async with AsyncExitStack() as started:

        async def start() -> Server:
            async def dispatch(request):
                return await made.answer(request)

            runner = web.ServerRunner(web.Server(dispatch))
            await runner.setup()
            started.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            made = Server(f"http://127.0.0.1:{runner.addresses[0][1]}")
            return made

        yield start


@pytest.fixture
async def server(serve):
    return await serve()


@pytest.fixture
async def other(serve):
    return await serve()


async def fetch(url: str, key: str = "k", **options):
    settings = {"allow_private": True, "timeout_s": 60, **options}
    source = HttpSource(HttpSettings(name="api", kind="http", url=url, **settings))
    try:
        return await asyncio.wait_for(source.fetch(Task(key)), DEADLINE_S)
    finally:
        await source.close()


def status(code: int, **headers: str):
    async def answer(request):
        return web.Response(status=code, headers=headers)

    return answer


def redirect(to: str, code: int = 302):
    return status(code, Location=to)
