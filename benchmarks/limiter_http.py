"""The limiter against a real HTTP endpoint: two client actors and the dispatcher, with work always waiting.

Each scenario starts the LLM simulator with a capacity that nobody tells the dispatcher, keeps calls waiting,
and after a warm-up counts what is answered and refused, by the simulator's own count.

    python -m benchmarks.limiter_http --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # read when Ray is imported

import aiohttp
import uvloop
from rich.console import Console
from rich.table import Table

from actors.core.messages import Call, Completion
from actors.courier import Courier
from actors.courier_settings import CourierSettings, OnRestart
from actors.meeting import Address
from actors.socket_link import SocketLink
from cluster.config import load
from cluster.session import session
from cluster.topology import build
from simulators.process import SimulatorProcess

_LATENCY_S, _SIGMA = 0.3, 0.4
_MEAN_S = _LATENCY_S * math.exp(_SIGMA**2 / 2)
_WAITING = 4000

_CONFIG = """
name: limiter
tasks: {{kind: range, count: 1}}
sources: [{{name: none, kind: simulated}}]
llm:
  endpoints: [{{name: sim, base_url: "{url}", model: sim, max_in_flight: 1000}}]
  clients: 2
evaluate: {{prompt: "{{text}}", output: {{mark: {{type: number, min: 0, max: 1}}}}}}
dimensions: [{{name: mark, field: mark}}]
"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """An endpoint: its arguments, and how many calls a second it can carry. `later`: (at_s, new limits)."""

    name: str
    arguments: tuple[str, ...]
    capacity: float
    later: tuple[tuple[float, dict[str, Any]], ...] = ()


_SCENARIOS = (
    Scenario("hard cap 64", ("--cap=64",), 64 / _MEAN_S),
    Scenario("hard cap 512", ("--cap=512",), 512 / _MEAN_S),
    Scenario("knee at 64, then FIFO", ("--knee=64",), 64 / _MEAN_S),
    Scenario("slow-down past 256 slots", ("--slots=256",), 256 / _MEAN_S),
    Scenario(
        "cap 64, 32, 64",
        ("--cap=64",),
        64 / _MEAN_S,  # and half of it for a third of the time
        ((1 / 3, {"cap": 32}), (2 / 3, {"cap": 64})),
    ),
)


@dataclass(frozen=True, slots=True)
class Result:
    """What a scenario came to after the warm-up. `mean_s`: an answer's time, by Little's law."""

    goodput: float
    refused: float
    mean_s: float


def main() -> None:
    """Run the scenarios and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=40.0, help="counted, of each scenario")
    parser.add_argument("--warm-up", type=float, default=15.0)
    parser.add_argument("--only", help="scenarios whose name contains this")
    options = parser.parse_args()
    table = Table(title=f"a real endpoint, two client actors; {options.warm_up:.0f} s warm-up left out")
    for column in ("endpoint", "goodput of capacity", "refused", "mean answer, s"):
        table.add_column(column, justify="left" if column == "endpoint" else "right")
    with TemporaryDirectory() as directory, session("local"):
        for number, scenario in enumerate(_SCENARIOS):
            if options.only and options.only not in scenario.name:
                continue
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                result = runner.run(
                    _measure(scenario, Path(directory), f"limiter-{number}", options.warm_up, options.seconds)
                )
            table.add_row(
                scenario.name, f"{result.goodput:.1%}", f"{result.refused:.2%}", f"{result.mean_s:.2f}"
            )
    Console().print(table)


async def _measure(
    scenario: Scenario, directory: Path, namespace: str, warm_up_s: float, seconds: float
) -> Result:
    arguments = [f"--latency-s={_LATENCY_S}", f"--sigma={_SIGMA}", "--seed=1", *scenario.arguments]
    with SimulatorProcess("simulators.llm", arguments) as simulator:
        path = directory / "limiter.yaml"
        path.write_text(_CONFIG.format(url=simulator.url))
        topology = build(load(path, env={}), namespace)
        await topology.ready()
        feeding = asyncio.create_task(_feed(Address("dispatcher", namespace)))
        in_flight: list[int] = []
        root = simulator.url.removesuffix("/v1")
        async with aiohttp.ClientSession(root) as control:
            await asyncio.sleep(warm_up_s)
            before, started = await _stats(control), time.monotonic()
            later = list(scenario.later)
            while (now := time.monotonic() - started) < seconds:
                if later and now >= later[0][0] * seconds:
                    (await control.post("/control", json=later.pop(0)[1])).raise_for_status()
                in_flight.append((await _stats(control))["in_flight"])
                await asyncio.sleep(0.25)
            after, elapsed = await _stats(control), time.monotonic() - started
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        await topology.close()
    billed, requests = (after[what] - before[what] for what in ("billed", "requests"))
    share = 1.0 if not scenario.later else 5 / 6  # of the capacity over time: a third of it is at half
    return Result(
        goodput=billed / elapsed / (scenario.capacity * share),
        refused=(after["refused"] - before["refused"]) / max(1, requests),
        mean_s=statistics.mean(in_flight) / (billed / elapsed) if billed else math.nan,
    )


async def _feed(dispatcher: Address) -> None:
    """Keep so many calls waiting, of a hundred tasks."""
    settings = CourierSettings(
        max_outstanding=_WAITING, max_outstanding_bytes=1 << 30, on_restart=OnRestart.RESEND
    )
    courier: Courier[Call, Completion] = Courier(SocketLink(dispatcher), peer="dispatcher", settings=settings)
    try:
        for number in itertools.count():
            call = Call(f"call-{number}", "evaluate", f"rate {number}", 300, f"task-{number % 100}")
            (await courier.send(call)).add_done_callback(_retrieve)
    finally:
        await courier.close()


def _retrieve(answer: asyncio.Future[Completion]) -> None:
    """Look at the outcome: what was open when the courier was closed has failed, and nobody minds."""
    if not answer.cancelled():
        answer.exception()


async def _stats(control: aiohttp.ClientSession) -> dict[str, Any]:
    async with control.get("/stats") as response:
        answer: dict[str, Any] = await response.json()
        return answer


if __name__ == "__main__":
    main()
