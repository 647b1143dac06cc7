"""The latency that Headrace adds to calls at 10, 50 and 90 % of capacity, to a single task, and at start.

Calls arrive at random times (Poisson) at an endpoint with a constant latency; all time beyond that was added.
A bare loop with the same arrivals shows what HTTP and the endpoint add. Tasks run one at a time on an idle
system, the first one (cold) and later ones (warm). For the start see `start_up`.

    python -m benchmarks.cost.latency --seconds 20
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when Ray is imported
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))

import numpy as np
import uvloop

from actors.core.messages.calls import Call
from actors.core.messages.protocols import FromDispatcher, ToDispatcher
from actors.core.messages.tasks import Submit, Task
from actors.transport.address import Address
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, OnRestart
from actors.transport.memory_link import LocalAddress
from benchmarks.cost import start_up
from benchmarks.results import BenchmarkResult, GoalCheck, Plot, Series, Table, check_at_most
from benchmarks.rivals.bare_loop import Bare
from benchmarks.w1.headrace_job import opened, ray_session, running, running_locally, w1
from benchmarks.w1.job import W1Job
from cluster.assembly.local import LocalTopology
from cluster.assembly.topology import Topology
from cluster.config.model import HeadraceConfig
from simulators.process import SimulatorProcess

if TYPE_CHECKING:
    from cluster.assembly.ray import RayTopology

_LOADS = (0.1, 0.5, 0.9)
_RUN = "latency"
_CALLERS = tuple(f"task-{number}" for number in range(100))
_TASKS = 10
_ENDING_S = 120.0

Ask = Callable[[str], Awaitable[Any]]


async def at_load(ask: Ask, per_s: float, warm_up_s: float, seconds: float, seed: int) -> list[float]:
    """Return the times of the calls after the warm-up, in which the limit is learned."""
    rng = random.Random(seed)
    took: list[float] = []
    asked: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()
    started = due = loop.time()
    counted_from = started + warm_up_s

    async def one(number: int, *, counts: bool) -> None:
        since = time.perf_counter()
        await ask(f"Rate {seed} {number}")
        if counts:
            took.append(time.perf_counter() - since)

    number = 0
    while due < counted_from + seconds:
        due += rng.expovariate(per_s)
        if due > loop.time():
            await asyncio.sleep(due - loop.time())
        task = asyncio.create_task(one(number, counts=due > counted_from))
        asked.add(task)
        task.add_done_callback(asked.discard)
        number += 1
    async with asyncio.timeout(_ENDING_S):
        await asyncio.gather(*asked)
    return took


@contextlib.asynccontextmanager
async def _asking(address: Address[ToDispatcher, FromDispatcher]) -> AsyncIterator[Ask]:
    """Yield a function that sends a call to Headrace's dispatcher and waits for its result."""
    settings = CourierSettings(
        max_outstanding=100_000, max_outstanding_bytes=1 << 30, on_restart=OnRestart.RESEND
    )
    courier = Courier(address, settings=settings)

    async def ask(prompt: str) -> None:
        call = Call(f"{_RUN}-{prompt}", "evaluate", prompt, 300, _CALLERS[hash(prompt) % 100], run_id=_RUN)
        completion = await courier.call(call)
        if completion.error is not None:
            raise RuntimeError(str(completion.error))

    try:
        yield ask
    finally:
        await courier.close()


async def _calls(
    job: W1Job, directory: Path, options: argparse.Namespace
) -> dict[str, dict[float, list[float]]]:
    config = w1(job, directory)
    capacity = job.cap / options.latency_s
    times = (options.warm_up, options.seconds)
    took: dict[str, dict[float, list[float]]] = {"Headrace": {}, "bare loop": {}}
    async with _engine(options.engine, config, _RUN) as topology, opened(topology, config, _RUN, _CALLERS):
        address = _dispatcher(topology)
        for number, load in enumerate(_LOADS):
            per_s = capacity * load
            async with Bare(job) as bare:
                took["bare loop"][load] = await at_load(bare.ask, per_s, *times, 2 * number)
            async with _asking(address) as ask:
                took["Headrace"][load] = await at_load(ask, per_s, *times, 2 * number + 1)
    return took


def _engine(
    name: str, config: HeadraceConfig, run_id: str
) -> contextlib.AbstractAsyncContextManager[LocalTopology | RayTopology]:
    return running_locally(config, run_id) if name == "local" else running(config, run_id)


def _dispatcher(topology: LocalTopology | RayTopology) -> Address[ToDispatcher, FromDispatcher]:
    if isinstance(topology, LocalTopology):
        return LocalAddress("dispatcher", topology.inboxes)
    from actors.transport.discovery import RayAddress  # noqa: PLC0415 - the local engine runs without Ray

    return RayAddress("dispatcher", _RUN)


