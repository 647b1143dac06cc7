"""The command line: what it refuses, what it prints, and how it ends when told to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from asyncio.subprocess import Process
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from simulators.process import SimulatorProcess
from tests.e2e.conftest import RUN_WITHIN_S, Driver

CONFIGS = Path(__file__).resolve().parents[3] / "configs"

FIVE_MISTAKES = """\
name: "five mistakes"
tasks: {kind: range, count: 0}
sources:
  - {name: wire, kind: simulated, itms: 4}
llm:
  retries: {attempts: 3}
evaluate:
  prompt: "Rate {key}: {text}"
  output: {quality: {type: number, min: 0, max: 1}}
dimensions:
  - {name: quality, field: qualty}
"""


def test_what_needs_no_cluster_loads_neither_ray_nor_what_few_commands_need():
    slow = {"aiohttp", "numpy", "pyarrow", "ray", "sqlalchemy"}
    program = f"import sys, driver; print({slow} & sys.modules.keys())"
    shown = subprocess.run(  # noqa: S603 - this very interpreter, and the line above
        [sys.executable, "-c", program], capture_output=True, check=True, cwd=CONFIGS.parent, text=True
    )
    assert shown.stdout == "set()\n"


@pytest.mark.parametrize("command", ["run", "check"])
async def test_all_mistakes_of_a_configuration_are_shown_at_once_and_nothing_starts(driver, command):
    path = driver.directory / "bad.yaml"
    path.write_text(FIVE_MISTAKES)
    ended = await driver(command, str(path))
    assert ended.code == 2
    assert ended.stdout == ""
    lines = ended.stderr.splitlines()
    assert len(lines) == 5, ended.stderr
    for line, (place, where, hint) in zip(
        lines,
        [
            ("1:7", "name", "five mistakes"),
            ("2:29", "tasks.count", "got 0"),
            ("4:35", "sources.0.itms", "did you mean items?"),
            ("6:3", "llm.retries", "did you mean retry?"),
            ("11:28", "dimensions.0.field", "numeric fields: quality"),
        ],
        strict=True,
    ):
        assert line.startswith(f"{path}:{place}: {where}: ")
        assert hint in line
    assert list(driver.files()) == [path]  # neither a result nor a ledger nor a state was begun
    assert driver.left_behind() == []


async def test_a_bad_task_is_found_before_anything_starts(driver):
    tasks = driver.directory / "tasks.jsonl"
    tasks.write_text('{"key": "one"}\n{"key": "two"}\n{"key": "one"}\n')
    config = driver.config()
    for command in (
        ("check", str(config), "--set", f"tasks={{kind: file, path: {tasks}}}"),
        ("run", str(config), "--tasks", str(tasks)),
    ):
        ended = await driver(*command)
        assert ended.code == 2
        assert f"{tasks}:3" in ended.stderr
        assert "'one' is already on line 1" in ended.stderr
        assert ended.stdout == ""
    assert set(driver.files()) == {tasks}


async def test_check_says_what_would_run_and_schema_describes_every_key(driver):
    checked = await driver("check", str(CONFIGS / "w1.yaml"), "--set", "tasks.count=10")
    assert (checked.code, checked.stderr) == (0, "")
    assert "calls: 24 a task (20 items, 4 for findings), 240 in all" in checked.stdout
    assert list(driver.files()) == []

    printed = await driver("schema")
    assert (printed.code, printed.stderr) == (0, "")
    schema = json.loads(printed.stdout)
    assert {"tasks", "sources", "llm", "evaluate", "dimensions", "limits", "store"} <= set(
        schema["properties"]
    )


async def test_a_cluster_that_is_not_there_is_told_in_one_sentence(driver):
    ended = await driver("run", str(driver.config()), "--address", "127.0.0.1:1")
    assert ended.code == 4
    assert "no Ray cluster answers at '127.0.0.1:1'" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def is_running(driver: Driver, program: str) -> bool:
    """Return whether what came of this test's drivers includes a process of that name."""
    names = []
    for process in driver.left_behind():
        with contextlib.suppress(psutil.NoSuchProcess):
            names.append(process.name())
    return program in names


async def test_ctrl_c_while_ray_starts_ends_it_all(driver):
    started = time.monotonic()
    process = await driver.start("run", str(driver.config()), "--address", "local", "--json")
    async with asyncio.timeout(RUN_WITHIN_S):
        while not is_running(driver, "gcs_server"):  # the first of Ray's, seconds before the last
            await asyncio.sleep(0.02)
    stdout, stderr = await interrupted(driver, process, time.monotonic() - started)
    assert stdout == b""
    assert b"Traceback" not in stderr


