"""The limiter over HTTP: two client actors and the dispatcher, with calls always waiting.

Each scenario starts the LLM simulator with a capacity that is not configured at the dispatcher. After a
warm-up, the simulator's ledger gives the answers, the refusals and the latency. The oracle is a limiter that
knows the capacity: it has as many calls in flight, and none waits at the endpoint.

    python -m benchmarks.limiter.over_http --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import os
import secrets
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when Ray is imported
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))

import aiohttp
import uvloop
from rich.console import Console
from rich.table import Table

from actors.core.limiter.limiter import LimiterStatistics
from actors.core.messages.calls import Call, Completion
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, OnRestart
from actors.transport.discovery import RayAddress
from benchmarks.w1.headrace_job import opened, running
from cluster.config.model import load
from cluster.ray.session import session
from simulators.ledger import LedgerEntry, Phase, read_ledger
from simulators.process import SimulatorProcess

_LATENCY_S, _SIGMA = 0.3, 0.4
_MEAN_S = _LATENCY_S * math.exp(_SIGMA**2 / 2)
_BATCHED = 1 + 256 / 64  # the latency with all slots in use, relative to an idle endpoint
_RATED = ("--tokens-per-minute=600000", "--burst-s=10")
_WAITING = 4000
_TASKS = tuple(f"task-{number}" for number in range(100))

_CONFIG = """
name: limiter
tasks: {{kind: range, count: 1}}
sources: [{{name: none, kind: simulated}}]
llm:
  endpoints: [{{name: sim, base_url: "{url}", model: sim, max_in_flight: 1000}}]
  clients: 2
evaluate: {{prompt: "{{text}}", output: {{mark: {{type: number, min: 0, max: 1}}}}}}
dimensions: [{{name: mark, field: mark}}]
store: {{kind: sqlite, path: "{store}"}}
"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """An endpoint: its arguments, and its capacity in calls or tokens a second.

    `oracle_s` is the median latency at its capacity. `later` holds (share of the time, new limits).
    """

    name: str
    arguments: tuple[str, ...]
    capacity: float
    oracle_s: float = _LATENCY_S
    in_tokens: bool = False
    later: tuple[tuple[float, dict[str, Any]], ...] = ()


_SCENARIOS = (
    Scenario("hard cap 64", ("--cap=64",), 64 / _MEAN_S),
    # With faster answers the processor of a small machine would be the limit.
    Scenario("hard cap 512", ("--cap=512", "--latency-s=0.9"), 512 / (3 * _MEAN_S), 3 * _LATENCY_S),
    Scenario("knee at 64, then FIFO", ("--knee=64",), 64 / _MEAN_S),
    Scenario("slow-down past 256 slots", ("--slots=256",), 256 / _MEAN_S),
    Scenario(
        "batching, 256 slots",
        ("--knee=256", "--contention=64"),
        256 / (_MEAN_S * _BATCHED),
        _LATENCY_S * _BATCHED,
    ),
    Scenario(
        "cap 64, 32, 64",
        ("--cap=64",),
        5 / 6 * 64 / _MEAN_S,  # half of the slots for a third of the time
        later=((1 / 3, {"cap": 32}), (2 / 3, {"cap": 64})),
    ),
    Scenario("600k tokens a minute", _RATED, 10_000, in_tokens=True),
    Scenario("600k tokens a minute, silent", (*_RATED, "--no-rate-headers"), 10_000, in_tokens=True),
)


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a scenario after the warm-up. `limit` and `slowdown` are the limiter's at the end."""

    goodput: float
    refused: float
    p50_s: float
    limit: int
    slowdown: float


