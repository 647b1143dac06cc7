"""Tells Prometheus which jobs Ray reports as running although their runs have no live owner.

    python -m cluster.ray.ghost_jobs --config CONFIG [--port 9477]

After a loss of its head, Ray reports the jobs from before the loss as running indefinitely. Only Ray's list
of jobs and the store together show that, and no actor of such a run is left to compare them. This process
compares them when Prometheus asks. It needs the environment of `submit`, and the store of `CONFIG`.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from actors.core.errors import HeadraceError
from actors.journal.stores.base import Store
from cluster.config.loading import loaded
from cluster.ray.job_paths import below_root
from cluster.ray.jobs import Jobs
from cluster.records.owner_watch import observed
from cluster.records.records import opened_store

_ADDRESS = "RAY_API_SERVER_ADDRESS"
_TEMPLATE = """\
# HELP headrace_running_jobs Jobs of runs that Ray reports as running.
# TYPE headrace_running_jobs gauge
headrace_running_jobs {running}
# HELP headrace_ghost_jobs Of those, jobs whose runs have shown no sign of life for a lease.
# TYPE headrace_ghost_jobs gauge
headrace_ghost_jobs {ghosts}
"""


class GhostWatch:
    """Decides from repeated looks which runs are silent: their heartbeat is the same after a whole lease.

    The looks may be far apart: an owner writes several heartbeats in a lease.
    """

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self._since: dict[str, tuple[Hashable, float]] = {}  # by job: its sign of life, and when it was new

    def look(self, signs: Mapping[str, Hashable], now: float) -> list[str]:
        """Return the silent ones of the jobs with these signs of life, as seen at `now`."""
        before, self._since = self._since, {}
        for job, sign in signs.items():
            known = before.get(job)
            self._since[job] = known if known is not None and known[0] == sign else (sign, now)
        return [job for job, (_, since) in self._since.items() if now - since > self._lease_s]


def signs_of_life(store: Store, runs: Mapping[str, str]) -> dict[str, Hashable]:
    """Return the sign of life of each job whose run is in the store. `runs` has the run of each job."""
    seen = {job: observed(store, run_id) for job, run_id in runs.items()}
    return {job: (each.writer, each.heartbeat) for job, each in seen.items() if each.writer}


def measured(running: int, ghosts: int) -> str:
    """Return the metrics in Prometheus' text format."""
    return _TEMPLATE.format(running=running, ghosts=ghosts)


def reader(config: Path) -> Callable[[], str]:
    """Return a function that reads the metrics of the jobs whose runs are in the store of `config`."""
    settings = below_root(loaded(config, env=os.environ), os.environ).store
    jobs, watch = Jobs(os.environ.get(_ADDRESS, "http://127.0.0.1:8265")), GhostWatch(settings.lease_s)
    one_at_a_time = threading.Lock()

    def read() -> str:
        with one_at_a_time, opened_store(settings.settings()) as store:
            runs = jobs.running()
            return measured(len(runs), len(watch.look(signs_of_life(store, runs), time.monotonic())))

    return read


def server(read: Callable[[], str], host: str, port: int) -> ThreadingHTTPServer:
    """Return a server that answers `GET /metrics` with what `read` returns, or 503 with its error."""

    class _Metrics(BaseHTTPRequestHandler):
        timeout = 10.0

        def do_GET(self) -> None:
            try:
                status, text = (200, read()) if self.path == "/metrics" else (404, "see /metrics\n")
            except HeadraceError as error:  # Prometheus shows the target as down
                status, text = 503, f"{error}\n"
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing: Prometheus asks every few seconds."""

    return ThreadingHTTPServer((host, port), _Metrics)


def _main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", type=Path, required=True, help="names the store of the runs")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9477)
    given = parser.parse_args()
    try:
        read = reader(given.config)
    except HeadraceError as error:
        sys.stderr.write(f"{error}\n")
        return 4
    serving = server(read, given.host, given.port)
    sys.stderr.write(f"metrics of jobs: http://{given.host}:{serving.server_port}/metrics\n")
    serving.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(_main())
