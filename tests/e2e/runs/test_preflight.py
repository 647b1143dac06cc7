"""What an endpoint is seen to be before a batch: over real connections on loopback."""

from __future__ import annotations

import socket

import pytest
from aiohttp import web

from actors.llm.endpoint import EndpointSettings
from cluster.checks import preflight
from cluster.checks.preflight import PreflightError

KEY = "sk-canary-5500aa"


@pytest.fixture
async def serve():
    """Return a function that serves a list of models with that status, and returns its URL."""
    runners = []

    async def begin(status):
        async def models(request):
            assert request.headers["Authorization"] == f"Bearer {KEY}"
            return web.json_response({"data": []}, status=status)

        application = web.Application()
        application.router.add_get("/v1/models", models)
        runner = web.AppRunner(application)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/v1"

    yield begin
    for runner in runners:
        await runner.cleanup()


def endpoint(url):
    return EndpointSettings.model_validate(
        {"name": "main", "base_url": url, "model": "m", "api_key": KEY, "price": {}}
    )


async def test_a_key_that_is_refused_is_told_with_the_remedy_and_not_shown(serve):
    with pytest.raises(PreflightError, match=r"main refuses the key \(status 401\); set api_key") as caught:
        await preflight.preflight([endpoint(await serve(401))], pytest.fail)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("status", [200, 302, 403, 404, 429, 503])
async def test_any_other_answer_begins_the_run(serve, status):
    await preflight.preflight([endpoint(await serve(status))], pytest.fail)


async def test_no_connection_ends_the_start_with_its_cause(serve):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, and not listening: connections are refused
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        plain = (await serve(200)).replace("http:", "https:")
        for url, cause in (
            (closed, "Connect call failed"),
            ("http://no-such-host.invalid/v1", "no-such-host.invalid"),
            (plain, "SSL"),
        ):
            with pytest.raises(PreflightError, match=cause) as caught:
                await preflight.preflight([endpoint(url)], pytest.fail, within_s=0.1)
            assert "check base_url" in str(caught.value)


async def test_an_endpoint_that_says_nothing_is_not_taken_for_one_that_is_away(monkeypatch):
    monkeypatch.setattr(preflight, "_ANSWER_WITHIN_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        await preflight.preflight([endpoint(url)], pytest.fail)
