"""``map``: every row has its line in order, the same command continues, and no answer is paid for twice."""

from __future__ import annotations

import csv
import json
import signal
from asyncio.subprocess import PIPE
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.e2e.support.simulated_endpoint import SimulatedEndpoint

ROWS = 500
LABEL = ("-c", "mood: good | bad", "-c", "score: 0..1 = how good")
SOME = 200
HALF = SOME // 2

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def reviews(driver) -> Path:
    path: Path = driver.directory / "reviews.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "text"))
        rows.writerows((f"r{number}", f"Review {number}, with a comma") for number in range(ROWS))
    return path


def asked(endpoint: SimulatedEndpoint, *more: str, data: str = "reviews.csv") -> tuple[str, ...]:
    """Return the command line that asks about the reviews at `endpoint`."""
    model = ("-m", "m", "--base-url", f"{endpoint.base}/v1")
    return ("map", data, "Classify: {text}", *LABEL, *model, "--yes", *more)


async def billed(endpoint: SimulatedEndpoint) -> Counter[str]:
    """Return the number of bills by idempotency key."""
    return Counter(entry.key for entry in (await endpoint.ledger()).entries if entry.billed)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_each_row_has_its_line_in_order_and_the_same_command_makes_no_call(
    driver, reviews, start_llm_here
):
    endpoint = await start_llm_here()
    ended = await driver(*asked(endpoint, "-o", "out.parquet"))
    assert (ended.code, ended.stdout) == (0, "")
    first = ended.stderr.splitlines()[0]
    assert first == "reviews.csv: 500 rows, 2 columns (id, text)"
    table = pq.read_table(driver.directory / "out.parquet")
    assert table.column_names == ["id", "text", "mood", "score", "_error"]
    assert table["id"].to_pylist() == [f"r{number}" for number in range(ROWS)]
    assert set(table["mood"].to_pylist()) <= {"good", "bad"}
    assert table["_error"].null_count == ROWS
    requests = (await endpoint.stats())["requests"]
    again = await driver(*asked(endpoint, "-o", "again.parquet"))
    assert again.code == 0
    assert (await endpoint.stats())["requests"] == requests
    assert pq.read_table(driver.directory / "again.parquet").equals(table)


async def test_rows_go_from_stdin_to_stdout_and_messages_to_stderr(driver, start_llm_here):
    endpoint = await start_llm_here()
    rows = [{"text": f"line {number}", "n": number} for number in range(50)]
    process = await driver.start(*asked(endpoint, data="-"), stdin=PIPE)
    said = await process.communicate("".join(f"{json.dumps(row)}\n" for row in rows).encode())
    made = [json.loads(line) for line in said[0].decode().splitlines()]
    assert process.returncode == 0
    assert [{"text": row["text"], "n": row["n"]} for row in made] == rows
    assert all(set(row) == {"text", "n", "mood", "score", "_error"} for row in made)
    assert said[1].decode().startswith("stdin: 50 rows, 2 columns (text, n)")


@pytest.mark.parametrize("signalled", [signal.SIGINT, signal.SIGKILL], ids=lambda one: one.name)
async def test_the_same_command_continues_and_every_answer_is_billed_once(
    driver, reviews, start_llm_here, signalled
):
    endpoint = await start_llm_here("--latency-s", "0.1")
    slow = ("--set", "llm.endpoints.0.max_in_flight=20")
    command = asked(endpoint, "-o", "out.jsonl", f"--limit={SOME}", *slow)
    process = await driver.start(*command)
    await endpoint.until(lambda stats: stats["billed"] >= HALF)
    process.send_signal(signalled)
    _, said = await process.communicate()
    assert process.returncode == (130 if signalled == signal.SIGINT else -signal.SIGKILL)
    assert not (driver.directory / "out.jsonl").exists()
    if signalled == signal.SIGINT:
        assert "the same command again continues" in said.decode()
    before = (await endpoint.until(lambda stats: stats["in_flight"] == 0))["billed"]
    assert HALF <= before < SOME
    ended = await driver(*command)
    assert ended.code == 0
    lines = lines_of(driver.directory / "out.jsonl")
    assert [line["id"] for line in lines] == [f"r{number}" for number in range(SOME)]
    assert all(line["_error"] is None for line in lines)
    by_key = await billed(endpoint)
    assert len(by_key) == SOME
    assert set(by_key.values()) == {1}


async def test_new_rows_cost_only_themselves(driver, reviews, start_llm_here):
    endpoint = await start_llm_here()
    assert (await driver(*asked(endpoint, "--limit=100", "-o", "out.jsonl"))).code == 0
    with reviews.open() as file:
        head = file.readlines()[:101]
    reviews.write_text("".join([head[0], "new,A new review\n", *reversed(head[1:])]))
    ended = await driver(*asked(endpoint, "-o", "out.jsonl"))
    assert ended.code == 0
    assert "the rows have changed since run map-reviews-" in ended.stderr
    assert (await endpoint.stats())["billed"] == 101
    assert [line["id"] for line in lines_of(driver.directory / "out.jsonl")][:2] == ["new", "r99"]


@pytest.mark.parametrize(
    ("status", "asks_again"), [(400, False), (500, True)], ids=["invalid", "server error"]
)
async def test_failed_rows_keep_their_place_and_are_asked_again_if_that_may_help(
    driver, reviews, start_llm_here, status, asks_again
):
    fault = {"kind": "status", "status": status, "rate": 0.3, "attempts": [1]}
    endpoint = await start_llm_here(faults=[fault])
    once = ("--set", "llm.retry.attempts=1")
    command = asked(endpoint, "--limit=30", "-o", "out.jsonl", *once)
    ended = await driver(*command)
    lines = lines_of(driver.directory / "out.jsonl")
    failed = [line for line in lines if line["_error"]]
    assert (ended.code, len(lines)) == (3, 30)
    assert 2 < len(failed) < 20
    assert all(line["mood"] is None and str(status) in line["_error"] for line in failed)
    assert f"{len(failed)} rows have no answer" in ended.stderr
    requests = (await endpoint.stats())["requests"]
    again = await driver(*command)
    assert again.code == (0 if asks_again else 3)
    assert (await endpoint.stats())["requests"] == requests + asks_again * len(failed)
    assert (await driver(*command, "--retry-failed")).code == 0
    assert (await endpoint.stats())["requests"] == requests + len(failed)
    lines = lines_of(driver.directory / "out.jsonl")
    assert [line["id"] for line in lines if line["_error"] is None] == [f"r{n}" for n in range(30)]


async def test_the_first_failed_row_stops_the_run_on_request(driver, reviews, start_llm_here):
    endpoint = await start_llm_here(faults=[{"kind": "status", "status": 400, "rate": 0.3, "attempts": [1]}])
    ended = await driver(*asked(endpoint, "--limit=30", "--on-error=stop", "-o", "out.jsonl"))
    assert ended.code == 1
    assert "stopped: row-0000" in ended.stderr
    assert not (driver.directory / "out.jsonl").exists()


async def test_the_deadline_ends_a_run_that_the_same_command_continues(driver, reviews, start_llm_here):
    endpoint = await start_llm_here("--latency-s", "0.2")
    slow = ("--set", "llm.endpoints.0.max_in_flight=2", "-o", "out.jsonl", "--limit=40")
    ended = await driver(*asked(endpoint, "--deadline=2s", *slow))
    assert ended.code == 3
    assert "the deadline has passed" in ended.stderr
    assert not (driver.directory / "out.jsonl").exists()
    assert (await driver(*asked(endpoint, *slow))).code == 0
    assert set((await billed(endpoint)).values()) == {1}
