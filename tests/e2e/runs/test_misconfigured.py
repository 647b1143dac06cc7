"""A run whose configuration is wrong ends within seconds, with cause and remedy, and can be resumed."""

from __future__ import annotations

import json
import socket

import pytest
from aiohttp import web

TASKS = 20
WITHIN_S = 20.0
KEY = "sk-canary-31aa07"


class Endpoint:
    """An endpoint that rejects requests as the best-known ones do, until it is corrected."""

    def __init__(self):
        self.url = ""
        self.requests = 0
        self.keys = {KEY}
        self.models = {"m"}
        self.rejected = ""  # a parameter that no request may have

    async def list_models(self, _: web.Request) -> web.Response:
        """Answer whatever the key is, as some gateways do."""
        return web.json_response({"data": [{"id": model} for model in sorted(self.models)]})

    async def chat(self, request: web.Request) -> web.Response:
        self.requests += 1
        body = await request.json()
        if request.headers["Authorization"].removeprefix("Bearer ") not in self.keys:
            return self.error(401, "invalid_api_key", "Incorrect API key provided")
        if body["model"] not in self.models:
            return self.error(404, "model_not_found", f"The model `{body['model']}` does not exist")
        if self.rejected in body:
            text = f"Unsupported parameter: '{self.rejected}' is not supported with this model."
            return self.error(400, "unsupported_parameter", text)
        content = json.dumps({"quality": 0.5, "note": "n"})
        choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        return web.json_response({"choices": [choice], "usage": usage})

    @staticmethod
    def error(status: int, code: str, text: str) -> web.Response:
        error = {"message": text, "type": "invalid_request_error", "code": code}
        return web.json_response({"error": error}, status=status)


@pytest.fixture
async def served():
    endpoint = Endpoint()
    application = web.Application()
    application.router.add_get("/v1/models", endpoint.list_models)
    application.router.add_post("/v1/chat/completions", endpoint.chat)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield endpoint
    await runner.cleanup()


def of(driver, url, *, key=KEY, model="m", **sections):
    endpoint = {"name": "own", "base_url": url, "model": model, "api_key": key}
    tasks = {"kind": "range", "count": TASKS}
    return driver.config(tasks=tasks, llm={"endpoints": [endpoint]}, dimensions=[], **sections)


def check_stopped(run, *said):
    """Check that a run ended in time, with these texts, and that no task has ended."""
    assert run.code == 1, run.stderr
    assert run.took_s < WITHIN_S
    for text in said:
        assert text in run.stderr
    assert KEY not in run.stderr + run.stdout
    assert "continue with: python driver.py resume wrong" in run.stderr


async def check_resumes(driver, served):
    """Check that `resume` makes every task of the run."""
    resumed = await driver("resume", "wrong", "--json")
    assert resumed.code == 0, resumed.stderr
    assert resumed.summary()["tasks"]["succeeded"] == TASKS
    assert len(driver.results("wrong")) == TASKS
    assert served.requests


@pytest.mark.parametrize(
    ("wrong", "status", "remedy"),
    [
        ({"keys": set()}, "HTTP 401", "check api_key of llm.endpoints.own"),
        ({"models": {"other"}}, "HTTP 404", "check base_url and model of llm.endpoints.own"),
        ({"rejected": "max_tokens"}, "HTTP 400: Unsupported parameter: 'max_tokens'", "of evaluate"),
    ],
    ids=["key", "model", "parameter"],
)
async def test_a_rejected_request_stops_the_run_and_resume_goes_on_after_the_correction(
    driver, served, wrong, status, remedy
):
    config = of(driver, served.url)
    right = {name: getattr(served, name) for name in wrong}
    vars(served).update(wrong)

    run = await driver.run(config, "--run-id=wrong", "--json")

    check_stopped(run, "endpoint own, POST /v1/chat/completions", status, remedy)
    summary = run.summary()
    assert summary["state"] == "failed"
    assert not any(summary["tasks"][state] for state in ("succeeded", "partial", "failed"))
    assert summary["calls"]["billed"] == 0
    assert served.requests <= 6  # the first task's two calls, and a canary a second
    vars(served).update(right)
    await check_resumes(driver, served)


async def test_an_unreachable_endpoint_ends_the_run_and_says_before_that_what_it_waits_for(driver, served):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, and not listening: connections are refused
        config = of(driver, f"http://127.0.0.1:{unused.getsockname()[1]}/v1")
        run = await driver.run(config, "--run-id=wrong", "--json")

    check_stopped(run, "endpoint own cannot be reached", "check base_url")
    assert "Trying again for up to 5 s" in run.stderr
    assert run.stderr.index("Trying again") < run.stderr.index("no task was started")


async def test_a_placeholder_that_names_nothing_ends_the_run_before_a_call(driver, served):
    evaluate = {"prompt": "Rate {txt}", "output": {"quality": {"type": "number"}}}
    run = await driver.run(of(driver, served.url, evaluate=evaluate), "--run-id=wrong", "--json")

    assert run.code == 2
    assert run.took_s < WITHIN_S
    assert "evaluate.prompt: line 1, column 6 of the prompt: {txt} names nothing" in run.stderr
    assert "did you mean text?" in run.stderr
    assert served.requests == 0

    right = {**evaluate, "prompt": "Rate {text}"}
    run = await driver.run(of(driver, served.url, evaluate=right), "--run-id=wrong", "--json")
    assert run.code == 0, run.stderr  # nothing was begun, so that the id is free
