"""Runs on several nodes, and the processes that higher rates need.

Nodes: 1, 2 and 4 on this machine (`ray.cluster_utils`), to check correctness and message counts: the billed
calls equal the endpoint's ledger, and no hop sends more messages a call. This does not measure speed.

Cost: W1 at several rates in turn. The cost of a call in a kind of process lies between two figures: its
processor time at the highest rate divided by the calls, and the slope of a line through all rates, share of
a core = standing + calls/s x cost. The first gives the number of processes for 10,000, 100,000 and 1,000,000
calls a second. Both give the process that is exhausted first among those of which there is one.

    python -m benchmarks.cost.scale --tasks 100 --caps 75 150 300 600
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import secrets
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when Ray is imported
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))

import numpy as np
import ray
import uvloop
from ray.cluster_utils import Cluster
from rich.console import Console

from benchmarks.results import BenchmarkResult, GoalCheck, Plot, Series, Table
from benchmarks.w1.comparison import ENTRANTS, HEADRACE, measure
from benchmarks.w1.headrace_job import batch, running, w1
from benchmarks.w1.job import CALLS_A_TASK, SIGMA, SOURCES, W1Job
from cluster.assembly.ray import RayTopology
from simulators.process import SimulatorProcess

_LATENCY_S = 0.3
_BUSY = 0.7  # share of a core above which the waits for a process become long
_NODE_CORES = 16
_PORTS = 28_000  # local ports of a host for one address (Linux: 32768-60999)
_AIMS = (10_000, 100_000, 1_000_000)
_SLOW_S = 2.0  # the latency of a real answer, for the number of connections
# The processes of `driver.py run`, and how many of each there can be.
_KINDS = {
    "driver": "one",
    "Pipeline": "as many as wished (cluster.pipelines)",
    "Dispatcher": "one",
    "LLMClient": "as many as wished (llm.clients)",
    "Journal": "one",
    "Source": "one of each source",
    "workers": "as many as there are cores",
    "Ray itself": "on each node",
}
_SHARED_BY = {"Source": len(SOURCES)}  # processes that share the work of a kind


@dataclass(frozen=True, slots=True)
class OnNodes:
    """The result of a run on several nodes."""

    nodes: int
    holding_clients: int
    succeeded: int
    billed: int
    ledger: int
    messages: dict[str, float]  # a call


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """The cost of a kind of process: by the line, `standing` cores and `us` of processor time a call.

    `most_us` is its processor time at the highest rate divided by the calls, an upper bound.
    """

    kind: str
    us: float
    standing: float
    most_us: float

    @property
    def ceiling(self) -> float:
        """The calls a second at which a process of this kind is too busy, by the line."""
        return max(0.0, _BUSY * self._shared_by - self.standing) / max(self.us, 1e-3) * 1e6

    @property
    def sure_ceiling(self) -> float:
        """The calls a second at which it is too busy, by the upper bound."""
        return _BUSY * self._shared_by / max(self.most_us, 1e-3) * 1e6

    def needed(self, calls_per_s: float) -> int:
        """Return the most processes that `calls_per_s` need."""
        return max(1, math.ceil(calls_per_s * self.most_us / 1e6 / _BUSY))

    @property
    def _shared_by(self) -> int:
        return _SHARED_BY.get(self.kind, 1)


# ---- nodes -----------------------------------------------------------------------------------------------


def on_nodes(nodes: int, tasks: int, model_url: str, sources_url: str) -> OnNodes:
    """Run W1 on `nodes` nodes with a pipeline and two clients for each."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False)
        with TemporaryDirectory() as name, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            job = W1Job(model_url, sources_url, tasks, 200, nodes)
            return runner.run(_on_nodes(nodes, job, Path(name)))
    finally:
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call] # Ray's


