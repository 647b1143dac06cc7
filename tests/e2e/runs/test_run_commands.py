"""The commands that look at runs, do parts of them again, and end them."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import aiohttp

from simulators.ledger import read_ledger
from simulators.process import SimulatorProcess
from tests.e2e.conftest import RUN_WITHIN_S

EVIL = '<script>alert("1")</script>'

# A source that fails for some tasks until somebody mends it.
SOURCE = """\
from pathlib import Path


class Source:
    def __init__(self, broken_for):
        self.broken_for = broken_for

    def fetch(self, task):
        if task.key == self.broken_for and not Path("{directory}/mended").exists():
            raise RuntimeError("it is broken")
        return ["All is well."]
"""


def python(name: str, broken_for: str, *, required: bool) -> dict[str, Any]:
    options = {"broken_for": broken_for}
    return {
        "name": name,
        "kind": "python",
        "target": "breaks:Source",
        "options": options,
        "required": required,
        "retries": 1,
    }


async def test_what_failed_is_found_explained_and_done_again_and_nothing_is_paid_for_twice(driver):
    (driver.directory / "breaks.py").write_text(SOURCE.replace("{directory}", str(driver.directory)))
    env = {"PYTHONPATH": str(driver.directory)}
    config = driver.config(
        tasks={"kind": "inline", "tasks": ["fine", "half", EVIL]},
        sources=[
            {"name": "wire", "kind": "simulated", "items": 2, "latency_s": 0.01},
            python("must", EVIL, required=True),
            python("may", "half", required=False),
        ],
    )
    run = await driver.run(config, "--run-id=one", "--json", env=env)
    assert run.code == 3, run.stderr
    first = run.summary()
    assert first["tasks"] | {"submitted": 0} == {
        "submitted": 0,
        "succeeded": 1,
        "partial": 1,
        "failed": 1,
        "cancelled": 0,
        "open": 0,
    }

    # Everything about it can be asked for afterwards, without a cluster.
    listed, status, results, csv, page = await asyncio.gather(
        driver("runs", "--json"),
        driver("status", "one"),
        driver("results", "one"),
        driver("results", "one", "--format", "csv"),
        driver("report", "one", "-o", "pages/one.html"),
    )
    assert [each.code for each in (listed, status, results, csv, page)] == [0, 0, 0, 0, 0], page.stderr
    (known,) = listed.summary()["runs"]
    assert (known["run_id"], known["state"], known["tasks"]["failed"]) == ("one", "partial", 1)
    assert known["calls"]["billed"] == first["calls"]["billed"]
    assert "python driver.py retry one --failed" in status.stdout
    lines = [json.loads(line) for line in results.stdout.splitlines()]
    assert [line["key"] for line in lines] == ["fine", "half", EVIL]  # in the order of acceptance
    assert {line["key"]: line for line in lines} == driver.results("one")
    assert len(csv.stdout.splitlines()) == 4

    text = (driver.directory / "pages/one.html").read_text()
    assert EVIL not in text

    told, unknown = await asyncio.gather(driver("why", "one", EVIL), driver("why", "one", "nope"))
    assert told.code == 0
    assert "failed: permanent: " in told.stdout
    assert "it is broken" in told.stdout
    assert "attempts none" in told.stdout  # what is worthless is not paid for
    assert unknown.code == 2
    assert "no task 'nope'" in unknown.stderr

    # What was broken is mended, and only that is done again.
    (driver.directory / "mended").touch()
    again = await driver("retry", "one", "--failed", "--partial", "--json", env=env)
    assert again.code == 0, again.stderr
    assert "2 tasks are repeated; stored answers to their calls are reused" in again.stderr
    second = again.summary()
    assert second["tasks"]["succeeded"] == 3
    assert second["calls"]["reused"] == 3  # the items of "half" that were evaluated before
    why = await driver("why", "one", "half", "--json")
    document = why.summary()
    assert [event["kind"] for event in document["events"]].count("reopened") == 1
    assert document["state"] == "succeeded"
    sums = read_ledger(driver.directory / "ledger.jsonl").sums()
    assert sums.billed == len(sums.keys) == second["calls"]["billed"]


async def test_a_running_run_is_cancelled_from_outside_and_nothing_is_sent_after_that(driver):
    ledger = driver.directory / "books.jsonl"
    with SimulatorProcess("llm", ["--latency-s=0.3", f"--ledger={ledger}"]) as endpoint:
        config = driver.config(
            tasks={"kind": "range", "count": 5000},
            llm={
                "endpoints": [{"name": "slow", "base_url": endpoint.url, "model": "sim", "max_in_flight": 20}]
            },
            limits={"active_tasks": 50},
        )
        asked = ("run", str(config), "--json", "--run-id=endless")
        process = await driver.start(*asked)
        async with asyncio.timeout(RUN_WITHIN_S), aiohttp.ClientSession() as http:
            await process.stderr.readuntil(b"run endless: 5,000 tasks in this process")
            while (await stats(http, endpoint.url))["billed"] < 40:
                await asyncio.sleep(0.05)
        status = await driver("status", "endless", "--json")
        cancelled = await driver("cancel", "endless", "--json")
        assert cancelled.code == 0, cancelled.stderr
        ended_at = time.time()
        async with asyncio.timeout(RUN_WITHIN_S):
            stdout, stderr = await process.communicate()
    assert (status.summary()["state"], status.summary()["owner_silent"]) == ("running", False)
    known = cancelled.summary()
    assert known["state"] == "cancelled"
    tasks = known["tasks"]
    assert 0 < tasks["cancelled"] < 5000
    assert tasks["succeeded"] + tasks["cancelled"] == tasks["accepted"]
    assert process.returncode == 130
    assert b"was cancelled by `python driver.py cancel`; its finished work is stored" in stderr
    assert b"Traceback" not in stderr
    summary = json.loads(stdout)
    assert summary["state"] == "cancelled"
    books = read_ledger(ledger)
    assert max(entry.t_in for entry in books.entries) < ended_at
    counts, billed = known["calls"], books.sums().billed
    assert counts["billed"] <= billed <= counts["billed"] + counts["in_doubt"]


async def stats(http: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with http.get(f"{url.removesuffix('/v1')}/stats") as answer:
        document: dict[str, Any] = await answer.json()
        return document


async def test_the_doctor_finds_what_is_wrong_and_makes_no_paid_call(driver):
    ledger = driver.directory / "books.jsonl"
    with SimulatorProcess("llm", [f"--ledger={ledger}"]) as endpoint:
        named = {"name": "main", "base_url": endpoint.url, "model": "sim"}
        gone = {
            "name": "gone",
            "base_url": "http://127.0.0.1:9/v1",
            "model": "sim",
            "api_key": "sk-canary-77",
        }
        config = driver.config(llm={"endpoints": [named]})
        well = await driver("doctor", str(config), "--json")
        config = driver.config(llm={"endpoints": [named, gone]})
        ill = await driver("doctor", str(config))
        async with aiohttp.ClientSession() as http:
            assert (await stats(http, endpoint.url))["billed"] == 0
    document = well.summary()
    assert (well.code, document["ok"]) == (0, True), document
    assert {"python", "ray", "disk", "ports", "store", "endpoint", "clock"} <= {
        check["name"] for check in document["checks"]
    }
    assert ill.code == 1
    assert "ok    endpoint: main: it accepts the key and has model sim" in ill.stdout
    assert "fail  endpoint: gone: " in ill.stdout
    assert "→ check base_url" in ill.stdout
    assert "sk-canary-77" not in ill.stdout + ill.stderr
    assert not (driver.directory / ".headrace").exists()


async def test_a_command_about_a_run_that_is_not_there_says_where_to_look(driver):
    for command in (("status", "nope"), ("runs",), ("cancel", "nope"), ("retry", "nope", "--failed")):
        ended = await driver(*command)
        assert (ended.code, ended.stdout) == (2, "")
        assert "there is no store at" in ended.stderr
