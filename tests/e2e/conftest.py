"""Fixtures for tests with processes and sockets: the command line, a scripted server, simulated endpoints.

Each driver is a separate process with its own home directory and environment. Every process that it starts,
including those of Ray and the simulators, inherits a mark in its environment. A test ends when no process
with its mark is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web

from cluster.ray.head import Head, start, stop
from simulators.process import SimulatorProcess
from tests.e2e.support.database_servers import PostgresServer, RedisServer
from tests.e2e.support.scripted_server import SPOKEN, ScriptedServer, SpokenDialect, open_endpoint
from tests.e2e.support.simulated_endpoint import (
    SimulatedEndpoint,
    client_session,
    options_of_endpoint,
    served_here,
)

ROOT = Path(__file__).resolve().parents[2]
RUN_WITHIN_S = 100.0  # start-up included, on a shared machine
_GONE_WITHIN_S = 60.0  # a starting worker tries ten times to connect, a second apart, before it ends
MARK = "HEADRACE_TEST"
CLUSTERS_KEY = "sk-canary-of-the-cluster-77aa01"


@dataclass(frozen=True, slots=True)
class Finished:
    """The result of a driver: its exit code, its output, and its duration."""

    code: int
    stdout: str
    stderr: str
    took_s: float

    def summary(self) -> dict[str, Any]:
        """Return the document on stdout; anything else on stdout fails the test."""
        document = json.loads(self.stdout)
        assert isinstance(document, dict)
        return document


class Driver:
    """Starts drivers in the directory of one test, and finds every process that they started."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = directory / "home"
        self.home.mkdir()
        self.mark = secrets.token_hex(8)
        self._started: list[Process] = []

    async def start(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        through: Sequence[str] = (),
        stdin: int = asyncio.subprocess.DEVNULL,
    ) -> Process:
        """Start a driver as the leader of a process group, as a terminal does for Ctrl-C.

        `through` is a command that runs the driver, such as ``setpriv``.
        """
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        process = await asyncio.create_subprocess_exec(
            *through,
            sys.executable,
            str(ROOT / "driver.py"),
            *arguments,
            cwd=self.directory,
            env={**inherited, "HOME": str(self.home), MARK: self.mark, **(env or {})},
            stdin=stdin,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    async def __call__(
        self, *arguments: str, env: Mapping[str, str] | None = None, through: Sequence[str] = ()
    ) -> Finished:
        """Run a driver to its end."""
        started = time.monotonic()
        return await self.finished(await self.start(*arguments, env=env, through=through), started)

    async def finished(self, process: Process, started: float) -> Finished:
        """Wait for the end of a started driver, and return its result."""
        async with asyncio.timeout(RUN_WITHIN_S):
            stdout, stderr = await process.communicate()
        took_s = time.monotonic() - started
        assert process.returncode is not None
        return Finished(process.returncode, stdout.decode(), stderr.decode(), took_s)

    def on(self, head: Head) -> dict[str, str]:
        """Return an environment in which drivers use a running cluster instead of starting one each.

        HEADRACE_ROOT keeps their files in this directory: relative paths would start at the cluster's.
        """
        return {**head.env(), "RAY_ADDRESS": head.address, "HEADRACE_ROOT": str(self.directory)}

    async def run(self, config: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Finished:
        """Run a batch on the local engine."""
        return await self("run", str(config), "--engine=local", *arguments, env=env)

    def left_behind(self) -> list[psutil.Process]:
        """Return the processes of this test's drivers that still run."""
        return marked(self.mark, {process.pid for process in self._started})

    async def end_all(self) -> list[str]:
        """Wait until every process has ended; kill those that have not, and return their command lines."""
        command_lines = []
        for process in await asyncio.to_thread(still_running, self.left_behind(), _GONE_WITHIN_S):
            with contextlib.suppress(psutil.NoSuchProcess):
                command_lines.append(" ".join(process.cmdline())[:200])
                process.send_signal(signal.SIGKILL)
        for driver in self._started:
            await driver.wait()
        return command_lines

    def config(self, **sections: Any) -> Path:
        """Write a small configuration, in which `sections` replace whole sections. JSON is valid YAML."""
        document = {
            "name": "small",
            "tasks": {"kind": "range", "count": 5},
            "sources": [{"name": "wire", "kind": "simulated", "items": 2, "latency_s": 0.01}],
            "llm": {
                "clients": 1,  # each process takes a second to start
                "simulator": {"latency_s": 0.02, "ledger": str(self.directory / "ledger.jsonl")},
            },
            "evaluate": {
                "prompt": "Rate this about {key}: {text}",
                "output": {"quality": {"type": "number", "min": 0, "max": 1}, "note": {"type": "string"}},
            },
            "dimensions": [{"name": "quality", "field": "quality", "synthesize": "Sum up {key}: {evidence}"}],
            "cluster": {"dashboard": False},  # saves a process in each run
            **sections,
        }
        path = self.directory / "config.yaml"
        path.write_text(json.dumps(document, indent=1))
        return path

    def results(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Return the lines of a run's result file by key; a key that comes twice fails the test."""
        text = (self.directory / "runs" / run_id / "reports.jsonl").read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        by_key = {line["key"]: line for line in lines}
        assert len(by_key) == len(lines)
        return by_key

    def files(self) -> dict[Path, bytes]:
        """Return all files below the directory, except the configuration."""
        paths = [path for path in self.directory.rglob("*") if path.is_file() and path.name != "config.yaml"]
        return {path: path.read_bytes() for path in paths}


def marked(mark: str, sessions: Collection[int] = ()) -> list[psutil.Process]:
    """Return the running processes that inherited this mark or belong to one of these sessions.

    Ray's agents overwrite their arguments and the first thousand bytes of their environment, which may hold
    the mark. They stay in the session of the process that started the cluster.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError):
            is_ours = os.getsid(process.pid) in sessions or process.environ().get(MARK) == mark
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def was_orphaned_agent(process: psutil.Process) -> bool:
    """Return whether the process is an agent of Ray whose raylet has ended, and kill it in that case.

    Such an agent reports to the cluster's head before it ends. If the head was killed, too, it retries for
    more than a minute.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        if process.ppid() == 1 and re.match(r"ray::\w+Agent\b", " ".join(process.cmdline())):
            process.kill()
            return True
    return False


def still_running(processes: list[psutil.Process], within_s: float) -> list[psutil.Process]:
    """Return which of these processes have not ended in time; orphaned agents of Ray are killed meanwhile."""
    left, deadline = processes, time.monotonic() + within_s
    while left and time.monotonic() < deadline:
        left = [each for each in left if not was_orphaned_agent(each)]
        _, left = psutil.wait_procs(left, 1.0)
    return left


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[Driver]:
    made = Driver(tmp_path)
    yield made
    assert await made.end_all() == []  # no process of a driver is left


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """Start a Ray cluster with a dashboard, a token, and a key for endpoints, until the tests end."""
    directory, mark = tmp_path_factory.mktemp("head"), secrets.token_hex(8)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    own = {"HOME": str(directory), MARK: mark, "CLUSTERS_KEY": CLUSTERS_KEY}
    often = {"RAY_metrics_report_interval_ms": "1000"}  # 10 s otherwise
    running = start(directory, dashboard_port=0, root=directory, env={**inherited, **own, **often})
    yield running
    assert stop(directory)
    _, left = psutil.wait_procs(marked(mark, {running.pid}), _GONE_WITHIN_S)
    for process in left:
        process.kill()
    assert left == []


@pytest.fixture
async def server():
    server = ScriptedServer()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield server
    await runner.cleanup()


@pytest.fixture
async def endpoint(server):
    async with open_endpoint(server.url) as endpoint:
        yield endpoint


@pytest.fixture(params=SPOKEN)
async def spoken(server, request):
    """Return an endpoint of each dialect. A test that waits takes fewer of them, as its parameters."""
    async with open_endpoint(server.url, dialect=request.param) as endpoint:
        yield SpokenDialect(request.param, endpoint)


@pytest.fixture
async def start_llm(tmp_path):
    """Start endpoints until the test ends. Their statistics must equal the sums of their ledgers."""
    running: list[SimulatedEndpoint] = []

    async def start(*arguments: str, faults: list[dict[str, Any]] | None = None) -> SimulatedEndpoint:
        ledger, options = options_of_endpoint(tmp_path, len(running), arguments, faults)
        process = SimulatorProcess("llm", options, start_s=200.0)
        process.start()
        running.append(SimulatedEndpoint(process.url, client_session(), ledger, process))
        return running[-1]

    yield start
    for one in running:
        try:
            if one.process.alive:
                await one.check_books()
        finally:
            await one.session.close()
            one.process.stop()


@pytest.fixture
async def start_llm_here(tmp_path):
    """Start endpoints like `start_llm`, but in this process, where they start immediately."""
    async with AsyncExitStack() as running:
        started: list[SimulatedEndpoint] = []

        async def start(*arguments: str, faults: list[dict[str, Any]] | None = None) -> SimulatedEndpoint:
            ledger, options = options_of_endpoint(tmp_path, len(started), arguments, faults)
            url = await running.enter_async_context(served_here(options))
            session = await running.enter_async_context(client_session())
            started.append(SimulatedEndpoint(url, session, ledger))
            return started[-1]

        yield start
        for one in started:
            await one.check_books()
