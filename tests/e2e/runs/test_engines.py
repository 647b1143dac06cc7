"""The local engine: one process without Ray, and runs that change from one engine to the other."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

import pytest

from tests.e2e.runs.test_resume import CALLS, CANARY, FAST_S, IN_FLIGHT, TASKS, books, config, endpoint

__all__ = ["endpoint"]

ENV = {"CANARY": CANARY}
# These run the driver's command line in an interpreter that a test has changed.
LOOKED_AT = """
import sys
from cluster.commands.main import main
sys.argv = sys.argv[2:]
try:
    main()
finally:
    sys.stderr.write(f"loaded ray: {'ray' in sys.modules}")
"""
DEFECTIVE = """
import sys
from actors.core.dispatch.state import DispatchState
from cluster.commands.main import main
handle = DispatchState.handle
def defective(self, events, now):
    if self.statistics().completed >= 20:
        raise ValueError("a defect of the test")
    return handle(self, events, now)
DispatchState.handle = defective
sys.argv = sys.argv[2:]
main()
"""
HANGING = """
import sys, time
from actors.journal.stores.sqlite import SqliteStore
from cluster.commands.main import main
commit, commits = SqliteStore.commit, []
def hanging(self, batch):
    commits.append(0)
    if len(commits) == 20:
        sys.stderr.write("the store hangs\\n")
        time.sleep(3600)
    return commit(self, batch)
SqliteStore.commit = hanging
sys.argv = sys.argv[2:]
main()
"""

pytestmark = pytest.mark.timeout(300)


def changed(script: str) -> dict[str, Any]:
    return {"through": (sys.executable, "-c", script)}


def verdicts(reports: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what does not depend on the run's name: the simulator answers a call by its key."""
    kept = ("name", "score", "low", "high", "n")
    return {
        key: (one["state"], one["overall"], [[each[k] for k in kept] for each in one["dimensions"]])
        for key, one in reports.items()
    }


async def test_a_run_on_the_local_engine_is_one_process_and_loads_no_ray(driver, endpoint):
    await endpoint.answers_within(FAST_S)
    ended = await driver("run", str(config(driver, endpoint)), "--json", env=ENV, **changed(LOOKED_AT))
    assert ended.code == 0, ended.stderr
    assert "60 tasks in this process (the local engine)" in ended.stderr
    assert ended.stderr.endswith("loaded ray: False")
    succeeded, billed, doubt = books(ended.summary())
    assert (succeeded, billed, doubt) == (TASKS, CALLS, 0)


async def test_a_run_that_is_killed_on_ray_goes_on_on_the_local_engine(driver, head, endpoint):
    """`test_resume.py` has the other direction."""
    path, on_ray = config(driver, endpoint), ENV | driver.on(head)
    process = await driver.start("run", str(path), "--json", "--run-id=half", "--engine=ray", env=on_ray)
    await endpoint.until(lambda stats: stats["billed"] >= CALLS // 3)
    await endpoint.answers_within(2.0)
    process.kill()  # SIGKILL
    await process.communicate()
    await endpoint.until(lambda stats: stats["in_flight"] == 0)
    await endpoint.answers_within(FAST_S)
    resumed = await driver("resume", "half", "--json", "--engine=local", env=ENV)
    assert resumed.code == 0, resumed.stderr
    billed = await endpoint.billed_by_key()
    assert len(billed) == CALLS
    assert set(billed.values()) == {1}  # nothing is paid for twice
    succeeded, ours, doubt = books(resumed.summary())
    assert succeeded == TASKS
    assert ours <= CALLS <= ours + doubt
    assert doubt <= 2 * IN_FLIGHT
    whole = await driver("run", str(path), "--json", "--run-id=whole", "--engine=local", env=ENV)
    assert whole.code == 0, whole.stderr
    assert verdicts(driver.results("half")) == verdicts(driver.results("whole"))


async def test_ctrl_c_ends_a_run_whose_store_hangs(driver, endpoint):
    path = config(driver, endpoint)
    process = await driver.start("run", str(path), "--json", env=ENV, **changed(HANGING))
    async with asyncio.timeout(60):
        await process.stderr.readuntil(b"the store hangs")
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(60):
        await process.stderr.readuntil(b"gives them up")  # the answers in flight, which cannot be stored
        await asyncio.sleep(0.35)  # a signal sooner than 0.3 s after the first is ignored
        process.send_signal(signal.SIGINT)
        _, stderr = await process.communicate()
    assert process.returncode == 130, stderr.decode()
    assert b"could not be stored: no answer within 5 s" in stderr
    assert b"continue with: python driver.py resume" in stderr


async def test_a_defect_in_an_actor_ends_the_process_loudly_and_a_resume_goes_on(driver, endpoint):
    await endpoint.answers_within(FAST_S)
    path = config(driver, endpoint)
    arguments = ("run", str(path), "--json", "--run-id=broken")
    broken = await driver(*arguments, env=ENV, **changed(DEFECTIVE))
    assert broken.code == 70
    assert "a defect of the test" in broken.stderr
    resumed = await driver("resume", "broken", "--json", env=ENV)
    assert resumed.code == 0, resumed.stderr
    assert len(driver.results("broken")) == TASKS
    billed = await endpoint.billed_by_key()
    assert len(billed) == CALLS
    assert set(billed.values()) == {1}
