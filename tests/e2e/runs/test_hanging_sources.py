"""Sources whose code blocks, hangs or raises anything: the run goes on, ends, and obeys Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

_MODULE = """
import time

class Plain:
    def fetch(self, task):
        time.sleep(300)

class Coroutine:
    async def fetch(self, task):
        time.sleep(300)

class Good:
    def fetch(self, task):
        return ["good"]
"""
_ENDS_WITHIN_S = 30.0  # the sources hang for minutes
_RUN_WITHIN_S = 60


def sources(driver, cls, timeout_s):
    (driver.directory / "hanging.py").write_text(_MODULE)
    hung = {"name": "hung", "target": f"hanging:{cls}", "timeout_s": timeout_s, "retries": 0, "outage_s": 0}
    good = {"name": "good", "target": "hanging:Good"}
    return [{"kind": "python", **hung}, {"kind": "python", **good}]


@pytest.mark.parametrize("cls", ["Plain", "Coroutine"])
async def test_a_run_ends_although_threads_of_a_source_hang_and_other_sources_answer(driver, cls):
    config = driver.config(sources=sources(driver, cls, 1.0), tasks={"kind": "range", "count": 20})
    env = {"PYTHONPATH": str(driver.directory)}
    process = await driver.start("run", str(config), "--engine=local", "--run-id=hung", "--json", env=env)
    async with asyncio.timeout(_RUN_WITHIN_S):
        stdout = await process.stdout.read()  # the process has written its summary
        ended = time.monotonic()
        assert await process.wait() == 3, stdout
    assert time.monotonic() - ended < _ENDS_WITHIN_S
    for line in driver.results("hung").values():
        assert line["sources"]["good"] == {"items": 1, "error": None}
        assert "no answer within 1.0 s" in line["sources"]["hung"]["error"]


@pytest.mark.parametrize("cls", ["Plain", "Coroutine"])
async def test_ctrl_c_ends_a_run_whose_source_hangs(driver, cls):
    config = driver.config(sources=sources(driver, cls, 120.0))
    env = {"PYTHONPATH": str(driver.directory)}
    process = await driver.start("run", str(config), "--engine=local", "--run-id=hung", env=env)
    async with asyncio.timeout(_RUN_WITHIN_S):
        await process.stderr.readuntil(b"tasks ended")
        pressed = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = await process.communicate()
    assert process.returncode == 130, stderr.decode()
    assert time.monotonic() - pressed < _ENDS_WITHIN_S
