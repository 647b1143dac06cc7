"""A Ray cluster of one host that outlives the command that started it: `make cluster`, `make cluster-stop`.

    python -m cluster.ray.head start [--directory .headrace/cluster] [--dashboard-port 8265]
    python -m cluster.ray.head stop [--directory .headrace/cluster]

Rule: everything asks for the token, but Ray's metrics, which never do. The dashboard listens on loopback.
Stopping ends the processes of this cluster and of no other on the host.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import stat
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from actors.core.errors import Blame, HeadraceError
from cluster.ray import environment as ray_environment
from cluster.ray.private_place import is_own_file, private_directory, private_root

STOP_WAIT_S = 30  # what a stopped job has to save its state; Ray's own 3 s would cut it off
_UP_WITHIN_S = 90.0
_DOWN_WITHIN_S = 20.0
_LOOK_EVERY_S = 0.2
_OBJECT_STORE_BYTES = 100 * 1024 * 1024  # only small values travel


class HeadError(HeadraceError):
    """The cluster did not come up, or is up already."""

    blame = Blame.CLUSTER


@dataclass(frozen=True, slots=True)
class Head:
    """A running head: what it takes to use and to end it. `metrics` is ``host:port`` of Prometheus text."""

    pid: int
    address: str
    dashboard: str
    metrics: str
    token_path: str
    session: str

    def env(self) -> dict[str, str]:
        """Return what the environment of whoever submits jobs to it has to hold."""
        return {
            "RAY_API_SERVER_ADDRESS": self.dashboard,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": self.token_path,
        }


def start(directory: Path, *, dashboard_port: int, root: Path, env: Mapping[str, str]) -> Head:
    """Start a head that keeps its token and log in `directory`; return when it takes jobs.

    `dashboard_port` 0 is any free one. Jobs keep what they are told to keep at relative paths below `root`.
    Raises `HeadError` where it does not come up, and `PlaceError` where `directory` cannot be private; then
    nothing is left running.
    """
    private_directory(directory)
    known = running(directory)
    if known is not None:
        raise HeadError(f"a cluster is up already: {known.dashboard}; stop it with `make cluster-stop`")
    if dashboard_port and not _is_free(dashboard_port):
        raise HeadError(f"port {dashboard_port} is taken: name another for the dashboard, or 0 for any")
    token_path = _token(directory)
    ports = _free_ports(9)
    dashboard_port = dashboard_port or ports[7]
    session = tempfile.mkdtemp(prefix="c-", dir=private_root())  # a short path: Ray's sockets lie below it
    pid = _spawn(
        _command(ports, dashboard_port, session),
        {
            **env,
            **ray_environment.for_cluster(env),
            **ray_environment.for_serve(env, Path(session), ports[8]),
            **_environment(env, ports, token_path, root),
        },
        directory / "head.log",
    )
    dashboard = f"http://127.0.0.1:{dashboard_port}"
    head = Head(
        pid,
        f"{_own_address()}:{ports[0]}",
        dashboard,
        f"127.0.0.1:{ports[4]}",
        str(token_path),
        session,
    )
    state = directory / "cluster.json"
    state.write_text(json.dumps(asdict(head)), encoding="utf-8")
    try:
        _wait_until_up(pid, dashboard, token_path.read_text(encoding="utf-8"), directory / "head.log")
    except BaseException:
        stop(directory)
        raise
    return head


def stop(directory: Path) -> bool:
    """End the cluster that `start` left in `directory`. Return False where there is none."""
    head = running(directory)
    if head is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(head.pid, signal.SIGTERM)
    if not _ends(head.pid, _DOWN_WITHIN_S):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)
    (directory / "cluster.json").unlink(missing_ok=True)
    shutil.rmtree(head.session, ignore_errors=True)
    return True


def running(directory: Path) -> Head | None:
    """Return the head that was started in `directory` and still runs."""
    state = directory / "cluster.json"
    if not is_own_file(state):
        return None  # it says which process to end, and which directory to remove
    try:
        head = Head(**json.loads(state.read_text(encoding="utf-8")))
        command = Path(f"/proc/{head.pid}/cmdline").read_bytes()
    except (OSError, ValueError, TypeError):
        return None
    return head if head.session.encode() in command else None  # a process id comes again in time


# ---- starting --------------------------------------------------------------------------------------------


def _command(ports: list[int], dashboard_port: int, session: str) -> list[str]:
    gcs, client, agent, agent_grpc, metrics, *_ = ports
    return [
        sys.executable,
        *("-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"),
        *("--temp-dir", session),
        *("--include-dashboard", "true", "--dashboard-host", "127.0.0.1"),
        *("--object-store-memory", str(_OBJECT_STORE_BYTES)),
        *("--port", str(gcs), "--ray-client-server-port", str(client)),
        *("--dashboard-port", str(dashboard_port)),
        *("--dashboard-agent-listen-port", str(agent), "--dashboard-agent-grpc-port", str(agent_grpc)),
        *("--metrics-export-port", str(metrics)),
    ]


def _environment(env: Mapping[str, str], ports: list[int], token_path: Path, root: Path) -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S),
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "2",
        "AUTOSCALER_METRIC_PORT": str(ports[5]),
        "DASHBOARD_METRIC_PORT": str(ports[6]),
        "HEADRACE_ROOT": str(root.absolute()),
    }


def _spawn(command: list[str], env: Mapping[str, str], log: Path) -> int:
    """Start a process that outlives this one and its terminal, and return its id."""
    null, out = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        # No subprocess.Popen: that takes it for a mistake to leave a process running.
        return os.posix_spawn(
            command[0],
            command,
            env,
            setsid=True,
            file_actions=[(os.POSIX_SPAWN_DUP2, null, 0)] + [(os.POSIX_SPAWN_DUP2, out, to) for to in (1, 2)],
        )
    finally:
        os.close(null)
        os.close(out)


def _wait_until_up(pid: int, dashboard: str, token: str, log: Path) -> None:
    # Ray tells nobody when it is up, and its dashboard serves before its node can run anything: so look.
    deadline = time.monotonic() + _UP_WITHIN_S
    answered = False
    while True:
        with contextlib.suppress(OSError, ValueError):
            if _has_processors(_asked(f"{dashboard}/api/v0/nodes", token)):
                return
            answered = True
        if _has_ended(pid):
            raise HeadError(f"Ray ended while it started; see {log}")
        if time.monotonic() > deadline:
            late = "no node of the cluster was ready" if answered else "the dashboard did not answer"
            raise HeadError(f"{late} within {_UP_WITHIN_S:.0f} s; see {log}")
        time.sleep(_LOOK_EVERY_S)


def _asked(url: str, token: str) -> Any:
    """Return the JSON document at `url`. Raises `OSError` or `ValueError` where there is none."""
    request = urllib.request.Request(url)  # noqa: S310 - http to loopback
    request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - as above
        return json.load(answer)


def _has_processors(listed: Any) -> bool:
    """Return whether Ray's list of nodes has one that is alive and has processors."""
    try:
        nodes = listed["data"]["result"]["result"]
        return any(node["state"] == "ALIVE" and node["resources_total"].get("CPU") for node in nodes)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("not a list of nodes") from error


