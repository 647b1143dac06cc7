"""The receipt of a run equals a calculation by hand, by endpoint, model and step, to the last digit."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack

from aiohttp import web

ROWS = 10
RATES = {"input_usd_per_mtok": 2, "output_usd_per_mtok": 8, "cached_input_usd_per_mtok": 0.2}
PRICE = RATES | {"cache_write_usd_per_mtok": 2.5, "reasoning_usd_per_mtok": 10}
TIER = {"above_input_tokens": 1_000, "input_usd_per_mtok": 4, "output_usd_per_mtok": 16}
OUTPUT = {"note": {"type": "string"}}


def usage_of(model: str, question: str) -> dict[str, object]:
    """Return the usage of an answer. The input of `large` is above the bound of its tier for odd rows."""
    if model == "small":
        read = {"cached_tokens": 400, "cache_write_tokens": 100}
        written = {"reasoning_tokens": 40}
        return {"prompt_tokens": 800, "prompt_tokens_details": read, "completion_tokens": 50,
                "completion_tokens_details": written}  # fmt: skip
    is_odd = question.rstrip()[-1] in "13579"
    return {"prompt_tokens": 1_001 if is_odd else 1_000, "completion_tokens": 10}


async def answer(request: web.Request) -> web.Response:
    body = await request.json()
    question = body["messages"][-1]["content"].partition("\n\nRow ")[2]
    message = {"role": "assistant", "content": json.dumps({"note": "n"})}
    usage = usage_of(body["model"], question)
    return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})


async def test_the_receipt_equals_a_calculation_by_hand(driver):
    steps = [
        {"name": "draft", "prompt": "Row {key}", "output": OUTPUT, "endpoint": "fast"},
        {"name": "verdict", "prompt": "Row {key}", "output": OUTPUT, "endpoint": "strong"},
    ]
    async with AsyncExitStack() as running:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        running.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        config = driver.config(
            tasks={"kind": "range", "count": ROWS},
            sources=[],
            llm={
                "endpoints": [
                    {"name": "fast", "base_url": url, "model": "small", "price": PRICE},
                    {"name": "strong", "base_url": url, "model": "large", "price": RATES | {"tiers": [TIER]}},
                ]
            },
            evaluate=steps,
            dimensions=[],
        )
        run = await driver.run(config, "--run-id=paid", "--json")
        assert run.code == 0, run.stderr
        status = await driver("status", "paid", "--json")

    summary = run.summary()
    small = 300 * 2 + 400 * 0.2 + 100 * 2.5 + 10 * 8 + 40 * 10  # microdollars of an answer
    even, odd = 1_000 * 2 + 10 * 8, 1_001 * 4 + 10 * 16
    assert summary["receipt"] == [
        {
            "endpoint": "strong",
            "model": "large",
            "step": "verdict",
            "calls": ROWS,
            "tokens": {"input": 10_005, "output": 100, "cached": 0, "cache_write": 0, "reasoning": 0},
            "cost_usd": round(5 * (even + odd) / 1e6, 9),
        },
        {
            "endpoint": "fast",
            "model": "small",
            "step": "draft",
            "calls": ROWS,
            "tokens": {
                "input": 8_000, "output": 500, "cached": 4_000, "cache_write": 1_000, "reasoning": 400
            },
            "cost_usd": round(10 * small / 1e6, 9),
        },
    ]  # fmt: skip
    assert summary["cost_usd"] == round((10 * small + 5 * (even + odd)) / 1e6, 9)
    assert json.loads(status.stdout)["receipt"] == summary["receipt"]