def main() -> None:
    """Run the scenarios and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=40.0, help="measured time of a scenario")
    parser.add_argument("--warm-up", type=float, default=15.0)
    parser.add_argument(
        "--changing-seconds", type=float, default=90.0, help="the same for scenarios whose capacity changes"
    )
    parser.add_argument("--only", help="scenarios whose name contains this")
    options = parser.parse_args()
    table = Table(title=f"two client actors over HTTP, after a warm-up of {options.warm_up:.0f} s")
    for column in ("endpoint", "goodput of capacity", "refused", "p50, s", "of the oracle's", "limit"):
        table.add_column(column, justify="left" if column == "endpoint" else "right")
    with TemporaryDirectory() as directory, session("local"):
        for number, scenario in enumerate(_SCENARIOS):
            if options.only and options.only not in scenario.name:
                continue
            seconds = options.changing_seconds if scenario.later else options.seconds
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                result = runner.run(
                    _measure(scenario, Path(directory), f"limiter-{number}", options.warm_up, seconds)
                )
            table.add_row(
                scenario.name,
                f"{result.goodput:.1%}",
                f"{result.refused:.2%}",
                f"{result.p50_s:.2f}",
                f"{result.p50_s / scenario.oracle_s:.2f}",
                f"{result.limit}",
            )
    Console().print(table)


async def _measure(
    scenario: Scenario, directory: Path, namespace: str, warm_up_s: float, seconds: float
) -> Result:
    ledger = directory / f"{namespace}.jsonl"
    given = (f"--latency-s={_LATENCY_S}", f"--sigma={_SIGMA}", "--seed=1", f"--ledger={ledger}")
    with SimulatorProcess("llm", [*given, *scenario.arguments]) as simulator:
        path = directory / "limiter.yaml"
        path.write_text(_CONFIG.format(url=simulator.url, store=directory / f"{namespace}.db"))
        config = load(path, env={})
        async with (
            running(config, namespace) as topology,
            opened(topology, config, namespace, _TASKS),
            aiohttp.ClientSession(simulator.url.removesuffix("/v1")) as control,
        ):
            feeding = asyncio.create_task(_feed(namespace))
            await asyncio.sleep(warm_up_s)
            started = time.time()
            for share, limits in scenario.later:
                await asyncio.sleep(started + share * seconds - time.time())
                (await control.post("/control", json=limits)).raise_for_status()
            await asyncio.sleep(started + seconds - time.time())
            ended = time.time()
            known = await topology.statistics()
            (await control.post("/flush")).raise_for_status()
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
    if known.dispatcher is None:
        raise RuntimeError("the dispatcher did not answer within 5 s")
    limiter = known.dispatcher.endpoints[0].limiter
    entries = [entry for entry in read_ledger(ledger).entries if started <= entry.t_out < ended]
    return _result(scenario, entries, ended - started, limiter)


def _result(
    scenario: Scenario, entries: list[LedgerEntry], elapsed_s: float, limiter: LimiterStatistics
) -> Result:
    billed = [entry for entry in entries if entry.billed]
    refused = sum(entry.phase is Phase.REFUSED for entry in entries)
    done = sum(entry.input_tokens + entry.output_tokens if scenario.in_tokens else 1 for entry in billed)
    return Result(
        goodput=done / elapsed_s / scenario.capacity,
        refused=refused / max(1, len(entries)),
        p50_s=statistics.median([entry.t_out - entry.t_in for entry in billed] or [math.nan]),
        limit=limiter.limit,
        slowdown=limiter.slowdown,
    )


async def _feed(run_id: str) -> None:
    """Keep `_WAITING` calls waiting, from a hundred tasks of the run."""
    dispatcher = RayAddress[Call, Completion]("dispatcher", run_id)
    settings = CourierSettings(
        max_outstanding=_WAITING, max_outstanding_bytes=1 << 30, on_restart=OnRestart.RESEND
    )
    courier = Courier(dispatcher, settings=settings)
    try:
        for number in itertools.count():
            call = Call(
                f"call-{number}",
                "evaluate",
                f"rate {number}",
                300,
                _TASKS[number % len(_TASKS)],
                run_id=run_id,
            )
            (await courier.send(call)).add_done_callback(_retrieve)
    finally:
        await courier.close()


def _retrieve(answer: asyncio.Future[Completion]) -> None:
    """Retrieve the exception of a call that was open when the courier closed, which asyncio would report."""
    if not answer.cancelled():
        answer.exception()


if __name__ == "__main__":
    main()