async def _on_nodes(nodes: int, job: W1Job, directory: Path) -> OnNodes:
    run_id = f"scale-{nodes}"
    more = (f"llm.clients={2 * nodes}", f"cluster.pipelines={nodes}")
    config = w1(job, directory, "sqlite", *more)
    billed_before = _billed(job.model_url)
    async with running(config, run_id) as topology:
        ended = await batch(config, run_id, topology, iter(job.task_keys()), job.tasks)
        messages = await _messages(topology, ended.summary.calls.billed)
        where = {await _node_of(client) for client in topology.clients.values()}
    return OnNodes(
        nodes=nodes,
        holding_clients=len(where),
        succeeded=ended.summary.tasks.succeeded,
        billed=ended.summary.calls.billed,
        ledger=_billed(job.model_url) - billed_before,
        messages=messages,
    )


async def _messages(topology: RayTopology, calls: int) -> dict[str, float]:
    known = await topology.statistics()
    counted = {
        "pipelines to dispatcher": sum(one.to_dispatcher.messages for one in known.pipelines),
        "pipelines to journal": sum(one.to_journal.messages for one in known.pipelines if one.to_journal),
        "commits": known.journal.commits if known.journal else 0,
        "records": known.journal.rules.records if known.journal else 0,
    }
    return {what: count / calls for what, count in counted.items()}


async def _node_of(actor: Any) -> str:
    return str(await actor.__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id()))


def _billed(model_url: str) -> int:
    with urllib.request.urlopen(f"{model_url.removesuffix('/v1')}/stats", timeout=10) as answer:  # noqa: S310 - a simulator on loopback
        return int(json.load(answer)["billed"])


# ---- cost ------------------------------------------------------------------------------------------------


def costs(
    caps: Sequence[int], seconds: float, model_url: str, sources_url: str
) -> tuple[list[ProcessCost], list[Any]]:
    """Return the cost of each kind of process, fitted to W1 at the rates of `caps`, and the points."""
    [entrant] = [one for one in ENTRANTS if one.name == HEADRACE]
    points: list[dict[str, Any]] = []
    for number, cap in enumerate(caps):
        tasks = max(4, round(cap / _LATENCY_S * seconds / CALLS_A_TASK))
        one = measure(entrant, W1Job(model_url, sources_url, tasks, cap, 1000 + number))
        shares = {kind: one.roles.get(kind, 0.0) / one.wall_s for kind in _KINDS}
        points.append({"calls_per_s": one.calls_per_s, "shares": shares})
        line = f"{cap} in flight: {one.calls_per_s:,.0f} calls/s, {one.cpu_us:,.0f} µs a call"
        Console(stderr=True).print(line, highlight=False)
    rates = [point["calls_per_s"] for point in points]
    return [_fitted(kind, rates, [point["shares"][kind] for point in points]) for kind in _KINDS], points


def _fitted(kind: str, rates: Sequence[float], shares: Sequence[float]) -> ProcessCost:
    """Fit share = standing + rate x cost, with neither below 0."""
    design = np.array([[1.0, rate] for rate in rates])
    (standing, slope), *_ = np.linalg.lstsq(design, np.array(shares), rcond=None)
    if standing < 0:
        standing, slope = 0.0, float(np.dot(rates, shares) / np.dot(rates, rates))
    if slope < 0:
        standing, slope = float(np.mean(shares)), 0.0
    highest = max(range(len(rates)), key=rates.__getitem__)
    return ProcessCost(kind, float(slope) * 1e6, float(standing), shares[highest] / rates[highest] * 1e6)


# ---- result ----------------------------------------------------------------------------------------------


def nodes_table(runs: Sequence[OnNodes]) -> Table:
    """Return the table of the runs on several nodes."""
    kinds = list(runs[0].messages) if runs else []
    columns = ("nodes", "hold clients", "tasks done", "billed", "endpoint's books", *kinds)
    rows = tuple(
        (
            str(one.nodes),
            str(one.holding_clients),
            str(one.succeeded),
            f"{one.billed:,}",
            f"{one.ledger:,}",
            *(f"{one.messages[kind]:.3f}" for kind in kinds),
        )
        for one in runs
    )
    return Table("W1 on several nodes; the last columns for each call", columns, rows)


