"""Whole runs in a world that fails: sources that are dead, an endpoint that refuses, breaks and mumbles."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from simulators.ledger import read_ledger
from tests.e2e.support.simulated_endpoint import plain_tokens

WIRE = {"name": "wire", "kind": "simulated", "items": 2, "latency_s": 0.01}
DEAD = {"name": "dead", "kind": "simulated", "failure_rate": 1.0, "retries": 1, "outage_s": 0}

# ---- sources ---------------------------------------------------------------------------------------------


async def test_a_dead_source_makes_every_task_partial_and_is_named_with_its_cause(driver):
    config = driver.config(sources=[WIRE, DEAD])
    run = await driver("run", str(config), "--run-id=gap")
    assert run.code == 3, run.stderr
    results = driver.results("gap")
    assert len(results) == 5
    for line in results.values():
        assert line["state"] == "partial"
        assert line["overall"] is not None  # what the other source gave is reported on
        assert line["sources"]["wire"] == {"items": 2, "error": None}
        assert line["sources"]["dead"]["items"] == 0
        assert "simulated failure" in line["sources"]["dead"]["error"]
        (error,) = line["errors"]
        assert error.startswith("source dead failed after 2 tries: transient: dead: simulated failure")
    shown = " ".join(run.stdout.split())
    assert "5 partial" in shown
    assert "source dead failed after" in shown
    assert "simulated failure" in shown


@pytest.mark.parametrize(
    ("sources", "cause"),
    [
        ([WIRE, {**DEAD, "required": True}], "required source dead failed"),
        ([DEAD, {**DEAD, "name": "gone"}], "no data: all sources failed"),
    ],
    ids=["one_that_is_required", "all_of_them"],
)
async def test_without_the_sources_it_needs_a_task_fails_and_nothing_is_paid_for(driver, sources, cause):
    config = driver.config(sources=sources)
    run = await driver("run", str(config), "--run-id=dead", "--json")
    assert run.code == 1, run.stderr
    summary = run.summary()
    assert summary["state"] == "failed"
    assert summary["tasks"]["failed"] == 5
    assert set(summary["calls"].values()) == {0}
    for line in driver.results("dead").values():
        assert line["state"] == "failed"
        assert line["overall"] is None
        assert line["errors"][0].startswith(cause)
    assert read_ledger(driver.directory / "ledger.jsonl").entries == ()


# ---- an endpoint that fails in ways that pass ------------------------------------------------------------

FAULTS = [
    {"kind": "status", "status": 429, "rate": 0.06, "retry_after": "1"},
    {"kind": "status", "status": 429, "rate": 0.04, "retry_after": "http-date:2"},
    {"kind": "status", "status": 500, "rate": 0.10},
    {"kind": "hang", "rate": 0.04},
    {"kind": "late", "rate": 0.03, "seconds": 12},
    {"kind": "reset_after", "rate": 0.03},
    {"kind": "prose", "rate": 0.05},
    {"kind": "wrong_schema", "rate": 0.05},
]
UNUSABLE = {"prose", "wrong_schema"}


async def test_with_four_of_ten_requests_failing_every_task_succeeds_and_the_books_agree(driver):
    faults, ledger = driver.directory / "faults.json", driver.directory / "ledger.jsonl"
    faults.write_text(json.dumps(FAULTS))
    config = driver.config(
        tasks={"kind": "range", "count": 20},
        llm={
            "simulator": {"seed": 3, "latency_s": 0.05, "faults": str(faults), "ledger": str(ledger)},
            "timeout_s": 4.0,  # far more than a sound answer takes to get through
            "retry": {"attempts": 10, "base_s": 0.1, "cap_s": 2.0},
        },
    )
    # Luck follows from the seed and the calls' keys, and those from the run's id: every run meets the same.
    run = await driver("run", str(config), "--run-id=luckless", "--json")
    assert run.code == 0, run.stderr
    summary = run.summary()
    assert summary["tasks"]["succeeded"] == 20

    entries = read_ledger(ledger).entries
    sums = read_ledger(ledger).sums()
    calls = summary["calls"]
    assert calls["planned"] == 20 * 3
    assert calls["billed"] == sums.billed
    assert summary["tokens"] == plain_tokens(sums.input_tokens, sums.output_tokens)
    assert calls["refused"] == sums.by_status[429]
    assert calls["in_doubt"] == sums.by_status[0]  # no answer got through, whatever was done for it
    assert calls["unusable"] == sum(entry.status == 200 and entry.fault in UNUSABLE for entry in entries)
    assert calls["billed"] == calls["planned"] + calls["unusable"]  # none was paid for twice
    assert sums.retry_after_violations == 0
    # The above says something only where there was something to count.
    assert min(calls["refused"], calls["in_doubt"], calls["unusable"], sums.by_status[500]) > 2


# ---- an endpoint that fails for good, and one that needs to be told --------------------------------------

SECRETS = {"MODEL_KEY": "sk-canary-77aa01b3", "API_TOKEN": "token-canary-4411c0de"}
MUMBLED = "I would say it is rather good."


class TellingServer:
    """A model that answers by what it is asked about, and a source; both repeat secrets in their errors."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: dict[str, list[tuple[str, list[dict[str, str]]]]] = {}

    async def answer(self, request: web.Request) -> web.Response:
        messages = (await request.json())["messages"]
        found = re.search(r"about (\S+):", messages[0]["content"])
        assert found is not None
        key = found[1]
        self.asked.setdefault(key, []).append((request.headers["Idempotency-Key"], messages))
        if key.startswith("status-"):
            said = f"not for {request.headers['Authorization']}"
            return web.json_response({"error": {"message": said}}, status=int(key.removeprefix("status-")))
        content = '{"quality": 0.5, "note": "fair"}'
        if key == "mumbles" and len(messages) == 1:
            content = MUMBLED
        choices = [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]
        return web.json_response(
            {"choices": choices, "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}
        )

    async def refuse(self, request: web.Request) -> web.Response:
        return web.Response(status=403, text=f"{request.headers['Authorization']} may not read this")


@pytest.fixture
async def server() -> AsyncIterator[TellingServer]:
    made = TellingServer()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", made.answer)
    app.router.add_get("/items/{key}", made.refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


LOUD = """
print("a library says on stdout that it was imported")

class Source:
    def fetch(self, task):
        print("and that it was asked about", task.key)
        return []
"""


def telling_config(driver: Any, server: TellingServer) -> Any:
    (driver.directory / "loud.py").write_text(LOUD)
    return driver.config(
        tasks={"kind": "inline", "tasks": ["fine", "mumbles", "status-400", "status-413", "status-422"]},
        sources=[
            {**WIRE, "items": 1},
            {
                "name": "api",
                "kind": "http",
                "url": f"{server.url}/items/{{key}}",
                "headers": {"Authorization": "Bearer ${API_TOKEN}"},
                "allow_private": True,
            },
            {"name": "loud", "kind": "python", "target": "loud:Source"},
        ],
        llm={
            "endpoints": [
                {"name": "teller", "base_url": f"{server.url}/v1", "model": "m", "api_key": "${MODEL_KEY}"}
            ]
        },
        dimensions=[{"name": "quality", "field": "quality"}],
    )


async def test_what_cannot_pass_is_not_retried_what_does_not_fit_is_asked_again_and_secrets_stay_secret(
    driver, server
):
    env = {**SECRETS, "PYTHONPATH": str(driver.directory)}
    run = await driver.run(telling_config(driver, server), "--run-id=told", "--json", env=env)
    assert run.code == 3, run.stderr
    summary = run.summary()  # one document: what sources print went elsewhere
    assert "a library says on stdout" in run.stderr
    requests = {key: len(asked) for key, asked in server.asked.items()}
    assert requests == {"fine": 1, "mumbles": 2, "status-400": 1, "status-413": 1, "status-422": 1}

    # The second question shows the model its answer, and what was wrong with it, under a key of its own:
    # an endpoint that honours keys would repeat the answer otherwise.
    (first_key, first), (second_key, second) = server.asked["mumbles"]
    assert second_key != first_key
    assert second[0] == first[0]
    assert second[1] == {"role": "assistant", "content": MUMBLED}
    assert "did not fit" in second[2]["content"]

    assert summary["calls"] == {
        "planned": 5,
        "billed": 3,
        "reused": 0,
        "in_doubt": 0,
        "unusable": 1,
        "refused": 0,
        "estimated": 0,
        "failed": 3,
    }
    assert summary["tokens"] == plain_tokens(3 * 7, 3 * 3)
    assert summary["sources"]["api"] == {"fetched": 0, "failed": 5}

    results = driver.results("told")
    assert Counter(line["state"] for line in results.values()) == {"partial": 2, "failed": 3}
    for status in ("400", "413", "422"):
        errors = results[f"status-{status}"]["errors"]
        assert any(f"permanent: HTTP {status}" in error for error in errors)
    assert "answered 403" in results["fine"]["sources"]["api"]["error"]

    written = driver.files()
    assert written
    for secret in SECRETS.values():
        assert secret not in run.stdout + run.stderr
        assert not [path for path, content in written.items() if secret.encode() in content]
