"""The process of a simulator: start, errors at start, orderly end, end of its parent."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import aiohttp
import psutil
import pytest

from simulators.ledger import Phase, read_ledger
from simulators.process import SimulatorError, SimulatorProcess


async def test_an_orderly_end_enters_what_it_interrupts(start_llm):
    one = await start_llm("--latency-s", "30")
    pending = asyncio.create_task(one.ask(key="k"))
    await one.until(lambda s: s["in_flight"] == 1)
    one.process.stop()
    with pytest.raises(aiohttp.ClientError):
        await pending
    (entry,) = read_ledger(one.ledger_path).entries
    assert (entry.key, entry.phase, entry.billed) == ("k", Phase.STARTED, 0)


def test_a_simulator_that_does_not_come_up_says_why(tmp_path):
    process = SimulatorProcess("llm", ["--faults", str(tmp_path / "none.json")])
    with pytest.raises(SimulatorError, match=r"exit code 2[\s\S]*none\.json"):
        process.start()
    assert not process.alive


def test_a_simulator_that_takes_too_long_to_come_up_is_ended():
    process = SimulatorProcess("llm", start_s=0.001)
    with pytest.raises(SimulatorError, match=r"did not start within 0\.001 s"):
        process.start()
    assert process.pid is None


def test_a_simulator_is_a_context_and_stops_with_it():
    with SimulatorProcess("llm") as process:
        assert process.url.startswith("http://127.0.0.1:")
        running = psutil.Process(process.pid)
        with pytest.raises(SimulatorError, match="already running"):
            process.start()
    assert not running.is_running()
    process.stop()


def test_simulators_that_are_launched_come_up_side_by_side_and_one_that_nobody_waited_for_is_stopped():
    model, sources = SimulatorProcess("llm"), SimulatorProcess("sources")
    try:
        for one in (model, sources):
            one.launch()
        assert (model.url, sources.url) == ("", "")
        assert model.announced() == model.announced() == model.url != ""
    finally:
        model.stop()
        left = psutil.Process(sources.pid)
        sources.stop()
    assert not left.is_running()


def test_a_simulator_that_ends_after_its_launch_says_why_to_who_waits_for_it(tmp_path):
    process = SimulatorProcess("llm", ["--faults", str(tmp_path / "none.json")])
    process.launch()
    with pytest.raises(SimulatorError, match=r"exit code 2[\s\S]*none\.json"):
        process.announced()
    assert process.pid is None


def test_a_simulator_whose_parent_is_gone_does_not_start():
    orphan = SimulatorProcess("llm", ["--parent-pid", "1"])
    with pytest.raises(SimulatorError, match="the parent process 1 is gone"), orphan:
        pass


def test_a_simulator_ends_when_its_parent_is_killed():
    script = (
        "import sys\n"
        "from simulators.process import SimulatorProcess\n"
        "simulator = SimulatorProcess('llm')\n"
        "simulator.start()\n"
        "print(simulator.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(  # noqa: S603 - this very interpreter, and the script above
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
    finally:
        parent.kill()
        parent.communicate()
    assert not psutil.wait_procs([child], timeout=100)[1]
