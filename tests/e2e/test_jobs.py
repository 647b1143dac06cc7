"""Runs as jobs of a cluster that asks for a token: one head for all tests here, started as `make cluster` does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

W1 = Path(__file__).resolve().parents[2] / "configs" / "w1.yaml"
WITHIN_S = 60.0
KEY = "sk-canary-of-the-cluster-77aa01"


@pytest.fixture
async def api(head):
    """Ask the dashboard as a browser's user with the token would."""
    token = Path(head.token_path).read_text()
    session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"})

    async def ask(path: str, method: str = "GET") -> Any:
        async with session.request(method, f"{head.dashboard}{path}") as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    yield ask
    await session.close()


async def until(look: Callable[[], Any], condition: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(WITHIN_S):
        while not condition(state := await look()):
            await asyncio.sleep(0.1)
    return state


def arguments(endpoint, *more: str) -> list[str]:
    settings = {"name": "books", "base_url": "${LLM_URL:-" + endpoint.process.url + "}", "model": "sim"}
    settings |= {"api_key": "${CLUSTERS_KEY}"}
    return ["w1.yaml", "--set", f"llm.endpoints=[{json.dumps(settings)}]", *more]


@pytest.fixture
def w1(driver):
    (driver.directory / "w1.yaml").write_text(
        W1.read_text().replace("  simulator: {latency_s", "  # {latency_s")
    )


async def test_a_run_as_a_job_comes_to_what_the_endpoint_has_in_its_books_and_is_not_done_twice(
    driver, w1, head, api, start_llm
):
    endpoint = start_llm()
    asked = arguments(endpoint, "--limit=10", "--wait", "--json")
    first = await driver("submit", *asked, env=head.env())
    assert first.code == 0, first.stderr
    summary = first.summary()
    stats = await endpoint.stats()
    assert summary["tasks"]["succeeded"] == 10
    assert summary["calls"]["billed"] == stats["billed"] == stats["distinct_keys"] == 10 * 24
    assert summary["tokens"] == {"input": stats["input_tokens"], "output": stats["output_tokens"]}
    # What it leaves lies where it was submitted, not in a directory that goes with the cluster.
    assert len(driver.results(summary["run_id"])) == 10
    assert (driver.directory / ".headrace" / "state.db").exists()

    again = await driver("submit", *asked, env=head.env())
    assert again.code == 0, again.stderr
    assert "has succeeded already" in again.stderr
    assert again.summary() == summary
    assert (await endpoint.stats())["requests"] == stats["requests"]
    jobs = [job for job in await api("/api/jobs/") if summary["run_id"] in str(job["submission_id"])]
    assert len(jobs) == 1

    # The key came from the cluster's environment, and is nowhere where jobs are shown.
    assert "CLUSTERS_KEY" in first.stderr
    assert KEY not in json.dumps(jobs) + first.stderr + first.stdout
    logs = Path(head.session, "session_latest", "logs").rglob("*")
    assert not [path for path in logs if path.is_file() and KEY.encode() in path.read_bytes()]


async def test_a_job_that_is_stopped_keeps_its_state_and_goes_on_when_it_is_submitted_again(
    driver, w1, head, api, start_llm
):
    endpoint = start_llm("--latency-s", "0.3")
    asked = arguments(endpoint, "--limit=60", "--run-id=halves", "--json")
    begun = await driver("submit", *asked, env=head.env())
    assert begun.summary() == {"run_id": "halves", "job": "halves", "state": "PENDING", "submitted": True}
    joined = await driver("submit", *asked, env=head.env())
    assert joined.summary()["submitted"] is False
    await until(endpoint.stats, lambda stats: stats["billed"] >= 200)

    stopping = time.monotonic()
    await api("/api/jobs/halves/stop", "POST")
    job = await until(lambda: api("/api/jobs/halves"), lambda job: job["end_time"])
    assert job["status"] == "STOPPED"
    assert time.monotonic() - stopping < 15
    log = (await api("/api/jobs/halves/logs"))["logs"]
    assert "what was done is kept" in log
    told = next(json.loads(line) for line in log.splitlines() if line.startswith('{"run_id"'))
    before = await until(endpoint.stats, lambda stats: stats["in_flight"] == 0)
    assert told["state"] == "cancelled"
    assert told["calls"]["billed"] <= before["billed"] <= told["calls"]["billed"] + told["calls"]["in_doubt"]

    rest = await driver("submit", *asked, "--wait", env=head.env())
    assert rest.code == 0, rest.stderr
    assert "as job halves~2" in rest.stderr
    assert rest.summary()["tasks"]["succeeded"] == 60
    stats = await endpoint.stats()
    assert stats["distinct_keys"] == 60 * 24
    # Only what was missing was asked for, and what nobody knew the fate of.
    assert stats["requests"] - before["requests"] <= 60 * 24 - before["billed"] + told["calls"]["in_doubt"]
    assert len(driver.results("halves")) == 60


async def test_without_the_token_nothing_is_submitted(driver, w1, head, api, start_llm):
    endpoint = start_llm()
    before = len(await api("/api/jobs/"))
    wrong = driver.directory / "wrong"
    wrong.write_text("0" * 64)
    for env in (
        {"RAY_API_SERVER_ADDRESS": head.dashboard, "RAY_AUTH_MODE": "disabled"},
        {**head.env(), "RAY_AUTH_TOKEN_PATH": str(wrong)},
    ):
        refused = await driver("submit", *arguments(endpoint), env=env)
        assert refused.code == 4, refused.stderr
        assert "wants its token" in refused.stderr
        assert "RAY_AUTH_TOKEN" in refused.stderr
    nowhere = await driver("submit", *arguments(endpoint), env={})
    assert nowhere.code == 4
    assert "make cluster" in nowhere.stderr
    assert len(await api("/api/jobs/")) == before
    assert (await endpoint.stats())["requests"] == 0


async def test_a_jobs_exit_code_is_its_drivers(driver, head):
    dead = {"name": "dead", "kind": "simulated", "failure_rate": 1.0, "retries": 0, "latency_s": 0.01}
    wire = {"name": "wire", "kind": "simulated", "items": 2, "latency_s": 0.01}
    config = driver.config(sources=[wire, dead])
    run = await driver("submit", str(config), "--run-id=gap", "--wait", "--json", env=head.env())
    assert run.code == 3, run.stderr
    assert run.summary()["tasks"]["partial"] == 5
    with contextlib.suppress(FileNotFoundError):
        (driver.directory / "ledger.jsonl").unlink()
