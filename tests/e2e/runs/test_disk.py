"""Whole runs on a disk that is full, may not be written, or is slow: told clearly, and nothing is lost.

The disk is a real one in each case. Full: a small file system in memory, filled to its last byte; where none
can be mounted, the kernel refuses to let the journal's files grow. Read-only: by the directory's rights, to
which a root without `CAP_DAC_OVERRIDE` is held, too. Slow: the calls by which SQLite has the disk sync take
longer, which a few lines of C between SQLite and the system see to; nothing of Headrace knows of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from actors.core.journal.reads import read_attempts
from cluster.records.records import CODEC, opened
from tests.e2e.conftest import RUN_WITHIN_S, Driver
from tests.e2e.support.simulated_endpoint import asked_again

pytestmark = pytest.mark.timeout(300)  # two drivers, and the half minute that a store is waited for

IN_FLIGHT = 8


def config(driver: Driver, url: str, store: Path, tasks: int) -> Path:
    books = {"name": "books", "base_url": url, "model": "sim", "max_in_flight": IN_FLIGHT}
    return driver.config(
        tasks={"kind": "range", "count": tasks},
        llm={"endpoints": [books], "clients": 2},
        store={"kind": "sqlite", "path": str(store), "lease_s": 1.0, "give_up_s": 10},
    )


async def billed_by_key(endpoint: Any) -> Counter[str]:
    return Counter(entry.key for entry in (await endpoint.ledger()).entries if entry.billed)


# ---- full ------------------------------------------------------------------------------------------------


class SmallDisk:
    """A file system of its own, in memory."""

    said = "the disk is full: free some space"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, driver: Driver) -> None:
        """Take what room there is left, to the last page."""
        with contextlib.suppress(OSError), self._filler.open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))

    def free(self, driver: Driver) -> None:
        self._filler.unlink()


class LimitedFiles:
    """A directory in which the run's process may not have its files grow, by order of the kernel."""

    said = "the disk refused to read or write: check its health, its quota and free space"

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, driver: Driver) -> None:
        self._limit(driver, (self.path / "state.db-wal").stat().st_size)

    def free(self, driver: Driver) -> None:
        self._limit(driver, resource.RLIM_INFINITY)

    @staticmethod
    def _limit(driver: Driver, most: int) -> None:
        for one in driver.left_behind():
            if "driver.py" in " ".join(one.cmdline()):
                resource.prlimit(one.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk | LimitedFiles]:
    """Return a disk that can be filled. Asked for before the driver: it goes when nobody is on it."""
    path = tmp_path / "disk"
    path.mkdir()
    if not _done("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(path)):
        yield LimitedFiles(path)
        return
    yield SmallDisk(path)
    assert _done("umount", "--lazy", str(path))  # a process that ends may be on it still


def _done(*command: str) -> bool:
    """Return whether there is such a command, and it did what it was to do."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603 - our own words


async def test_a_full_disk_is_waited_for_then_ends_a_run_clearly_and_with_room_it_goes_on(
    disk, driver, start_llm
):
    tasks, calls = 60, 60 * 3
    endpoint = await start_llm("--latency-s=0.3")
    path = config(driver, endpoint.process.url, disk.path / "state.db", tasks)
    started = time.monotonic()
    process = await driver.start("run", str(path), "--json", "--run-id=full")
    await endpoint.until(lambda stats: stats["billed"] >= calls // 4, RUN_WITHIN_S)

    # For a while: the journal says so once, waits, and goes on.
    disk.fill(driver)
    async with asyncio.timeout(60):
        await process.stderr.readuntil(f"cannot be used now: {disk.said}".encode())
    told = (await endpoint.stats())["billed"]
    disk.free(driver)
    # More than what was on its way, and reports of it: a run whose journal refused something ends instead.
    enough = max(told + 3 * IN_FLIGHT, calls // 2)
    await endpoint.until(lambda stats: stats["billed"] >= enough, 60)
    await endpoint.control(latency_s=3.0)  # so that the first reports come before the last calls everywhere
    await endpoint.until(lambda stats: stats["billed"] >= enough + 2 * IN_FLIGHT, 60)
    assert process.returncode is None, "it was over though the trouble had passed"

    # For good.
    disk.fill(driver)
    await endpoint.control(latency_s=0.3)
    ended = await driver.finished(process, started)
    assert ended.code == 1, ended.stderr
    assert ended.stdout == ""
    assert f"the store {disk.path}/state.db cannot be used now: {disk.said}" in ended.stderr
    assert f"continue with: python driver.py resume full --config {path}" in ended.stderr
    assert "Traceback" not in ended.stderr
    await asyncio.to_thread(psutil.wait_procs, driver.left_behind(), 10)
    before = await endpoint.until(lambda stats: stats["in_flight"] == 0)

    disk.free(driver)
    shown = await driver("results", "full", f"--config={path}")
    reported = {line["key"]: line for line in map(json.loads, shown.stdout.splitlines())}
    assert 0 < len(reported) < tasks
    await endpoint.control(latency_s=0.02)
    resumed = await driver("resume", "full", f"--config={path}", "--json")
    assert resumed.code == 0, resumed.stderr
    billed = await billed_by_key(endpoint)
    assert len(billed) == calls  # none is missing
    assert set(billed.values()) == {1}
    after = await endpoint.stats()
    assert asked_again(before, after) <= 2 * IN_FLIGHT  # as after a kill: see test_resume.py
    summary = resumed.summary()
    assert summary["tasks"]["succeeded"] == tasks
    assert summary["calls"]["billed"] <= calls <= summary["calls"]["billed"] + summary["calls"]["in_doubt"]
    results = driver.results("full")
    assert len(results) == tasks
    assert {key: results[key] for key in reported} == reported  # what was told stands


# ---- read-only -------------------------------------------------------------------------------------------


def held_to_rights() -> tuple[str, ...]:
    """Return what to start a process with, so that rights of files hold for it as for anybody."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root, and no setpriv (util-linux) to have rights of files hold for it: NOT TESTED HERE")
    return ("setpriv", "--bounding-set=-dac_override")


