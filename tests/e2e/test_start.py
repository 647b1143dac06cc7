"""What happens to a run while Ray is being started for it."""

from __future__ import annotations

import asyncio
import contextlib
import time

import psutil

from tests.e2e.conftest import RUN_WITHIN_S


async def test_a_worker_that_dies_while_ray_starts_does_not_hold_a_run_up(driver):
    """Ray would have it wait for the workers that it started beforehand, and for a dead one for ever."""
    started = time.monotonic()
    soon = {"RAY_worker_register_timeout_seconds": "20"}  # then Ray looks for one that is not heard of
    process = await driver.start("run", str(driver.config()), "--address", "local", "--json", env=soon)
    async with asyncio.timeout(RUN_WITHIN_S):
        while not kill_a_worker(psutil.Process(process.pid)):
            await asyncio.sleep(0.01)
    finished = await driver.finished(process, started)

    assert finished.code == 0, finished.stderr
    assert finished.summary()["tasks"]["succeeded"] == 5


def kill_a_worker(driver: psutil.Process) -> bool:
    """Kill the first worker that there is, as soon as it has said what it is."""
    for process in driver.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if " ".join(process.cmdline()).startswith("ray::IDLE"):
                process.kill()
                return True
    return False
