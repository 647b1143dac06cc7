"""A whole run against an endpoint that keeps books of its own."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pyarrow.parquet as pq

from simulators.ledger import read_ledger
from simulators.process import SimulatorProcess
from tests.e2e.support.simulated_endpoint import plain_tokens

W1 = Path(__file__).resolve().parents[3] / "configs" / "w1.yaml"
TASKS, ITEMS, DIMENSIONS, SOURCES = 60, 4, 4, 5
CALLS = TASKS * (SOURCES * ITEMS + DIMENSIONS)
AT_ONCE = 64
CANARY = "sk-canary-5bd4f1c09e"


async def test_a_run_comes_to_what_the_endpoint_has_in_its_books_to_the_last_token(driver):
    ledger = driver.directory / "ledger.jsonl"
    with SimulatorProcess("llm", ["--latency-s=0.05", f"--ledger={ledger}"]) as endpoint:
        llm = {
            "clients": 2,
            "endpoints": [
                {
                    "name": "books",
                    "base_url": endpoint.url,
                    "model": "sim",
                    "api_key": "${CANARY}",
                    "max_in_flight": AT_ONCE,
                    "price": {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 4.0},
                }
            ],
        }
        run = await driver.run(
            W1,
            "--json",
            "--run-id=books",
            *("--set", f"tasks.count={TASKS}"),
            *("--set", f"llm={json.dumps(llm)}"),
            *("--set", "output.format=[jsonl, parquet]"),
            env={"CANARY": CANARY},
        )
        async with aiohttp.ClientSession() as http:
            answer = await http.get(f"{endpoint.url.removesuffix('/v1')}/stats")
            stats = await answer.json()
    assert run.code == 0, run.stderr
    summary = run.summary()

    # What was asked for is what happened.
    assert summary["state"] == "succeeded"
    assert summary["tasks"] == {
        "submitted": TASKS,
        "succeeded": TASKS,
        "partial": 0,
        "failed": 0,
        "cancelled": 0,
        "open": 0,
    }
    assert len(summary["sources"]) == SOURCES
    assert all(source == {"fetched": TASKS, "failed": 0} for source in summary["sources"].values())

    # The run's books, the endpoint's, and those it wrote to disk are three accounts of the same.
    assert summary["calls"] == {
        "planned": CALLS,
        "billed": stats["billed"],
        "reused": 0,
        "in_doubt": 0,
        "unusable": 0,
        "refused": 0,
        "estimated": 0,
        "failed": 0,
    }
    assert stats["billed"] == stats["requests"] == stats["distinct_keys"] == CALLS
    assert summary["tokens"] == plain_tokens(stats["input_tokens"], stats["output_tokens"])
    assert summary["tokens"]["input"] > CALLS
    assert round(summary["cost_usd"] * 1e6) == stats["input_tokens"] + 4 * stats["output_tokens"]
    written = read_ledger(ledger).sums().as_dict()
    assert written == {name: stats[name] for name in written}
    assert 1 < stats["max_in_flight"] <= AT_ONCE

    # The result files say the same once more, task by task.
    results = driver.results("books")
    assert set(results) == {f"task-{number:06}" for number in range(1, TASKS + 1)}
    assert sum(line["calls"]["billed"] for line in results.values()) == CALLS
    assert sum(line["tokens"]["input"] for line in results.values()) == stats["input_tokens"]
    for line in results.values():
        assert line["state"] == "succeeded"
        assert 0 <= line["overall"] <= 1
        assert [dimension["name"] for dimension in line["dimensions"]] == [
            *("quality", "value", "service", "risk")
        ]
        assert all(dimension["n"] == SOURCES * ITEMS for dimension in line["dimensions"])
        assert all(dimension["finding"] and dimension["evidence"] for dimension in line["dimensions"])
    assert pq.read_table(driver.directory / "runs/books/reports.parquet").num_rows == TASKS
    assert [Path(path).name for path in summary["results"]] == ["reports.jsonl", "reports.parquet"]

    # What a user entrusts to it goes nowhere, and what a user did not ask for is not done.
    assert CANARY not in run.stdout + run.stderr
    assert not [path for path, content in driver.files().items() if CANARY.encode() in content]
    assert list(driver.home.iterdir()) == []
