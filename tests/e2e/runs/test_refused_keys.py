"""A key that is revoked in the middle of a run: the run stops, and no task ends for it."""

from __future__ import annotations

import time

import aiohttp
import pytest
from aiohttp import web

from simulators.process import SimulatorProcess

TASKS = 12
pytestmark = pytest.mark.timeout(200)


class Gate:
    """An endpoint before the simulator's, which refuses the key after so many calls, until it is mended."""

    def __init__(self, behind: str, calls: int) -> None:
        self.behind = behind
        self.left = calls
        self.refused_at: float | None = None

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": []}, status=403)  # a key that may make calls, and nothing else

    async def chat(self, request: web.Request) -> web.Response:
        if self.left <= 0:
            self.refused_at = self.refused_at or time.monotonic()
            error = {"error": {"message": "this key was revoked", "type": "invalid_request_error"}}
            return web.json_response(error, status=401)
        self.left -= 1
        names = ("Content-Type", "Idempotency-Key")
        headers = {name: request.headers[name] for name in names if name in request.headers}
        async with aiohttp.ClientSession() as session:
            url = f"{self.behind}/chat/completions"
            async with session.post(url, data=await request.read(), headers=headers) as answer:
                body = await answer.read()
                return web.Response(status=answer.status, body=body, content_type=answer.content_type)


async def test_a_revoked_key_stops_the_run_within_20_s_and_resume_goes_on_after_the_mend(driver):
    with SimulatorProcess("llm", ["--latency-s=0.02"]) as simulator:
        gate = Gate(simulator.url, calls=TASKS)  # a third of all
        application = web.Application()
        application.router.add_get("/v1/models", gate.models)
        application.router.add_post("/v1/chat/completions", gate.chat)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        endpoint = {"name": "gate", "base_url": url, "model": "m", "api_key": "sk-canary-77aa01"}
        config = driver.config(
            tasks={"kind": "range", "count": TASKS}, llm={"endpoints": [endpoint], "clients": 1}
        )
        run = await driver("run", str(config), "--json", "--run-id=revoked")
        ended = time.monotonic()
        assert run.code == 1, run.stderr
        assert ended - gate.refused_at < 30.0
        summary = run.summary()
        assert summary["state"] == "failed"
        assert "gate" in summary["stopped_by"]
        assert "401" in summary["stopped_by"]
        assert (summary["tasks"]["failed"], summary["tasks"]["partial"]) == (0, 0)
        assert summary["tasks"]["open"] == TASKS - summary["tasks"]["succeeded"] > 0
        assert "no call can be answered" in run.stderr
        assert "continue with: python driver.py resume revoked" in run.stderr
        assert "sk-canary-77aa01" not in run.stderr + run.stdout

        gate.left = 10_000
        resumed = await driver("resume", "revoked", "--json")
        assert resumed.code == 0, resumed.stderr
        assert resumed.summary()["tasks"]["succeeded"] == TASKS
        assert len(driver.results("revoked")) == TASKS
        await runner.cleanup()
