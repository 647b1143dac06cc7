"""The time from `driver.py run` to the first report, in parts.

The child process runs `driver.py` and notes the end of each part. It runs with a cluster of its own, and on a
cluster that is running.
"""

from __future__ import annotations

import json
import os
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.results import Table

OWN, RUNNING = "a cluster of its own", "a running cluster"
_PARTS = ("imports", "Ray, and simulators", "actors", "first report", "the end")
_WITHIN_S = 180.0
_ROOT = Path(__file__).parents[2]


def measured(starts: int) -> dict[str, dict[str, float]]:
    """Return the median seconds of each part in both cases. The first start of each is a warm-up."""
    from cluster.ray.session import session  # noqa: PLC0415 - the child must not load Ray here

    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # users have compiled modules
    stages = {OWN: _medians([_start([]) for _ in range(starts + 1)][1:])}
    with session("local"):
        import ray  # noqa: PLC0415 - same

        address = ray.get_runtime_context().gcs_address
        stages[RUNNING] = _medians([_start(["--address", address]) for _ in range(starts + 1)][1:])
    return stages


def total(stages: dict[str, dict[str, float]], way: str) -> float:
    """Return the seconds from the command to the first report."""
    return sum(seconds for part, seconds in stages[way].items() if part != _PARTS[-1])


def table(stages: dict[str, dict[str, float]]) -> Table:
    """Return the table of the parts and their sum."""
    rows = [(part, *(f"{stages[way][part]:.2f}" for way in stages)) for part in _PARTS[:-1]]
    rows.append(("to the first report", *(f"{total(stages, way):.2f}" for way in stages)))
    return Table("start of `driver.py run` to the first report, s", ("part", *stages), tuple(rows))


def _start(more: list[str]) -> dict[str, float]:
    with TemporaryDirectory() as directory:
        overrides = [
            "tasks={kind: range, count: 1}",
            "llm.simulator={latency_s: 0.0, sigma: 0.0}",
            f"store={{kind: sqlite, path: '{directory}/state.db'}}",
            f"output.directory={directory}/runs",
        ]
        command = [
            sys.executable,
            "-m",
            "benchmarks.cost.start_up",
            "run",
            "configs/w1.yaml",
            "--json",
            *more,
        ]
        for override in overrides:
            command += ["--set", override]
        started = time.time()
        ended = subprocess.run(  # noqa: S603 - this interpreter and a module of this project
            command, capture_output=True, cwd=_ROOT, check=False, timeout=_WITHIN_S, text=True
        )
    marks = [json.loads(line[1:]) for line in ended.stderr.splitlines() if line.startswith("@")]
    if ended.returncode or len(marks) != len(_PARTS):
        raise RuntimeError(f"driver.py ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
    since = started
    took: dict[str, float] = {}
    for mark in marks:
        took[mark["part"]] = mark["at"] - since
        since = mark["at"]
    return took


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {part: statistics.median(run[part] for run in runs) for part in _PARTS}


# ---- the child's side ------------------------------------------------------------------------------------


def _note(part: str) -> None:
    os.write(2, f"@{json.dumps({'part': part, 'at': time.time()})}\n".encode())


def _noting(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function`, which notes the end of its first call."""
    noted = False

    @wraps(function)
    async def noting(*arguments: Any, **named: Any) -> Any:
        nonlocal noted
        answer = await function(*arguments, **named)
        if not noted:
            noted = True
            _note(part)
        return answer

    return noting


def _drive() -> None:
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when Ray is imported
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    from cluster.assembly import stand_ins as simulation  # noqa: PLC0415 - what loading takes is the first part
    from cluster.commands.main import app  # noqa: PLC0415 - same

    stand_in = simulation.stand_in
    # Ray loads after this, while the simulators start. It can be watched once they were launched.
    simulation.stand_in = lambda *it: _Then(stand_in(*it), _watch_session)  # type: ignore[assignment] # like it
    try:
        app()
    finally:
        _note("the end")


def _watch_session() -> None:
    from cluster.ray import session as sessions  # noqa: PLC0415 - it loads Ray

    _note("imports")
    session = sessions.session
    sessions.session = lambda *it, **named: _Then(session(*it, **named), _watch_run)  # type: ignore[assignment] # same


def _watch_run() -> None:
    from cluster.assembly import ray as topology  # noqa: PLC0415 - loaded while Ray started
    from cluster.assembly import stand_ins as simulation  # noqa: PLC0415 - loaded while Ray started
    from cluster.run import batch as batch_run  # noqa: PLC0415 - loaded while Ray started

    addressed = simulation.StandIns.addressed
    take_in = batch_run.BatchRun._add  # noqa: SLF001 - the end of a part is inside
    first = True

    def noting_addressed(self: Any) -> Any:
        found = addressed(self)
        _note("Ray, and simulators")
        return found

    def noting_add(self: Any, report: Any) -> None:
        nonlocal first
        take_in(self, report)
        if first:
            first = False
            _note("first report")

    simulation.StandIns.addressed = noting_addressed  # type: ignore[method-assign] # it stands for the real one
    topology.RayTopology.ready = _noting("actors", topology.RayTopology.ready)  # type: ignore[method-assign] # same
    batch_run.BatchRun._add = noting_add  # type: ignore[method-assign] # noqa: SLF001 - same


class _Then:
    """A context that calls a function after it was entered."""

    def __init__(self, context: Any, then: Callable[[], None]) -> None:
        self._context = context
        self._then = then

    def __enter__(self) -> Any:
        entered = self._context.__enter__()
        self._then()
        return entered

    def __exit__(self, *error: object) -> Any:
        return self._context.__exit__(*error)


if __name__ == "__main__":
    _drive()
