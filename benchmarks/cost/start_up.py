"""The time from `driver.py run` to its first line and its first report, and the memory of its process.

Runs 60 tasks on the local engine, on a Ray cluster of the run's own, and on a Ray cluster that is running. A
child process runs the command line and notes its first report.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.results import Table

LOCAL, OWN, RUNNING = "local engine", "Ray, a cluster of its own", "Ray, a running cluster"
LINE, REPORT, END, MEMORY = "first line, s", "first report, s", "end, s", "memory of its process, MB"
_FIGURES = (LINE, REPORT, END, MEMORY)
_TASKS = 60
_WITHIN_S = 180.0
_ROOT = Path(__file__).parents[2]

Figures = dict[str, float]


def measured(starts: int) -> dict[str, Figures]:
    """Return the median of each figure in each case. The first start of each case is a warm-up."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # users have compiled modules
    figures = {
        LOCAL: _medians(starts, ["--engine", "local"]),
        OWN: _medians(starts, ["--engine", "ray"]),
    }
    from cluster.ray.session import session  # noqa: PLC0415 - loads Ray, which sets variables that children get

    with session("local"):
        import ray  # noqa: PLC0415 - same

        address = ray.get_runtime_context().gcs_address
        figures[RUNNING] = _medians(starts, ["--address", address])
    return figures


def table(figures: dict[str, Figures]) -> Table:
    """Return the table of all figures."""
    rows = [(name, *(f"{figures[way][name]:.2f}" for way in figures)) for name in _FIGURES]
    return Table(f"start of `driver.py run` with {_TASKS} tasks", ("figure", *figures), tuple(rows))


def _medians(starts: int, engine: Sequence[str]) -> Figures:
    runs = [_start(engine) for _ in range(starts + 1)][1:]
    return {name: statistics.median(run[name] for run in runs) for name in _FIGURES}


def _start(engine: Sequence[str]) -> Figures:
    with TemporaryDirectory() as directory:
        overrides = (
            f"tasks={{kind: range, count: {_TASKS}}}",
            "llm.simulator={latency_s: 0.0, sigma: 0.0}",
            f"store={{kind: sqlite, path: '{directory}/state.db'}}",
            f"output.directory={directory}/runs",
        )
        command = [
            sys.executable,
            "-m",
            "benchmarks.cost.start_up",
            "run",
            "configs/w1.yaml",
            "--json",
            *engine,
        ]
        for override in overrides:
            command += ["--set", override]
        started = time.time()
        child = subprocess.Popen(  # noqa: S603 - this interpreter and a module of this project
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=_ROOT, text=True
        )
        killer = threading.Timer(_WITHIN_S, child.kill)
        killer.start()
        assert child.stderr is not None  # noqa: S101 - it is piped
        figures: Figures = {}
        lines = []
        for line in child.stderr:
            figures.setdefault(LINE, time.time() - started)
            lines.append(line)
        code = child.wait()
        killer.cancel()
        if code:
            raise RuntimeError(f"driver.py ended with {child.returncode}:\n{''.join(lines)[-2000:]}")
    for line in lines:
        if line.startswith("@"):
            name, value = json.loads(line[1:])
            figures[name] = value - started if name != MEMORY else value
    return figures


# ---- the child's side ------------------------------------------------------------------------------------


def _note(name: str, value: float) -> None:
    os.write(2, f"@{json.dumps((name, value))}\n".encode())


def _drive() -> None:
    from cluster.assembly import stand_ins  # noqa: PLC0415 - part of what is measured
    from cluster.commands.main import app  # noqa: PLC0415 - same

    stand_in = stand_ins.stand_in

    def watching_stand_in(*arguments: Any) -> Any:
        # Called after the first line. What this loads is loaded now in any case, by a thread of the command.
        _watch_reports()
        return stand_in(*arguments)

    stand_ins.stand_in = watching_stand_in  # type: ignore[assignment] # it passes the arguments on
    try:
        app()
    finally:
        _note(END, time.time())
        _note(MEMORY, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _watch_reports() -> None:
    from cluster.run import batch  # noqa: PLC0415 - see above

    add = batch.BatchRun._add  # noqa: SLF001 - the first report is seen inside only
    noted = False

    def noting_add(self: Any, *report: Any) -> None:
        nonlocal noted
        add(self, *report)
        if not noted:
            noted = True
            _note(REPORT, time.time())

    batch.BatchRun._add = noting_add  # type: ignore[method-assign, assignment] # noqa: SLF001 - same


if __name__ == "__main__":
    _drive()