async def _tasks(job: W1Job, directory: Path, engine: str) -> list[float]:
    """Return the times of single tasks on an idle system, beginning with its first."""
    run_id = "single"
    config = w1(job, directory, "sqlite")
    async with _engine(engine, config, run_id) as topology, opened(topology, config, run_id):
        return [await _task(topology, run_id, number) for number in range(_TASKS)]


async def _task(topology: Topology, run_id: str, number: int) -> float:
    [courier] = topology.couriers(window=1)
    try:
        started = time.perf_counter()
        report = await courier.call(Submit(run_id, Task(f"single-{number}")))
        elapsed = time.perf_counter() - started
    finally:
        await courier.close()
    if report.state != "succeeded":
        raise RuntimeError(f"a single task did not succeed: {report.errors}")
    return elapsed


async def _bare_tasks(job: W1Job) -> list[float]:
    async with Bare(job) as bare:
        took = []
        for number in range(_TASKS):
            started = time.perf_counter()
            await bare.report(f"bare-{number}")
            took.append(time.perf_counter() - started)
        return took


def _ms(took: list[float], share: float, beyond_s: float) -> float:
    return (float(np.quantile(took, share)) - beyond_s) * 1e3


def _calls_table(took: dict[str, dict[float, list[float]]], options: argparse.Namespace) -> Table:
    rows = []
    for load in _LOADS:
        figures = [
            f"{_ms(took[who][load], share, options.latency_s):.1f}"
            for who in ("Headrace", "bare loop")
            for share in (0.5, 0.99)
        ]
        rate = f"{options.cap / options.latency_s * load:,.0f}"
        rows.append((f"{load:.0%}", rate, *figures))
    columns = ("load", "calls/s", "Headrace p50", "p99", "bare loop p50", "p99")
    title = f"added to each call, ms ({options.latency_s:g} s an answer, {options.cap} in flight, Poisson)"
    return Table(title, columns, tuple(rows))


def _tasks_table(single: list[float], bare: list[float]) -> Table:
    rows = (
        ("Headrace, cold", f"{single[0] * 1e3:,.0f}", "-"),
        ("Headrace, warm", f"{_ms(single[1:], 0.5, 0):,.0f}", f"{_ms(single[1:], 1.0, 0):,.0f}"),
        ("bare loop, warm", f"{_ms(bare[1:], 0.5, 0):,.0f}", f"{_ms(bare[1:], 1.0, 0):,.0f}"),
    )
    return Table(
        "one task on an idle system, ms (two answers in a row, and a fetch)", ("", "p50", "max"), rows
    )


def _checks(
    took: dict[float, list[float]], latency_s: float, starts: dict[str, start_up.Figures]
) -> list[GoalCheck]:
    local = starts[start_up.LOCAL]
    return [
        check_at_most("added latency at 50 % load, p50, ms", _ms(took[0.5], 0.5, latency_s), 5, ".1f"),
        check_at_most("added latency at 50 % load, p99, ms", _ms(took[0.5], 0.99, latency_s), 25, ".1f"),
        check_at_most("first line of `driver.py run`, s", local[start_up.LINE], 0.5, ".2f"),
        check_at_most("first report, s", local[start_up.REPORT], 1.5, ".2f"),
        check_at_most("memory of its process, MB", local[start_up.MEMORY], 200, ".0f"),
    ]


def main() -> None:
    """Measure calls, tasks and starts, and publish the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="measured time of each load")
    parser.add_argument("--warm-up", type=float, default=10.0, help="warm-up before each load")
    parser.add_argument("--latency-s", type=float, default=0.3)
    parser.add_argument("--cap", type=int, default=300)
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--form", default="by hand")
    options = parser.parse_args()
    if options.starts < 1:
        parser.error("--starts must be at least 1")
    model_arguments = ["--latency-s", str(options.latency_s), "--sigma", "0"]
    with (
        TemporaryDirectory() as name,
        SimulatorProcess("llm", model_arguments) as model,
        SimulatorProcess("sources") as sources,
    ):
        job = W1Job(model.url, sources.url, tasks=0, cap=options.cap, salt=0)
        with (
            ray_session() if options.engine == "ray" else contextlib.nullcontext(),
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            took = runner.run(_calls(job, Path(name), options))
            single = runner.run(_tasks(job, Path(name), options.engine))
            bare = runner.run(_bare_tasks(job))
        starts = start_up.measured(options.starts)
    added = [
        Series(f"{who}, {label}", _LOADS, tuple(_ms(loads[it], share, options.latency_s) for it in _LOADS))
        for who, loads in took.items()
        for label, share in (("p50", 0.5), ("p99", 0.99))
    ]
    BenchmarkResult(
        name="latency",
        form=options.form,
        tables=[_calls_table(took, options), _tasks_table(single, bare), start_up.table(starts)],
        checks=_checks(took["Headrace"], options.latency_s, starts),
        plots=[Plot("latency", "Added to each call", "lines", "ms", tuple(added), "share of capacity")],
    ).publish()


if __name__ == "__main__":
    main()