def _ends(pid: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if _has_ended(pid):
            return True
        time.sleep(_LOOK_EVERY_S)
    return False


def _has_ended(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # where it is a child of this process, it would stay a zombie
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def _token(directory: Path) -> Path:
    path = (directory / "token").absolute()
    if not is_own_file(path) or stat.S_IMODE(path.stat().st_mode) & 0o077:
        path.unlink(missing_ok=True)  # others may have placed it, or have read it
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    return path


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_ports(count: int) -> list[int]:
    """Return ports that are free now: Ray takes 0 for none of these."""
    with contextlib.ExitStack() as held:
        return list(_bound(held, count))


def _bound(held: contextlib.ExitStack, count: int) -> Iterator[int]:
    for _ in range(count):
        one = held.enter_context(socket.socket())
        one.bind(("", 0))
        yield one.getsockname()[1]


def _own_address() -> str:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("192.0.2.1", 9))  # sends nothing: asks which address would be used
        return str(one.getsockname()[0])
    return "127.0.0.1"


# ---- the command -----------------------------------------------------------------------------------------


def _main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("start", "stop"))
    parser.add_argument("--directory", type=Path, default=Path(".headrace/cluster"))
    parser.add_argument("--dashboard-port", type=int, default=8265)
    given = parser.parse_args()
    if given.what == "stop":
        _say("stopped" if stop(given.directory) else "no cluster is up")
        return 0
    try:
        head = start(given.directory, dashboard_port=given.dashboard_port, root=Path.cwd(), env=os.environ)
    except HeadraceError as error:
        _say(str(error))
        return 4
    exports = " ".join(f"{name}={value}" for name, value in head.env().items())
    _say(
        f"a Ray cluster is up: {head.dashboard} (it asks for the token in {head.token_path})\n"
        f"Prometheus finds its targets in {head.session}/prom_metrics_service_discovery.json\n\n"
        f"    export {exports}\n"
        "    python driver.py submit configs/w1.yaml --wait\n"
        "    ray job submit --working-dir . -- python driver.py run configs/w1.yaml\n\n"
        "stop it with: make cluster-stop"
    )
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(_main())
