"""The resident memory of every process by the number of tasks in a run. It must not grow with them.

One source, and a model that answers at once; a task is one call and its report. Each size runs in its own
processes, whose memory is read twice a second. The figure is the most that was seen three times.

    python -m benchmarks.cost.memory --tasks 1000 10000 100000
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when Ray is imported
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))

from rich.console import Console

from benchmarks.processes import resident_by_role
from benchmarks.results import BenchmarkResult, Plot, Series, Table, check_at_most
from benchmarks.w1.contender import Run, contender, take_part
from benchmarks.w1.job import W1Job
from simulators.process import SimulatorProcess

_LOOK_EVERY_S = 0.5
_RUN_WITHIN_S = 4 * 3600.0
_CONFIG = """
name: memory
sources: [{{name: one, kind: simulated, items: 1, latency_s: 0}}]
llm:
  endpoints: [{{name: sim, base_url: "{url}", model: sim, max_in_flight: 1000}}]
evaluate: {{prompt: "Rate {{key}}: {{text}}", output: {{quality: {{type: number, min: 0, max: 1}}}}}}
dimensions: [{{name: quality, field: quality}}]
store: {{kind: sqlite, path: "{directory}/state.db", keep: reports}}
output: {{directory: "{directory}/runs"}}
"""


# ---- the contender's side --------------------------------------------------------------------------------


@contextlib.contextmanager
def _prepared(job: W1Job, _: argparse.Namespace) -> Iterator[Run]:
    import uvloop  # noqa: PLC0415 - the measuring side does not need it

    from benchmarks.w1.headrace_job import batch, running  # noqa: PLC0415 - same
    from cluster.config.model import load  # noqa: PLC0415 - same
    from cluster.ray.session import session  # noqa: PLC0415 - same

    with (
        TemporaryDirectory() as name,
        session("local"),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        path = Path(name) / "memory.yaml"
        path.write_text(_CONFIG.format(url=job.model_url, directory=name))
        config = load(path, env={})
        stack = contextlib.AsyncExitStack()
        topology = runner.run(stack.enter_async_context(running(config, "memory")))

        def run(job: W1Job) -> int:
            run_id = f"memory-{job.salt}"
            keys = (f"task-{number}" for number in range(job.tasks))  # a list would add to the memory
            ended = runner.run(batch(config, run_id, topology, keys, job.tasks))
            if ended.summary.tasks.succeeded != job.tasks:
                raise RuntimeError(f"not every task succeeded: {ended.summary}")
            return ended.summary.calls.billed

        yield run
        runner.run(stack.aclose())


# ---- the measuring side -----------------------------------------------------------------------------------


class MemoryWatch:
    """Reads the memory of a process and its descendants during a context."""

    def __init__(self, root: int) -> None:
        self._looks: list[dict[str, int]] = []
        self._root = root
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        over = False
        while not over:
            over = self._over.wait(_LOOK_EVERY_S)  # a last reading at the end
            self._looks.append(resident_by_role(self._root))

    @property
    def peak(self) -> int:
        """The peak of the sum in bytes."""
        return _most(sum(look.values()) for look in self._looks)

    def most(self) -> dict[str, int]:
        """Return the peak of each role in bytes."""
        roles = {role for look in self._looks for role in look}
        return {role: _most(look.get(role, 0) for look in self._looks) for role in roles}


def _most(sizes: Iterable[int]) -> int:
    """Return the third highest reading: a process that forks counts twice for a moment."""
    return sorted(sizes, reverse=True)[:3][-1]


def measure(tasks: int) -> tuple[MemoryWatch, float]:
    """Run `tasks` tasks; return the readings and the time."""
    arguments = ["--latency-s", "0", "--sigma", "0", "--remember", "1000"]
    with SimulatorProcess("llm", arguments) as model:
        job = W1Job(model.url, "", tasks, 1000, 0)
        command = [sys.executable, "-m", "benchmarks.cost.memory", "--contend", job.text()]
        with contender(f"{tasks:,} tasks", command) as started, MemoryWatch(started.pid) as watch:
            started.go()
            told = started.told(_RUN_WITHIN_S)
    return watch, float(told["wall_s"])


def main() -> None:
    """Measure each size and publish the result."""
    if "--contend" in sys.argv:
        sys.argv.remove("--contend")
        take_part(argparse.ArgumentParser(), _prepared)
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--tasks", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--form", default="by hand")
    options = parser.parse_args()
    seen: dict[int, MemoryWatch] = {}
    took: dict[int, float] = {}
    for tasks in options.tasks:
        started = time.monotonic()
        seen[tasks], took[tasks] = measure(tasks)
        line = {"tasks": tasks, "peak_mb": seen[tasks].peak >> 20, "s": round(time.monotonic() - started)}
        Console(stderr=True).print(json.dumps(line), highlight=False)
    outcome(seen, took, options.form).publish()


def outcome(seen: dict[int, MemoryWatch], took: dict[int, float], form: str) -> BenchmarkResult:
    """Return the result: a table, a plot and the goals."""
    sizes = list(seen)
    most = {size: watch.most() for size, watch in seen.items()}
    largest = most[sizes[-1]]
    roles = sorted(largest, key=lambda role: -largest[role])
    rows = [(role, *(_mb(most[size].get(role, 0)) for size in sizes)) for role in roles]
    rows.append(("all together", *(_mb(seen[size].peak) for size in sizes)))
    rows.append(("seconds", *(f"{took[size]:,.0f}" for size in sizes)))
    base = next((size for size in sizes if size >= 10_000), sizes[0])
    grown = (seen[sizes[-1]].peak - seen[base].peak) / 2**20 if sizes[-1] > base else None
    lines = tuple(
        Series(role, tuple(map(float, sizes)), tuple(most[size].get(role, 0) / 2**20 for size in sizes))
        for role in roles
        if largest[role] > 32 << 20
    )
    return BenchmarkResult(
        name="memory",
        form=form,
        tables=[
            Table(
                "resident memory, the most that was seen, MB",
                ("", *(f"{it:,} tasks" for it in sizes)),
                tuple(rows),
            )
        ],
        checks=[
            check_at_most(f"all processes, from {base:,} to {sizes[-1]:,} tasks, MB more", grown, 60, ",.0f")
        ],
        plots=[Plot("memory", "Resident memory", "lines", "MB", lines, "tasks", log_x=True)],
    )


def _mb(held: int) -> str:
    return f"{held / 2**20:,.0f}"


if __name__ == "__main__":
    main()
