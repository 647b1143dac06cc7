"""Runs as jobs of a cluster that asks for a token, started as `make cluster` does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import CLUSTERS_KEY
from tests.e2e.support.simulated_endpoint import plain_tokens

W1 = Path(__file__).resolve().parents[3] / "configs" / "w1.yaml"
WITHIN_S = 240.0
TASKS, CALLS_A_TASK = 40, 10
KEY = CLUSTERS_KEY


@pytest.fixture(scope="session")
def token(head) -> str:
    return Path(head.token_path).read_text()


@pytest.fixture
async def api(head, token):
    """Ask the dashboard as a browser's user with the token would."""
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


def files_with(text: str, directory: Path) -> list[Path]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if text.encode() in path.read_bytes()]


def arguments(endpoint, *more: str) -> list[str]:
    settings = {"name": "books", "base_url": "${LLM_URL:-" + endpoint.process.url + "}", "model": "sim"}
    settings |= {"api_key": "${CLUSTERS_KEY}"}
    wires = [{"name": name, "kind": "simulated", "items": 4} for name in ("reviews", "forum")]
    sets = {
        "llm.endpoints": [settings],
        "llm.clients": 1,
        "sources": wires,
    }  # each actor's start takes a while
    return ["w1.yaml", *(f"--set={key}={json.dumps(value)}" for key, value in sets.items()), *more]


@pytest.fixture
def w1(driver):
    (driver.directory / "w1.yaml").write_text(
        W1.read_text().replace("  simulator: {latency_s", "  # {latency_s")
    )


async def test_a_run_as_a_job_comes_to_what_the_endpoint_has_in_its_books_and_is_not_done_twice(
    driver, w1, head, api, start_llm
):
    endpoint = await start_llm()
    asked = arguments(endpoint, "--limit=10", "--wait", "--json")
    first = await driver("submit", *asked, env=head.env())
    assert first.code == 0, first.stderr
    summary = first.summary()
    stats = await endpoint.stats()
    assert summary["tasks"]["succeeded"] == 10
    assert summary["calls"]["billed"] == stats["billed"] == stats["distinct_keys"] == 10 * (2 * 4 + 4)
    assert summary["tokens"] == plain_tokens(stats["input_tokens"], stats["output_tokens"])
    # What it leaves lies where it was submitted, not in a directory that goes with the cluster.
    assert len(driver.results(summary["run_id"])) == 10
    assert (driver.directory / ".headrace" / "state.db").exists()

    again = await driver("submit", *asked, env=head.env())
    assert again.code == 0, again.stderr
    assert "has already succeeded" in again.stderr
    assert again.summary() == summary
    assert (await endpoint.stats())["requests"] == stats["requests"]
    jobs = [job for job in await api("/api/jobs/") if summary["run_id"] in str(job["submission_id"])]
    assert len(jobs) == 1

    # The key came from the cluster's environment, and is nowhere where jobs are shown.
    assert "CLUSTERS_KEY" in first.stderr
    assert KEY not in json.dumps(jobs) + first.stderr + first.stdout
    assert not files_with(KEY, Path(head.session, "session_latest", "logs"))


async def test_a_job_that_is_stopped_keeps_its_state_and_goes_on_when_it_is_submitted_again(
    driver, head, api, start_llm
):
    endpoint = await start_llm("--latency-s", "0.1")
    llm = {"clients": 1, "endpoints": [{"name": "books", "base_url": endpoint.process.url, "model": "sim"}]}
    wire = {"name": "wire", "kind": "simulated", "items": CALLS_A_TASK - 1, "latency_s": 0.01}
    dead = {**wire, "name": "dead", "failure_rate": 1.0, "retries": 0, "outage_s": 0}
    config = driver.config(llm=llm, sources=[wire, dead], tasks={"kind": "range", "count": TASKS})
    asked = [str(config), "--run-id=halves", "--json"]
    begun = await driver("submit", *asked, env=head.env())
    assert begun.summary() == {"run_id": "halves", "job": "halves", "state": "PENDING", "submitted": True}
    joined = await driver("submit", *asked, env=head.env())
    assert joined.summary()["submitted"] is False
    await until(endpoint.stats, lambda stats: stats["billed"] >= 100)
    await endpoint.hold()

    await api("/api/jobs/halves/stop", "POST")
    job = await until(lambda: api("/api/jobs/halves"), lambda job: job["end_time"])
    assert job["status"] == "STOPPED"
    log = (await api("/api/jobs/halves/logs"))["logs"]
    assert "the finished work is stored" in log
    told = next(json.loads(line) for line in log.splitlines() if line.startswith('{"run_id"'))
    await endpoint.release()
    before = await until(endpoint.stats, lambda stats: stats["in_flight"] == 0)
    assert told["state"] == "interrupted"
    assert told["calls"]["billed"] <= before["billed"] < TASKS * CALLS_A_TASK

    rest = await driver("submit", *asked, "--wait", env=head.env())
    assert rest.code == 3, rest.stderr  # its driver's: a source is dead
    assert "as job halves~2" in rest.stderr
    assert rest.summary()["tasks"]["partial"] == len(driver.results("halves")) == TASKS
    stats, calls = await endpoint.stats(), rest.summary()["calls"]
    assert stats["distinct_keys"] == calls["planned"] == TASKS * CALLS_A_TASK
    # Only what was missing was paid for: what nobody knew the fate of is asked under its old key.
    assert stats["billed"] == TASKS * CALLS_A_TASK
    assert calls["billed"] <= stats["billed"] <= calls["billed"] + calls["in_doubt"]


async def test_without_the_token_nothing_is_submitted(driver, w1, head, api):
    before = len(await api("/api/jobs/"))
    wrong = driver.directory / "wrong"
    wrong.write_text("0" * 64)
    for env in (
        {"RAY_API_SERVER_ADDRESS": head.dashboard, "RAY_AUTH_MODE": "disabled"},
        {**head.env(), "RAY_AUTH_TOKEN_PATH": str(wrong)},
    ):
        refused = await driver("submit", "w1.yaml", env=env)
        assert refused.code == 4, refused.stderr
        assert "requires its token" in refused.stderr
        assert "RAY_AUTH_TOKEN" in refused.stderr
    nowhere = await driver("submit", "w1.yaml", env={})
    assert nowhere.code == 4
    assert "make cluster" in nowhere.stderr
    assert len(await api("/api/jobs/")) == before