def cost_table(fitted: Sequence[ProcessCost]) -> Table:
    """Return the table of costs, with the process that is exhausted first on top."""
    order = sorted(fitted, key=lambda one: (_KINDS[one.kind] != "one", one.sure_ceiling))
    rows = tuple(
        (
            one.kind,
            f"{one.most_us:,.1f}",
            f"{one.us:,.1f}",
            f"{one.standing:.3f}",
            f"{one.sure_ceiling:,.0f}",
            f"{one.ceiling:,.0f}" if one.us >= 0.5 else "-",
            _KINDS[one.kind],
        )
        for one in order
    )
    columns = (
        "processes",
        "µs a call at the highest rate",
        "by the line",
        "standing, cores",
        f"calls/s at {_BUSY:.0%} of a core, at least",
        "by the line",
        "there can be",
    )
    return Table("what each kind of process takes", columns, rows)


def need_table(fitted: Sequence[ProcessCost]) -> Table:
    """Return the processes and nodes that the target rates need."""
    ours = [one for one in fitted if one.kind != "Ray itself"]
    rows = [(one.kind, *(f"{one.needed(aim):,}" for aim in _AIMS)) for one in ours]
    total = sum(one.most_us for one in fitted)
    cores = [total * aim / 1e6 / _BUSY for aim in _AIMS]
    rows += [
        ("cores", *(f"{math.ceil(one):,}" for one in cores)),
        (f"nodes of {_NODE_CORES} cores", *(f"{math.ceil(one / _NODE_CORES):,}" for one in cores)),
        (f"in flight at {_SLOW_S:g} s", *(f"{aim * _SLOW_S:,.0f}" for aim in _AIMS)),
        (
            "hosts, for their ports to one address",
            *(f"{math.ceil(aim * _SLOW_S / _PORTS):,}" for aim in _AIMS),
        ),
    ]
    return Table("what so many calls a second need", ("", *(f"{aim:,}" for aim in _AIMS)), tuple(rows))


def checks(runs: Sequence[OnNodes], tasks: int) -> list[GoalCheck]:
    """Return the goals."""
    right = all(one.succeeded == tasks and one.billed == one.ledger == tasks * CALLS_A_TASK for one in runs)
    spread = max((one.holding_clients for one in runs), default=0)
    nodes = max((one.nodes for one in runs), default=0)
    return [
        GoalCheck("on several nodes, billed = planned = the endpoint's books", "always", str(right), right),
        GoalCheck("nodes that hold clients, of the most nodes", str(nodes), str(spread), spread == nodes),
    ]


def main() -> None:
    """Measure both and publish the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--caps", type=int, nargs="+", default=[75, 150, 300, 600])
    parser.add_argument("--seconds", type=float, default=20.0, help="time of each rate")
    parser.add_argument("--form", default="by hand")
    options = parser.parse_args()
    model_arguments = ["--latency-s", str(_LATENCY_S), "--sigma", str(SIGMA), "--seed", "1"]
    with (
        SimulatorProcess("llm", model_arguments) as model,
        SimulatorProcess("sources") as sources,
    ):
        runs = [on_nodes(nodes, options.tasks, model.url, sources.url) for nodes in options.nodes]
        fitted, points = costs(options.caps, options.seconds, model.url, sources.url)
    rates = tuple(point["calls_per_s"] for point in points)
    shares = tuple(Series(kind, rates, tuple(point["shares"][kind] for point in points)) for kind in _KINDS)
    BenchmarkResult(
        name="scale",
        form=options.form,
        tables=[nodes_table(runs), cost_table(fitted), need_table(fitted)],
        checks=checks(runs, options.tasks),
        plots=[Plot("scale", "Share of a core, by rate", "lines", "cores", shares, "calls/s")],
        data={"points": points},
    ).publish()


if __name__ == "__main__":
    main()
