"""A cluster of two nodes that loses one in the middle of a run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import aiohttp
import psutil
import pytest
from ray.cluster_utils import Cluster

from simulators.ledger import read_ledger
from simulators.process import SimulatorProcess

TASKS, CALLS_A_TASK = 200, 3
# Ray takes half a minute to believe that a node is dead, unless it is told to be quicker.
QUICK = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 10_000,
    "health_check_failure_threshold": 3,
}
ENV = {name: os.environ[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_USAGE_STATS_ENABLED")}


@contextlib.contextmanager
def two_nodes() -> Iterator[tuple[Cluster, Any]]:
    """Start a head node and a worker node; yield the cluster and the worker."""
    args = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**args, "_system_config": QUICK})
    try:
        yield cluster, cluster.add_node(**args)
    finally:
        cluster.shutdown()


def actors_of(node: Any) -> Counter[str]:
    """Return how many actors of each class run on a node."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    lines = [" ".join(child.cmdline()).strip() for child in raylet.children()]
    return Counter(line.removeprefix("ray::").partition(".")[0] for line in lines if line.startswith("ray::"))


@pytest.mark.timeout(1000)
async def test_when_a_node_dies_its_actors_begin_anew_elsewhere_and_every_task_has_its_report(driver):
    ledger = driver.directory / "books.jsonl"
    arguments = ["--latency-s=0.1", f"--ledger={ledger}"]
    with SimulatorProcess("llm", arguments) as endpoint, two_nodes() as (cluster, worker):
        named = {"name": "sim", "base_url": endpoint.url, "model": "sim", "max_in_flight": 16}
        config = driver.config(
            tasks={"kind": "range", "count": TASKS},
            llm={"endpoints": [named], "clients": 4},
            store={"kind": "sqlite", "lease_s": 2},
        )
        process = await driver.start(
            *("run", str(config), "--json", "--run-id=two", "--address", cluster.address), env=ENV
        )
        async with asyncio.timeout(900), aiohttp.ClientSession() as http:
            while True:
                async with http.get(f"{endpoint.url.removesuffix('/v1')}/stats") as answer:
                    if (await answer.json())["billed"] >= TASKS * CALLS_A_TASK // 4:
                        break
                await asyncio.sleep(0.05)
            assert actors_of(worker)["LLMClientActor"] == 2  # half of them
            cluster.remove_node(worker, allow_graceful=False)
            stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()
    summary = json.loads(stdout)
    assert summary["tasks"]["succeeded"] == TASKS
    assert len(driver.results("two")) == TASKS
    billed = Counter(entry.key for entry in read_ledger(ledger).entries if entry.billed)
    assert len(billed) == TASKS * CALLS_A_TASK
    assert set(billed.values()) == {1}  # the endpoint honours keys
    ours, doubt = summary["calls"]["billed"], summary["calls"]["in_doubt"]
    assert ours <= len(billed) <= ours + doubt
