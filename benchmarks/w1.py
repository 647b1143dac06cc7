"""W1: 1,000 tasks x (5 sources x 4 items + 4 dimensions) = 24,000 calls at 0.3 s, 1,000 in flight.

Headrace, a bare loop on the calls alone, and a bare loop on the whole job, in turn on the same simulator
processes. Prints medians and ratios. Processor time is that of all processes of a contender, simulators
apart. Headrace's time runs from the first task to the last report; its start-up is not in it.

    python -m benchmarks.w1 --tasks 300 --repeat 3
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # read when Ray is imported

import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.bare_loop import Job, calls_alone, ideal_calls_per_s, whole_job
from cluster.batch_run import BatchRun
from cluster.config import HeadraceConfig, load
from cluster.console import Progress
from cluster.results import ResultWriter
from cluster.session import session
from cluster.task_input import make_range
from cluster.topology import build
from simulators.process import SimulatorProcess

_CALLS_A_TASK = 24
_SIGMA = 0.4


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one contender."""

    calls: int
    wall_s: float
    cpu_s: float

    @property
    def calls_per_s(self) -> float:
        """Calls answered in a second."""
        return self.calls / self.wall_s

    @property
    def cpu_us(self) -> float:
        """Processor time of a call, microseconds."""
        return self.cpu_s / self.calls * 1e6


class ProcessorTime:
    """The processor time of this process and all below it, but for some; seconds since it was made."""

    def __init__(self, apart: set[int]) -> None:
        self._apart = apart
        self._start = self._sum()

    def spent_s(self) -> float:
        """Return the processor time since this was made."""
        return self._sum() - self._start

    def _sum(self) -> float:
        me = psutil.Process()
        total = 0.0
        for process in [me, *me.children(recursive=True)]:
            try:
                if process.pid not in self._apart:
                    times = process.cpu_times()
                    total += times.user + times.system
            except psutil.NoSuchProcess:
                continue  # it ended between being listed and being asked
        return total


def main() -> None:
    """Run the contenders in turn and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--latency-s", type=float, default=0.3)
    parser.add_argument("--cap", type=int, default=1000)
    options = parser.parse_args()
    model_arguments = ["--latency-s", str(options.latency_s), "--sigma", str(_SIGMA), "--seed", "1"]
    with (
        TemporaryDirectory() as directory,
        SimulatorProcess("simulators.llm", model_arguments) as model,
        SimulatorProcess("simulators.sources") as sources,
    ):
        apart = {pid for pid in (model.pid, sources.pid) if pid is not None}
        measured: dict[str, list[Measured]] = {}
        for repetition in range(options.repeat):
            job = Job(model.url, sources.url, options.tasks, options.cap, salt=repetition)
            contenders: dict[str, Callable[[], Measured]] = {
                "bare loop, calls alone": partial(_bare, calls_alone, job, apart),
                "bare loop, whole job": partial(_bare, whole_job, job, apart),
                "Headrace": partial(_headrace, job, Path(directory), apart),
            }
            for name, contender in contenders.items():
                measured.setdefault(name, []).append(contender())
        _print(measured, ideal_calls_per_s(options.cap, options.latency_s, _SIGMA))


def _bare(form: Callable[[Job], Coroutine[Any, Any, int]], job: Job, apart: set[int]) -> Measured:
    processor = ProcessorTime(apart)
    started = time.monotonic()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        calls = runner.run(form(job))
    return Measured(calls, time.monotonic() - started, processor.spent_s())


def _headrace(job: Job, directory: Path, apart: set[int]) -> Measured:
    config = _config(job, directory)
    with session("local"), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_stream(config, job, directory, apart))


async def _stream(config: HeadraceConfig, job: Job, directory: Path, apart: set[int]) -> Measured:
    run_id = f"bench-{job.salt}"
    topology = build(config, run_id)
    await topology.ready()
    quiet = Console(stderr=True, quiet=True)
    processor = ProcessorTime(apart)
    with ResultWriter(directory, run_id, ("jsonl",)) as writer, Progress(quiet, live=False) as progress:
        run = BatchRun(config, run_id, topology, writer, total=job.tasks)
        ended = await run.run(make_range(job.tasks, f"task-{job.salt}-"), progress, asyncio.Event())
    cpu_s = processor.spent_s()
    await topology.close()
    if ended.summary.calls.billed != job.tasks * _CALLS_A_TASK:
        raise SystemExit(f"Headrace did not do the whole job: {ended.summary}")
    return Measured(ended.summary.calls.billed, ended.summary.elapsed_s, cpu_s)


def _config(job: Job, directory: Path) -> HeadraceConfig:
    """Return W1 with the addresses of the simulators that all contenders share."""
    base = load(Path("configs/w1.yaml"), env={})
    path = directory / "w1.yaml"
    endpoint = f'{{name: sim, base_url: "{job.model_url}", model: sim, max_in_flight: {job.cap}}}'
    text = (
        Path("configs/w1.yaml")
        .read_text()
        .replace("  simulator:", f"  endpoints: [{endpoint}]\n  # simulator:")
    )
    path.write_text(text)
    config = load(path, env={})
    sources = tuple(
        source.over_http(job.sources_url)  # type: ignore[union-attr] # W1's sources are all simulated
        for source in base.sources
    )
    return config.model_copy(update={"sources": sources})


def _print(measured: dict[str, list[Measured]], ideal: float) -> None:
    def median(name: str, what: Callable[[Measured], float]) -> float:
        return statistics.median(what(one) for one in measured[name])

    table = Table(title=f"W1; {ideal:,.0f} calls/s is what the latency allows; medians of the runs")
    for column in ("", "calls/s", "min", "max", "of bare, whole job", "of bare, calls", "µs a call"):
        table.add_column(column, justify="left" if not column else "right")
    for name, runs in measured.items():
        pace = [one.calls_per_s for one in runs]
        ratio = {
            other: statistics.median(
                mine.calls_per_s / theirs.calls_per_s
                for mine, theirs in zip(runs, measured[other], strict=True)
            )
            for other in ("bare loop, whole job", "bare loop, calls alone")
        }
        table.add_row(
            name,
            f"{statistics.median(pace):,.0f}",
            f"{min(pace):,.0f}",
            f"{max(pace):,.0f}",
            *(f"{value:.2f}" for value in ratio.values()),
            f"{median(name, lambda one: one.cpu_us):,.0f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
