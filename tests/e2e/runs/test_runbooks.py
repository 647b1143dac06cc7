"""The commands of the runbooks in docs/operations.md, as far as they need no cluster."""

from __future__ import annotations

import os

import pytest

from tests.e2e.conftest import MARK
from tests.e2e.support.runbook import execute, runbook

TASKS = 12
CALLS = TASKS * 3


@pytest.fixture
async def shell(driver, start_llm_here):
    """Return a function that runs lines, and one that starts a slow run."""
    endpoint = await start_llm_here("--latency-s=0.2")
    books = {"name": "books", "base_url": f"{endpoint.base}/v1", "model": "sim", "max_in_flight": 4}
    driver.config(
        tasks={"kind": "range", "count": TASKS},
        llm={"endpoints": [books], "clients": 1},
        store={"kind": "sqlite", "lease_s": 1.0},
    )
    env = {**os.environ, "HOME": str(driver.home), MARK: driver.mark}
    process = await driver.start("run", "config.yaml", "--run-id=books", "--engine=local")
    await endpoint.until(lambda stats: stats["billed"] >= CALLS // 3)

    async def perform(lines):
        shown = []
        for line in lines:
            shown.append(await execute(line, driver.directory, env))
            if line.startswith("kill"):
                await process.communicate()
                await endpoint.release()
                await endpoint.until(lambda stats: stats["in_flight"] == 0)
                await endpoint.control(latency_s=0.02)
        return shown

    yield perform, process, endpoint
    stats = await endpoint.stats()
    assert (stats["billed"], stats["distinct_keys"]) == (CALLS, CALLS)  # it honours keys
    assert len(driver.results("books")) == TASKS


async def test_an_upgrade_keeps_what_was_paid_and_can_be_taken_back(driver, shell):
    perform, process, _ = shell
    names = {
        "PID": process.pid,
        "BEFORE": "before",
        "WHEEL": "new.whl",
        "CONFIG": "config.yaml",
        "RUN_ID": "books",
        "LATER": "later",
        "OLD_WHEEL": "old.whl",
    }
    upgrade, back = runbook("Upgrade Headrace", **names)
    shown = await perform(upgrade)
    assert "0 rows would be rewritten" in shown[4]
    assert "succeeded" in shown[-1]
    (driver.directory / "runs" / "books" / "reports.jsonl").unlink()
    await perform(back)


async def test_a_lost_store_comes_from_a_backup_and_a_full_one_goes_elsewhere(driver, shell):
    perform, process, endpoint = shell
    await endpoint.hold()  # else the run would end before a busy machine has performed a line
    (save,) = runbook("Back up and restore", NAME="name")
    saved, checked = await perform(save)
    assert "not closed: books" in saved
    assert "books: would be restored (running)" in checked
    (lost,) = runbook("The store is lost", PID=process.pid, DAMAGED="damaged", NAME="name", RUN_ID="books")
    await perform(lost)
    (full,) = runbook("The disk is full", ELSEWHERE="elsewhere")
    shown = await perform(full)
    assert "1 runs copied" in shown[-1]
    assert (driver.directory / "elsewhere" / "state.db").exists()
