"""The ceiling of one dispatcher: clients answer at once, and few or many calls wait.

It measures two things. The shell is a dispatcher, two clients and a feeder, each an actor in its own process,
over the usual couriers; the processor time of each shows the bottleneck. The rules alone: see `depth`.

Passes are short and many, because one may take a quarter longer than the next. Ratios compare neighbours.

    python -m benchmarks.dispatch.ceiling --depths 1000 100000 --rounds 15
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import secrets
import statistics
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when Ray is imported
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))

import psutil
import uvloop
from rich.console import Console

from actors.core.dispatch.settings import DispatchSettings, EndpointRules
from actors.core.limiter.limiter import LimiterSettings
from actors.transport.discovery import RayAddress
from benchmarks.dispatch.answering import AnsweringClientActor, FeederActor
from benchmarks.dispatch.depth import Bench
from benchmarks.results import BenchmarkResult, Plot, Series, Table, check_at_least
from cluster.assembly.ray_actors import DispatcherActor
from cluster.ray.session import session

_CLIENTS = 2
_IN_FLIGHT = 4000
_MOST_QUEUED = 10_000_000
_FILL_WITHIN_S = 600.0
_KEEP_WITHIN_S = 600.0
_PROCESSES = ("dispatcher", "clients", "feeder")


@dataclass(frozen=True, slots=True)
class Passed:
    """The pace of a pass, and the processor time of each process in microseconds a call."""

    calls_per_s: float
    us: dict[str, float]

    @property
    def ceiling(self) -> float:
        """The calls a second of a dispatcher with a core of its own."""
        return 1e6 / self.us["dispatcher"]


class Shell:
    """A dispatcher with clients that answer at once and `depth` calls waiting."""

    def __init__(self, depth: int, namespace: str) -> None:
        self._pids: dict[str, list[int]] = {}
        clients = {f"client:{number}": AnsweringClientActor for number in range(_CLIENTS)}
        self._clients = [self._made(kind, name, namespace) for name, kind in clients.items()]
        rules = EndpointRules("sim", LimiterSettings(max_in_flight=_IN_FLIGHT, start=_IN_FLIGHT))
        settings = DispatchSettings(endpoints=(rules,), max_queued=_MOST_QUEUED)
        addresses = tuple(RayAddress[Any, Any](name, namespace) for name in clients)
        self._dispatcher = self._made(DispatcherActor, "dispatcher", namespace, settings, addresses)
        dispatcher_at = RayAddress[Any, Any]("dispatcher", namespace)
        self._feeder = self._made(FeederActor, "feeder", namespace, dispatcher_at, depth + _IN_FLIGHT)

    async def begin(self, warm_up: int) -> None:
        """Fill the queue, then pass some calls through."""
        self._pids = {
            "dispatcher": [await self._dispatcher.__ray_call__.remote(lambda _: os.getpid())],
            "clients": [await client.pid.remote() for client in self._clients],
            "feeder": [await self._feeder.pid.remote()],
        }
        async with asyncio.timeout(_FILL_WITHIN_S):
            await self._feeder.fill.remote()
        await self.pass_through(warm_up)

    async def pass_through(self, calls: int) -> Passed:
        """Open the gates until `calls` calls have ended, and as many new ones were offered."""
        before = self._processor_s()
        async with asyncio.timeout(_KEEP_WITHIN_S):
            await asyncio.gather(*(client.open_gate.remote() for client in self._clients))
            elapsed = await self._feeder.keep.remote(calls)
        after = self._processor_s()
        await asyncio.gather(*(client.close_gate.remote() for client in self._clients))
        return Passed(calls / elapsed, {name: (after[name] - before[name]) / calls * 1e6 for name in after})

    def _processor_s(self) -> dict[str, float]:
        return {name: sum(_taken_s(pid) for pid in pids) for name, pids in self._pids.items()}

    @staticmethod
    def _made(kind: Any, name: str, namespace: str, *arguments: Any) -> Any:
        options = {"name": name, "namespace": namespace, "num_cpus": 0, "enable_task_events": False}
        return kind.options(**options).remote(*arguments)


def _taken_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


async def through_shells(depths: list[int], calls: int, rounds: int) -> dict[int, list[Passed]]:
    """Return the passes of each depth. The depths take turns; the others are idle meanwhile."""
    shells = {depth: Shell(depth, f"dispatch-{depth}") for depth in depths}
    for shell in shells.values():
        await shell.begin(calls // 4)
    passed: dict[int, list[Passed]] = {depth: [] for depth in depths}
    for _ in range(rounds):
        for depth, shell in shells.items():
            passed[depth].append(await shell.pass_through(calls))
    for depth, each in passed.items():
        middle = statistics.median(one.us["dispatcher"] for one in each)
        Console(stderr=True).print(f"{depth:,} waiting: {middle:.1f} µs a call in the dispatcher")
    return passed


def through_rules(depths: list[int], calls: int, rounds: int) -> dict[int, list[float]]:
    """Return the microseconds a call of the rules, with the depths in turns in this process."""
    benches = {depth: Bench(depth) for depth in depths}
    gc.collect()
    gc.freeze()  # as the dispatcher's process does
    gc.set_threshold(50_000, 20, 20)
    measured: dict[int, list[float]] = {depth: [] for depth in benches}
    for _ in range(rounds):
        for depth, bench in benches.items():
            measured[depth].append(bench.pass_through(calls))
    return measured


def main() -> None:
    """Measure both and publish the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--depths", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--calls", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--form", default="by hand")
    options = parser.parse_args()
    with session("local"), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        shell = runner.run(through_shells(options.depths, options.calls, options.rounds))
    rules = through_rules(options.depths, max(1000, options.calls // 10), options.rounds)
    outcome(shell, rules, options).publish()


def outcome(
    shell: dict[int, list[Passed]], rules: dict[int, list[float]], options: argparse.Namespace
) -> BenchmarkResult:
    """Return the result: a table, a plot and the goals."""
    rows = []
    for depth, passed in shell.items():
        us = {name: statistics.median(one.us[name] for one in passed) for name in _PROCESSES}
        pace = statistics.median(one.calls_per_s for one in passed)
        ceiling = statistics.median(one.ceiling for one in passed)
        told = (f"{us[name]:.1f}" for name in _PROCESSES)
        alone = f"{statistics.median(rules[depth]):.1f}"
        rows.append((f"{depth:,}", f"{pace:,.0f}", f"{ceiling:,.0f}", *told, alone))
    columns = ("calls waiting", "calls/s here", "calls/s of a core", *(f"{it}, µs" for it in _PROCESSES))
    cost = {
        depth: statistics.median(one.us["dispatcher"] for one in passed) for depth, passed in shell.items()
    }
    first, last = options.depths[0], options.depths[-1]
    pairs = zip(shell[first], shell[last], strict=True)
    kept = statistics.median(one.us["dispatcher"] / other.us["dispatcher"] for one, other in pairs)
    line = Series("dispatcher's process", tuple(map(float, cost)), tuple(1e6 / us for us in cost.values()))
    core = Series(
        "its rules alone",
        tuple(map(float, rules)),
        tuple(1e6 / statistics.median(each) for each in rules.values()),
    )
    plot = Plot(
        "dispatch", "Ceiling of one dispatcher", "lines", "calls/s of a core", (line, core), "waiting", True
    )
    return BenchmarkResult(
        name="dispatch",
        form=options.form,
        tables=[Table("one dispatcher", (*columns, "its rules alone, µs"), tuple(rows))],
        checks=[
            check_at_least(
                "one dispatcher, answering clients, calls/s of a core", 1e6 / cost[first], 10_000, ",.0f"
            ),
            check_at_least(f"depth {last:,} ÷ depth {first:,}", kept, 0.9),
        ],
        plots=[plot],
        data={"dispatcher_us": {str(depth): us for depth, us in cost.items()}},
    )


if __name__ == "__main__":
    main()
