"""Steps with endpoints, system texts and parameters of their own, over real connections."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack

from aiohttp import web

TASKS = 30


class Recorder:
    """An endpoint that answers every request, and keeps the bodies."""

    def __init__(self):
        self.url = ""
        self.bodies = []

    async def chat(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        choice = {"message": {"role": "assistant", "content": json.dumps({"note": "n"})}}
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        return web.json_response({"choices": [{**choice, "finish_reason": "stop"}], "usage": usage})

    async def begin(self, running: AsyncExitStack) -> Recorder:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self.chat)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        running.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        return self


async def test_the_calls_of_a_step_go_to_its_endpoint_with_its_system_text_and_parameters(driver):
    output = {"note": {"type": "string"}}
    own = {"endpoint": "strong", "system": "Be strict.", "params": {"temperature": 0.5, "seed": 7}}
    steps = [
        {"name": "draft", "prompt": "Draft {key}", "output": output, "endpoint": "fast"},
        {"name": "verdict", "prompt": "Judge {draft.note}", "output": output, **own},
    ]
    async with AsyncExitStack() as running:
        fast, strong = await Recorder().begin(running), await Recorder().begin(running)
        endpoints = [
            {"name": name, "base_url": one.url, "model": name}
            for name, one in (("fast", fast), ("strong", strong))
        ]
        config = driver.config(
            tasks={"kind": "range", "count": TASKS},
            sources=[],
            llm={"endpoints": endpoints},
            evaluate=steps,
            dimensions=[],
        )
        run = await driver.run(config, "--run-id=routed", "--json")

    assert run.code == 0, run.stderr
    assert run.summary()["tasks"]["succeeded"] == TASKS
    assert {body["model"] for body in fast.bodies} == {"fast"}
    assert all("\n\nDraft" in body["messages"][0]["content"] for body in fast.bodies)
    assert not any({"temperature", "seed"} & body.keys() for body in fast.bodies)
    for body in strong.bodies:
        assert (body["model"], body["temperature"], body["seed"]) == ("strong", 0.5, 7)
        assert body["messages"][0]["role"] == "system"
        assert body["messages"][0]["content"].startswith("Be strict.\n\nAnswer with a JSON object")
        assert body["messages"][1]["content"].startswith("Judge")
    assert len(fast.bodies) == TASKS
    assert 1 <= len(strong.bodies) <= TASKS