async def test_a_directory_that_may_not_be_written_is_told_at_once_and_nothing_is_asked(driver, start_llm):
    endpoint = await start_llm()
    kept = driver.directory / "kept"
    kept.mkdir()
    path = config(driver, endpoint.process.url, kept / "state.db", tasks=5)
    kept.chmod(0o555)
    ended = await driver("run", str(path), "--json", through=held_to_rights())
    assert ended.code == 1, ended.stderr
    assert ended.stdout == ""
    assert f"{kept}/state.db" in ended.stderr
    assert "Check the directory and its permissions" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("Check the directory") <= 2  # the journal tried once; the driver tells
    assert "go on" not in ended.stderr  # with what was never begun
    assert (await endpoint.stats())["requests"] == 0
    assert list(kept.iterdir()) == []


# ---- slow ------------------------------------------------------------------------------------------------

SYNC_S = 0.2
SLOW_SYNC = f"""
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void take_long(int file) {{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return;
    path[length] = 0;
    if (strstr(path, "/state.db")) usleep({int(SYNC_S * 1e6)});
}}

int fsync(int file) {{ take_long(file); return syscall(SYS_fsync, file); }}
int fdatasync(int file) {{ take_long(file); return syscall(SYS_fdatasync, file); }}
"""


@pytest.fixture(scope="module")
def slow_disk(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment in which the disk takes its time to sync a store."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler to make the disk slow with: NOT TESTED HERE")
    directory = tmp_path_factory.mktemp("slow")
    (directory / "slow.c").write_text(SLOW_SYNC)
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", "slow.so", "slow.c"]
    subprocess.run(command, check=True, cwd=directory)  # noqa: S603 - our own words
    return {"LD_PRELOAD": str(directory / "slow.so")}


async def sent_after(path: Path, endpoint: Any, tasks: Iterable[str]) -> list[float]:
    """Return how long after the journal took it up each attempt reached the endpoint, in seconds."""
    with opened(path, {}) as store:
        views = [view for task in tasks for view in read_attempts(store, CODEC, "slow", task)]
    began_at = {view.call_key: view.began_at for view in views}
    return [entry.t_in - began_at[entry.key] for entry in (await endpoint.ledger()).entries]


async def test_on_a_disk_that_syncs_slowly_a_run_goes_on_at_its_pace(driver, start_llm, slow_disk):
    """A unit test of the journal shows that its metrics have the duration of commits."""
    tasks = 16
    endpoint = await start_llm()
    path = config(driver, endpoint.process.url, driver.directory / "state.db", tasks)
    ended = await driver("run", str(path), "--json", "--run-id=slow", env=slow_disk)
    assert ended.code == 0, ended.stderr
    summary = ended.summary()
    assert summary["tasks"]["succeeded"] == tasks
    assert summary["calls"]["billed"] == summary["calls"]["planned"] == tasks * 3
    assert summary["calls"]["in_doubt"] == 0  # slow is not dead: nothing was given up, or asked again
    assert set((await billed_by_key(endpoint)).values()) == {1}
    assert (await endpoint.stats())["requests"] == tasks * 3
    results = driver.results("slow")
    assert len(results) == tasks
    assert min(await sent_after(path, endpoint, results)) >= SYNC_S  # the intent was on the disk by then
