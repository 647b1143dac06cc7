"""What happens to a run while Ray is being started for it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time

import psutil

from tests.e2e.conftest import ROOT, RUN_WITHIN_S

PRESSED_DURING_A_FORK = """
import os, signal, subprocess, threading

left = ["once"]

def press():
    if left:
        left.pop()
        os.kill(os.getpid(), signal.SIGINT)

os.register_at_fork(after_in_parent=press)  # a hook from before, as logging has one
from cluster.ctrl_c import heard

try:
    with heard(again_s=300):
        subprocess.run(["true"], preexec_fn=int)
        threading.Event().wait(60)
        print("not heard")
except KeyboardInterrupt:
    print("heard")
"""


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


def test_ctrl_c_in_the_midst_of_a_fork_is_heard_after_it_and_no_traceback_is_printed():
    done = subprocess.run(  # noqa: S603 - this very interpreter, and the text above
        [sys.executable, "-c", PRESSED_DURING_A_FORK],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_WITHIN_S,
    )
    assert (done.stdout, done.stderr) == ("heard\n", "")


def kill_a_worker(driver: psutil.Process) -> bool:
    """Kill the first worker that there is, as soon as it has said what it is."""
    for process in driver.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if " ".join(process.cmdline()).startswith("ray::IDLE"):
                process.kill()
                return True
    return False