async def test_ctrl_c_with_calls_in_flight_keeps_what_is_done_and_leaves_no_process(driver):
    with SimulatorProcess("llm", ["--latency-s=3600"]) as endpoint:
        config = driver.config(
            tasks={"kind": "range", "count": 1000},
            sources=[{"name": "wire", "kind": "simulated", "transport": "http"}],
            llm={"endpoints": [{"name": "slow", "base_url": endpoint.url, "model": "sim"}]},
        )
        started = time.monotonic()
        process = await driver.start("run", str(config), "--json", "--run-id=stopped")
        async with asyncio.timeout(RUN_WITHIN_S), aiohttp.ClientSession() as http:
            await process.stderr.readuntil(b"run stopped: 1,000 tasks in this process")
            while True:
                async with http.get(f"{endpoint.url.removesuffix('/v1')}/stats") as answer:
                    if (await answer.json())["in_flight"] > 0:
                        break
                await asyncio.sleep(0.05)
        stdout, stderr = await interrupted(driver, process, time.monotonic() - started, presses=2)
    assert b"Traceback" not in stderr
    assert b"answers in flight have 20 s to arrive; Ctrl-C again gives them up" in stderr
    summary = json.loads(stdout)
    assert summary["state"] == "interrupted"
    assert summary["calls"]["in_doubt"] > 0  # sent, and nobody waited for what came of it
    assert 0 < summary["tasks"]["submitted"] <= 1000
    assert summary["results"] == ["runs/stopped/reports.jsonl"]


async def test_sigterm_ends_a_run_under_chaos_and_the_run_that_it_strikes_as_well(driver):
    process = await driver.start("run", str(driver.config()), "--chaos", "light")
    async with asyncio.timeout(RUN_WITHIN_S):
        await process.stderr.readuntil(b"running undisturbed")
        while not any("run" in command_line(each) for each in children(process)):
            await asyncio.sleep(0.05)
    below = children(process)
    process.terminate()
    async with asyncio.timeout(RUN_WITHIN_S):
        await process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    _, left = await asyncio.to_thread(psutil.wait_procs, below, 10.0)
    assert left == []


def command_line(process: psutil.Process) -> list[str]:
    """Return the command line of a process, nothing of one that has just ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


def children(process: Process) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


async def interrupted(driver: Any, process: Process, begun_s: float, presses: int = 1) -> tuple[bytes, bytes]:
    """Press Ctrl-C, and a second time when the run waits for answers. Return the output from then on.

    Everything must have ended after 5 s; on a slow machine after three times the time of the beginning.
    """
    within_s = max(5.0, 3 * begun_s)
    processes = driver.left_behind()
    assert len(processes) > 1  # the driver, and what it has started by then
    pressed = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    async with asyncio.timeout(RUN_WITHIN_S):
        said = b""
        if presses > 1:
            said = await process.stderr.readuntil(b"gives them up")
            await asyncio.sleep(0.35)  # a signal sooner than 0.3 s after the first is ignored
            os.killpg(process.pid, signal.SIGINT)
        stdout, stderr = await process.communicate()
        stderr = said + stderr
    assert process.returncode == 130, stderr.decode()
    remaining = [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    _, left = await asyncio.to_thread(
        psutil.wait_procs, remaining, max(0.1, pressed + within_s - time.monotonic())
    )
    assert left == []
    assert time.monotonic() - pressed < within_s
    return stdout, stderr


async def test_two_ctrl_c_while_the_actors_start_end_it_within_seconds_and_with_a_cause(driver):
    process = await driver.start("run", str(driver.config()), "--address", "local")
    async with asyncio.timeout(RUN_WITHIN_S):
        await process.stderr.readuntil(b"Ray is up")  # from here on the actors are made
    pressed = time.monotonic()
    for _ in range(2):
        with contextlib.suppress(ProcessLookupError):  # it may have ended after the first
            os.killpg(process.pid, signal.SIGINT)
        await asyncio.sleep(0.4)  # a signal sooner than 0.3 s after the first is ignored
    async with asyncio.timeout(RUN_WITHIN_S):
        _, stderr = await process.communicate()
    assert process.returncode == 130, stderr.decode()
    assert time.monotonic() - pressed < 30.0
    causes = (b"ended immediately by another SIGINT", b"interrupted while", b"interrupted by Ctrl-C")
    assert any(cause in stderr for cause in causes), stderr


async def test_an_endpoint_that_is_not_there_ends_a_run_at_its_start(driver):
    endpoint = {"name": "away", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
    config = driver.config(llm={"endpoints": [endpoint]})
    started = time.monotonic()
    ended = await driver("run", str(config), "--json", "--run-id=early")
    assert ended.code == 1, ended.stderr
    assert "endpoint away cannot be reached" in ended.stderr
    assert "check base_url" in ended.stderr
    assert "continue with: python driver.py resume early" in ended.stderr
    assert ended.stdout == ""
    assert time.monotonic() - started < 30.0
