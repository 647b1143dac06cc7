"""Runs that are interrupted or killed, and gone on with: nothing is lost or paid for twice.

One endpoint outlives the drivers of a test, so that its ledger has what all of them asked for. Drivers that
are killed or interrupted run on the local engine. One of their runs goes on on a Ray cluster.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from simulators.ledger import read_ledger
from simulators.process import SimulatorProcess
from tests.e2e.support.simulated_endpoint import asked_again

TASKS, ITEMS = 60, 2
CALLS = TASKS * (ITEMS + 1)
IN_FLIGHT = 8
LOCALLY = ("--engine=local", "--json")
CANARY = "sk-canary-91f0c2aa7e"
LITERAL = "sk-literal-5d20be1f44"
SLOW_S, FAST_S = 0.4, 0.02
BEGUN_WITHIN_S = 120.0  # on a machine that others use too

pytestmark = pytest.mark.timeout(300)  # several drivers, one after the other


class Endpoint:
    """A simulator, its books, and how fast it answers from now on."""

    def __init__(self, process: SimulatorProcess, ledger: Path, http: aiohttp.ClientSession) -> None:
        self.url = process.url
        self._base = process.url.removesuffix("/v1")
        self._ledger = ledger
        self._http = http

    async def answers_within(self, seconds: float) -> None:
        async with self._http.post(f"{self._base}/control", json={"latency_s": seconds}) as answer:
            assert answer.status == 200, await answer.text()

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(BEGUN_WITHIN_S):
            while not condition(stats := await self.stats()):
                await asyncio.sleep(0.02)
        return stats

    async def stats(self) -> dict[str, Any]:
        async with self._http.get(f"{self._base}/stats") as answer:
            return dict(await answer.json())

    async def billed_by_key(self) -> Counter[str]:
        async with self._http.post(f"{self._base}/flush") as answer:
            assert answer.status == 200
        return Counter(entry.key for entry in read_ledger(self._ledger).entries if entry.billed)


@pytest.fixture
async def endpoint(tmp_path: Path) -> AsyncIterator[Endpoint]:
    ledger = tmp_path / "books.jsonl"
    arguments = [f"--latency-s={SLOW_S}", "--sigma=0", f"--ledger={ledger}"]
    with SimulatorProcess("llm", arguments) as process:
        async with aiohttp.ClientSession() as http:
            yield Endpoint(process, ledger, http)


def config(driver: Any, endpoint: Endpoint, **sections: Any) -> Path:
    named = {
        "name": "books",
        "base_url": endpoint.url,
        "model": "sim",
        "api_key": "${CANARY}",
        "max_in_flight": IN_FLIGHT,
    }
    sections = {
        "tasks": {"kind": "range", "count": TASKS},
        "llm": {"endpoints": [named], "clients": 2},
        "store": {"kind": "sqlite", "lease_s": 1.0},
        **sections,
    }
    path: Path = driver.config(**sections)
    return path


def books(summary: dict[str, Any]) -> tuple[int, int, int]:
    return summary["tasks"]["succeeded"], summary["calls"]["billed"], summary["calls"]["in_doubt"]


async def test_a_killed_run_goes_on_with_what_is_missing_and_no_secret_is_kept_anywhere(
    driver, head, endpoint
):
    path = config(driver, endpoint)
    env = {"CANARY": CANARY}
    literal = ("--set", f"llm.endpoints.books.api_key={LITERAL}")
    process = await driver.start("run", str(path), *LOCALLY, "--run-id=half", *literal, env=env)
    await endpoint.until(lambda stats: stats["billed"] >= CALLS // 2)
    await endpoint.answers_within(2.0)  # else a busy machine may be through before all have noticed the kill
    process.kill()  # SIGKILL; what it has started ends with it
    said = b"".join(await process.communicate())
    before = await endpoint.until(lambda stats: stats["in_flight"] == 0)
    assert before["billed"] < CALLS

    env |= driver.on(head)
    asked = await driver("resume", "half", "--json", env=env)
    assert asked.code == 2
    assert "secrets are not stored: give --set llm.endpoints.books.api_key=… again" in asked.stderr

    # On a cluster that others see, it may be given by reference only.
    refused = await driver("resume", "half", "--json", *literal, env=env)
    assert refused.code == 2
    assert "would show a secret" in refused.stderr
    env["LITERAL"] = LITERAL
    named = ("--set", "llm.endpoints.books.api_key=${LITERAL}")

    await endpoint.answers_within(FAST_S)
    resumed = await driver("resume", "half", "--json", *named, env=env)
    assert resumed.code == 0, resumed.stderr
    billed = await endpoint.billed_by_key()
    assert len(billed) == CALLS
    assert set(billed.values()) == {1}  # the endpoint honours keys
    after = await endpoint.stats()
    # Once: what the dispatcher has given out and knows no stored end of, which is the limit and the quarter
    # of it that waits at the clients. Up to twice: a client may die before the dispatcher, which then gives
    # its half to the other one.
    assert asked_again(before, after) <= 2 * IN_FLIGHT
    succeeded, ours, doubt = books(resumed.summary())
    assert succeeded == TASKS
    assert ours <= CALLS <= ours + doubt
    assert doubt <= 2 * IN_FLIGHT
    assert len(driver.results("half")) == TASKS
    status = await driver("status", "half", "--json", env=env)
    (history,) = json.loads(status.stdout)["endpoints"]
    assert (
        ours // 2 <= history["answered"] <= CALLS
    )  # of both processes, but for the last seconds of the first
    assert 0 < history["most_in_flight"] <= IN_FLIGHT

    # Once more, of a finished run: everything is told again, and nobody is asked.
    again = await driver("resume", "half", "--json", *named, env=env)
    assert again.code == 0, again.stderr
    assert (await endpoint.stats())["requests"] == after["requests"]
    assert again.summary()["calls"]["billed"] == ours
    assert len(driver.results("half")) == TASKS

    said += b"".join(one.stdout.encode() + one.stderr.encode() for one in (asked, refused, resumed, again))
    for secret in (CANARY.encode(), LITERAL.encode()):
        assert secret not in said
        assert not [file for file, content in driver.files().items() if secret in content]


async def test_a_second_driver_is_refused_and_after_ctrl_c_the_printed_command_goes_on(driver, endpoint):
    path = config(driver, endpoint, store={"kind": "sqlite", "path": "kept/state.db", "lease_s": 1.0})
    env = {"CANARY": CANARY}
    process = await driver.start("run", str(path), *LOCALLY, "--run-id=mine", env=env)
    await endpoint.answers_within(2.0)
    await endpoint.until(lambda stats: stats["billed"] > 0)
    second = await driver("run", str(path), "--json", "--run-id=mine", env=env)
    assert second.code == 2
    assert "run mine (begun " in second.stderr
    assert "which is alive; wait until it ends, watch it with `status mine`" in second.stderr
    assert second.stdout == ""
    assert process.returncode is None  # the first is not disturbed

    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    async with asyncio.timeout(30):
        _, stderr = await process.communicate()
    assert process.returncode == 130
    command = stderr.decode().strip().rpartition("continue with: python driver.py ")[2]
    assert command == f"resume mine --config {path}"

    # With another configuration it would be another run: that is said, and may be wanted.
    await endpoint.answers_within(FAST_S)
    again = (*shlex.split(command), "--json", "--set", "llm.timeout_s=50")
    left = driver.results("mine")
    refused = await driver(*again, env=env)
    assert driver.results("mine") == left
    assert refused.code == 2
    assert "llm.timeout_s: was 60.0, is 50.0 now" in refused.stderr
    assert "accept the changed one (--accept-config)" in refused.stderr
    assert refused.stdout == ""
    resumed = await driver(*again, "--accept-config", env=env)
    assert resumed.code == 0, resumed.stderr
    assert books(resumed.summary())[0] == TASKS
    billed = await endpoint.billed_by_key()
    assert len(billed) == CALLS
    assert set(billed.values()) == {1}


async def test_a_store_that_cannot_be_made_is_told_at_once_and_nothing_is_asked(driver, endpoint):
    (driver.directory / "file").touch()
    path = config(driver, endpoint, store={"kind": "sqlite", "path": "file/state.db"})
    ended = await driver("run", str(path), "--json", env={"CANARY": CANARY})
    assert ended.code == 1, ended.stderr
    said = " ".join(ended.stderr.split())
    assert "file/state.db cannot be created: File exists" in said
    assert "name another path (store.path)" in said
    assert "Traceback" not in ended.stderr
    assert (await endpoint.stats())["requests"] == 0


async def test_rows_that_were_killed_between_their_steps_are_asked_only_what_is_left(driver, endpoint):
    rows = 16
    step = {"prompt": "Rate {city}", "output": {"quality": {"type": "number", "min": 0, "max": 1}}}
    later = {**step, "name": "second", "prompt": "Rate {city} after {first.quality}"}
    cities = [{"key": f"r{number}", "params": {"city": f"city {number}"}} for number in range(rows)]
    path = config(
        driver,
        endpoint,
        tasks={"kind": "inline", "tasks": cities},
        sources=[],
        dimensions=[],
        evaluate=[{**step, "name": "first"}, later],
        store={"kind": "sqlite", "lease_s": 0.5},
        output={"directory": "runs", "format": "jsonl"},
    )
    env = {"CANARY": CANARY}
    await endpoint.answers_within(0.1)
    process = await driver.start("run", str(path), *LOCALLY, "--run-id=rows", env=env)
    await endpoint.until(lambda stats: stats["billed"] >= rows + 2)
    await endpoint.answers_within(0.5)
    process.kill()
    await process.communicate()
    await endpoint.until(lambda stats: stats["in_flight"] == 0)
    await endpoint.answers_within(FAST_S)
    resumed = await driver("resume", "rows", "--engine=local", "--json", env=env)
    assert resumed.code == 0, resumed.stderr
    billed = await endpoint.billed_by_key()
    assert (len(billed), set(billed.values())) == (2 * rows, {1})
    assert books(resumed.summary())[0] == rows
    lines = (driver.directory / "runs" / "rows" / "items.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == [city["key"] for city in cities]
    assert all({"first.quality", "second.quality"} <= json.loads(line).keys() for line in lines)
