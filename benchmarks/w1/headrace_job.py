"""Headrace as a contender in W1, and functions that other benchmarks use to run it.

python -m benchmarks.w1.headrace_job JOB --engine ray|local --journal sqlite|memory|off
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when Ray is imported
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))

import uvloop
from rich.console import Console

from actors.core.messages.journal import Accept
from actors.core.messages.tasks import Task
from actors.runtime.startup import settle_in
from benchmarks.w1.contender import Run, take_part
from benchmarks.w1.job import W1Job
from benchmarks.w1.unrecorded import without_journal
from cluster.assembly.local import LocalTopology
from cluster.assembly.local import build as build_local
from cluster.assembly.topology import Topology
from cluster.config.model import HeadraceConfig, load
from cluster.records.run_journal import RunJournal, RunOrigin
from cluster.report.console import ProgressDisplay
from cluster.report.results import ResultWriter
from cluster.run.batch import BatchEnded, BatchRun
from cluster.run.stopping import StopRequest

if TYPE_CHECKING:
    from cluster.assembly.ray import RayTopology

_W1 = Path(__file__).parents[2] / "configs" / "w1.yaml"


def w1(
    job: W1Job, directory: Path, journal: str = "sqlite", *more: str, start: int | None = None
) -> HeadraceConfig:
    """Return W1's configuration for the simulators of `job`, with its files under `directory`.

    `journal` is "sqlite", or anything else for a store in memory; `more` are overrides. The limit on requests
    in flight is configured, as for the other contenders, unless Headrace is to learn it from `start` on.
    """
    store = f"{{kind: sqlite, path: '{directory / 'state.db'}'}}" if journal == "sqlite" else "{kind: memory}"
    endpoint = f"{{name: sim, base_url: {job.model_url!r}, model: sim, max_in_flight: {job.cap}"
    endpoint += f", start_in_flight: {start or job.cap}}}"
    config = load(
        _W1,
        overrides=[
            "llm.simulator=null",
            f"llm.endpoints=[{endpoint}]",
            f"store={store}",
            f"output.directory={directory / 'runs'}",
            *more,
        ],
        env={},
    )
    sources = tuple(
        source.over_http(job.sources_url)  # type: ignore[union-attr] # the sources of W1 are simulated
        for source in config.sources
    )
    return config.model_copy(update={"sources": sources})


@contextlib.asynccontextmanager
async def running(config: HeadraceConfig, run_id: str) -> AsyncIterator[RayTopology]:
    """Start the actors and stop them at the end. Raises `NotReadyError`."""
    from cluster.assembly.ray import build  # noqa: PLC0415 - the local engine runs without Ray

    topology = build(config, run_id, run_id)
    await topology.ready()
    try:
        yield topology
    finally:
        await topology.close()


@contextlib.asynccontextmanager
async def opened(
    topology: Topology, config: HeadraceConfig, run_id: str, tasks: Iterable[str] = ()
) -> AsyncIterator[None]:
    """Open a run and accept `tasks`, for benchmarks that send calls themselves."""
    courier = topology.journal_courier()
    journal = RunJournal(courier, run_id)
    await journal.open(config.name, RunOrigin.of(config))
    await asyncio.gather(*(courier.call(Accept(run_id, Task(task))) for task in tasks))
    try:
        yield
    finally:
        await journal.end("interrupted", {})  # its tasks have no reports
        await journal.close()


async def batch(
    config: HeadraceConfig, run_id: str, topology: Topology, keys: Iterator[str], total: int
) -> BatchEnded:
    """Run a batch to its end as `driver.py run` does, without output."""
    quiet = Console(stderr=True, quiet=True)
    with (
        ResultWriter.for_run(config, run_id) as writer,
        ProgressDisplay(quiet, live=False) as progress,
    ):
        run = BatchRun(config, run_id, topology, writer, total=total)
        return await run.run((Task(key) for key in keys), progress, StopRequest())


@contextlib.asynccontextmanager
async def running_locally(config: HeadraceConfig, run_id: str) -> AsyncIterator[LocalTopology]:
    """Run the actors in this process while the context lasts."""
    topology = build_local(config, run_id)
    settle_in()
    try:
        yield topology
    finally:
        await topology.close()


@contextlib.contextmanager
def ray_session() -> Iterator[None]:
    """Run a Ray cluster on this machine while the context lasts."""
    from cluster.ray.session import session  # noqa: PLC0415 - the local engine runs without Ray

    with session("local"):
        yield


@contextlib.contextmanager
def _prepared(job: W1Job, options: argparse.Namespace) -> Iterator[Run]:
    is_local = options.engine == "local"
    with (
        TemporaryDirectory() as name,
        contextlib.nullcontext() if is_local else ray_session(),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        config = w1(job, Path(name), options.journal, start=options.start)
        stack = contextlib.AsyncExitStack()
        start: Callable[[HeadraceConfig, str], AbstractAsyncContextManager[Topology]] = running
        if is_local:
            start = running_locally
        with without_journal(options.engine) if options.journal == "off" else contextlib.nullcontext():
            topology = runner.run(stack.enter_async_context(start(config, "bench")))

        def run(job: W1Job) -> int:
            run_id = f"bench-{job.salt}"
            ended = runner.run(batch(config, run_id, topology, iter(job.task_keys()), job.tasks))
            if ended.summary.tasks.succeeded != job.tasks:
                raise RuntimeError(f"Headrace did not complete the job: {ended.summary}")
            return ended.summary.calls.billed

        yield run
        runner.run(stack.aclose())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--engine", choices=("ray", "local"), default="ray")
    parser.add_argument("--journal", choices=("sqlite", "memory", "off"), default="sqlite")
    parser.add_argument("--start", type=int, help="learn the limit on requests in flight, from this value on")
    take_part(parser, _prepared)
