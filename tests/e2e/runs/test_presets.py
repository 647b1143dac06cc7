"""A model that refuses what GPT-5 refuses: a preset knows it, and an unknown name is learned."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

REFUSED = ("max_tokens", "temperature", "stop")
KEY = "sk-canary-5511bc"
RULES = (
    "Classify: {text}",
    "-c",
    "mood: good | bad",
    "--yes",
    "--json",
    "-o",
    "out.csv",
    "--system",
    "Be brief.",
)


class ReasoningModel:
    """An endpoint that refuses the parameters that GPT-5 and the o-series refuse."""

    def __init__(self):
        self.url = ""
        self.answered = []
        self.refused = []

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        for name in REFUSED:
            if name in body:
                self.refused.append(name)
                text = f"Unsupported parameter: '{name}' is not supported with this model."
                error = {"message": text, "param": name, "code": "unsupported_parameter"}
                return web.json_response({"error": error}, status=400)
        self.answered.append(body)
        choice = {"message": {"content": json.dumps({"mood": "good"})}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        return web.json_response({"choices": [choice], "usage": usage})


@pytest.fixture
async def served(driver):
    (driver.directory / "rows.csv").write_text(
        "text\n" + "".join(f"Review {number}\n" for number in range(8))
    )
    model = ReasoningModel()
    application = web.Application()
    application.router.add_post("/v1/chat/completions", model.chat)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    model.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield model
    await runner.cleanup()


async def test_the_preset_knows_the_model(driver, served):
    env = {"OPENAI_BASE_URL": served.url, "OPENAI_API_KEY": KEY}
    run = await driver("map", "rows.csv", *RULES, "-m", "openai:gpt-5-mini", env=env)

    assert run.code == 0, run.stderr
    assert (len(served.answered), served.refused) == (8, [])
    body = served.answered[0]
    assert (body["model"], body["messages"][0]["role"], body["max_completion_tokens"]) == (
        *("gpt-5-mini", "developer"),
        4000,
    )
    assert "endpoint main, model gpt-5-mini: preset openai of 2026-" in run.stderr
    assert "POST ${OPENAI_BASE_URL}/chat/completions, key ${OPENAI_API_KEY}, max_tokens_as" in run.stderr
    assert KEY not in run.stderr + run.stdout


async def test_an_unknown_model_is_learned_and_the_key_to_set_is_named(driver, served):
    run = await driver("map", "rows.csv", *RULES, "-m", "own-model", "--base-url", served.url)

    assert run.code == 0, run.stderr
    assert len(served.answered) == 8
    assert 1 <= len(served.refused) <= 2  # once for each client
    assert "set llm.endpoints.main.max_tokens_as: max_completion_tokens" in run.stderr
    assert run.summary()["calls"]["billed"] == 8


async def test_a_parameter_that_the_user_set_ends_the_run_with_what_to_remove(driver, served):
    set_stop = ("--set", 'llm.endpoints.0.params={"stop": ["x"]}')
    known = await driver(
        "map", "rows.csv", *RULES, "-m", "openai:gpt-5-mini", *set_stop, env={"OPENAI_API_KEY": KEY}
    )
    unknown = await driver("map", "rows.csv", *RULES, "-m", "own-model", "--base-url", served.url, *set_stop)

    assert known.code == 2
    assert "the model gpt-5-mini of endpoint main does not accept 'stop': remove it" in known.stderr
    assert unknown.code == 1
    assert "(remove stop from params of evaluate, or from params of llm.endpoints.main)" in unknown.stderr
    assert served.answered == []
