"""A run whose configuration is wrong ends within seconds, with cause and remedy, and can be resumed."""

from __future__ import annotations

import json
import socket

import pytest
from aiohttp import web

TASKS = 20
WITHIN_S = 20.0
KEY = "sk-canary-31aa07"
FLAGS = "llm.endpoints.main is the endpoint of -m, --base-url and --api-key-env"


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


def check_stopped(run, *said, how_to_continue="continue with: python driver.py resume wrong"):
    """Check that a run ended in time, with these texts."""
    assert run.code == 1, run.stderr
    assert run.took_s < WITHIN_S
    for text in (*said, how_to_continue):
        assert text in run.stderr
    assert KEY not in run.stderr + run.stdout


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
        ({"rejected": "messages"}, "HTTP 400: Unsupported parameter: 'messages'", "of llm.endpoints.own"),
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
    assert served.requests <= 6  # the calls of the first task, and a canary a second
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


async def test_a_parameter_of_one_step_that_is_rejected_stops_the_run_though_the_other_step_is_answered(
    driver, served
):
    output = {"quality": {"type": "number"}, "note": {"type": "string"}}
    steps = [
        {"name": "first", "prompt": "Rate {text}", "output": output},
        {"name": "second", "prompt": "Check {first.note}", "output": output, "params": {"temperature": 0}},
    ]
    config = of(driver, served.url, evaluate=steps)
    served.rejected = "temperature"

    run = await driver.run(config, "--run-id=wrong", "--json")

    check_stopped(
        run,
        "evaluate:second: endpoint own",
        "Unsupported parameter: 'temperature'",
        "remove temperature from params",
    )
    assert run.summary()["tasks"]["failed"] == 0
    served.rejected = ""
    await check_resumes(driver, served)


# ---- map -------------------------------------------------------------------------------------------------


async def mapped(driver, url, *, key=KEY, model="m", prompt="Rate {text}"):
    table = driver.directory / "rows.csv"
    table.write_text("text\n" + "".join(f"row {n}\n" for n in range(TASKS)))
    columns = ("-c", "quality: 0..1", "-c", "note")
    where = ("-m", model, "--base-url", url, "-o", "out.csv", "--engine=local")
    return await driver("map", table.name, prompt, *columns, *where, env={"HEADRACE_API_KEY": key})


async def test_a_wrong_key_stops_map_and_the_same_command_goes_on(driver, served):
    stopped = await mapped(driver, served.url, key="sk-wrong")

    said = ("HTTP 401", "check api_key", FLAGS)
    check_stopped(stopped, *said, how_to_continue="the same command again continues")
    assert not (driver.directory / "out.csv").exists()

    again = await mapped(driver, served.url)
    assert again.code == 0, again.stderr
    assert len((driver.directory / "out.csv").read_text().splitlines()) == TASKS + 1


async def test_map_ends_for_an_unreachable_endpoint_and_for_a_wrong_placeholder(driver, served):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        away = await mapped(driver, f"http://127.0.0.1:{unused.getsockname()[1]}/v1")
    check_stopped(
        away, "cannot be reached", "check base_url", FLAGS, how_to_continue="the same job again continues"
    )

    wrong = await mapped(driver, served.url, prompt="Rate {txt}")
    assert wrong.code == 2
    assert "{txt} names nothing" in wrong.stderr
    assert "did you mean text?" in wrong.stderr
    assert served.requests == 0
