"""A Ray cluster of one host that outlives the command that started it: `make cluster`, `make cluster-stop`.

    python -m cluster.ray.head start [--directory .headrace/cluster] [--dashboard-port 8265]
    python -m cluster.ray.head stop [--directory .headrace/cluster]

It is ``ray start --head --block`` with a token, and a file that says which process to end. `ray stop` would
end every cluster on the host. Everything asks for the token, except Ray's metrics. The dashboard listens on
loopback.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from actors.core.errors import Blame, HeadraceError
from cluster.ray.environment import CLUSTER, OBJECT_STORE_BYTES, SERVE, with_defaults
from cluster.ray.job_plan import ROOT_VARIABLE
from cluster.ray.private_directory import is_own_file, private_directory, private_root, token_file

STOP_WAIT_S = 30  # how long a stopped job may save its state; Ray's default of 3 s is too short
_UP_WITHIN_S = 90.0
_DOWN_WITHIN_S = 20.0
_LOOK_EVERY_S = 0.1
_UP = "Ray runtime started."  # `ray start` prints it once the node is registered and the dashboard answers


class HeadError(HeadraceError):
    """The cluster did not start, or runs already."""

    blame = Blame.CLUSTER


@dataclass(frozen=True, slots=True)
class Head:
    """A running head. `metrics` is the ``host:port`` of its metrics in Prometheus format."""

    pid: int
    address: str
    dashboard: str
    metrics: str
    token_path: str
    session: str

    def env(self) -> dict[str, str]:
        """Return the environment variables with which jobs are submitted to it."""
        return {
            "RAY_API_SERVER_ADDRESS": self.dashboard,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": self.token_path,
        }


def start(directory: Path, *, dashboard_port: int, root: Path, env: Mapping[str, str]) -> Head:
    """Start a head that keeps its token and log in `directory`, and return it once it accepts jobs.

    `dashboard_port` 0 chooses a free port. Relative paths in the configurations of jobs begin at `root`.
    Raises `HeadError` if the head does not start, and `DirectoryError` if `directory` cannot be private; then
    no process is left.
    """
    private_directory(directory)
    known = running(directory)
    if known is not None:
        raise HeadError(f"a cluster runs already: {known.dashboard}; stop it with `make cluster-stop`")
    if dashboard_port and not _is_free(dashboard_port):
        raise HeadError(f"port {dashboard_port} is in use: name another for the dashboard, or 0 for any")
    token_path = token_file(directory)
    gcs, client, agent, metrics, free = _free_ports(5)
    dashboard_port = dashboard_port or free
    session = tempfile.mkdtemp(prefix="c-", dir=private_root())  # Ray's sockets need a short path
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"),
        *("--temp-dir", session, "--object-store-memory", str(OBJECT_STORE_BYTES)),
        *("--include-dashboard", "true", "--dashboard-host", "127.0.0.1"),
        *("--dashboard-port", str(dashboard_port), "--dashboard-agent-listen-port", str(agent)),
        *("--port", str(gcs), "--ray-client-server-port", str(client)),
        *("--metrics-export-port", str(metrics)),
    ]
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path),
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S),
        # Ray otherwise waits 30 s for Serve to move its replicas to another node, and there is none.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        ROOT_VARIABLE: str(root.absolute()),
    }
    log = directory / "head.log"
    head = Head(
        _spawn(command, {**env, **with_defaults(CLUSTER, env), **with_defaults(SERVE, env), **own}, log),
        f"{_own_address()}:{gcs}",
        f"http://127.0.0.1:{dashboard_port}",
        f"127.0.0.1:{metrics}",
        str(token_path),
        session,
    )
    (directory / "cluster.json").write_text(json.dumps(asdict(head)), encoding="utf-8")
    try:
        _wait_until_up(head.pid, log)
    except BaseException:
        stop(directory)
        raise
    return head


def stop(directory: Path) -> bool:
    """End the cluster that `start` started in `directory`. Return False if none runs."""
    head = running(directory)
    if head is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(head.pid, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_WITHIN_S
    while not _has_ended(head.pid):
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(head.pid, signal.SIGKILL)
            break
        time.sleep(_LOOK_EVERY_S)
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
    return head if head.session.encode() in command else None  # the system uses process ids again


def _spawn(command: list[str], env: Mapping[str, str], log: Path) -> int:
    """Start a process that outlives this one and its terminal, and return its id."""
    # Otherwise the cluster would hold the locks and pipes of the command that started it, as long as it runs.
    inherited = [int(name) for name in os.listdir("/proc/self/fd") if int(name) > 2]  # noqa: PTH208 - names only
    for descriptor in inherited:
        with contextlib.suppress(OSError):  # the descriptor of the listing itself
            os.set_inheritable(descriptor, False)
    null, out = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        # subprocess.Popen warns of a process that is left running.
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


def _wait_until_up(pid: int, log: Path) -> None:
    deadline = time.monotonic() + _UP_WITHIN_S
    while _UP not in log.read_text(encoding="utf-8", errors="replace"):
        if _has_ended(pid):
            raise HeadError(f"Ray ended while it started; see {log}")
        if time.monotonic() > deadline:
            raise HeadError(f"Ray did not start within {_UP_WITHIN_S:.0f} s; see {log}")
        time.sleep(_LOOK_EVERY_S)


def _has_ended(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # a child of this process would stay a zombie
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_ports(count: int) -> list[int]:
    """Return ports that are free now: Ray's default ports would be those of another cluster on the host."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


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
        _say("the cluster has ended" if stop(given.directory) else "no cluster runs")
        return 0
    try:
        head = start(given.directory, dashboard_port=given.dashboard_port, root=Path.cwd(), env=os.environ)
    except HeadraceError as error:
        _say(str(error))
        return 4
    exports = " ".join(f"{name}={value}" for name, value in head.env().items())
    _say(
        f"a Ray cluster runs: {head.dashboard} (it asks for the token in {head.token_path})\n"
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
