"""All actors together, as the topology builds them: what they are called, what they make, and who may die.

They are built once, because that takes seven seconds. The test that kills them is the last one.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.util import list_named_actors

from actors.core.messages.journal import OpenRun
from actors.core.messages.tasks import Submit, Task, TaskState
from actors.core.task.shards import shard
from cluster.assembly.ray import NotReadyError, RayTopology, build
from cluster.config.model import HeadraceConfig
from simulators.process import SimulatorProcess
from tests.ray.conftest import PATIENCE_S, WITHIN_S, LlmSimulator

NAMES = {
    "journal",
    "source:wire",
    "source:forum",
    "llm-client:0",
    "llm-client:1",
    "dispatcher",
    "pipeline:0",
    "pipeline:1",
}

HEAVY = {"aiohttp", "sqlalchemy"}  # Ray itself loads numpy and pyarrow


NAMESPACE = f"test-{secrets.token_hex(4)}"


def configured(url: str, directory: Path) -> HeadraceConfig:
    endpoint = LlmSimulator(url, max_in_flight=20).settings
    return HeadraceConfig.model_validate(
        {
            "sources": [
                {"name": name, "kind": "simulated", "items": 2, "latency_s": 0.01}
                for name in ("wire", "forum")
            ],
            "llm": {"endpoints": (endpoint,), "clients": 2},
            "evaluate": {
                "prompt": "Rate this about {key}: {text}",
                "output": {"quality": {"type": "number", "min": 0, "max": 1}},
            },
            "dimensions": [{"name": "quality", "field": "quality", "synthesize": "Sum up: {evidence}"}],
            "cluster": {"pipelines": 2},
            "store": {"kind": "sqlite", "path": str(directory / "state.db")},
        }
    )


@pytest.fixture(scope="module")
def topology(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayTopology]:
    with SimulatorProcess("llm", ["--latency-s=0.02"]) as process:
        built = build(configured(process.url, tmp_path_factory.mktemp("topology")), NAMESPACE)
        asyncio.run(opened(built))
        yield built
        for actor in all_of(built):
            ray.kill(actor)


async def opened(topology: RayTopology) -> None:
    await topology.ready()
    courier = topology.journal_courier()
    await courier.call(OpenRun("run-1", "test", {}))
    await courier.close()


def all_of(topology: RayTopology) -> list[Any]:
    fleets = (topology.sources, topology.clients, topology.pipelines)
    return [*(actor for fleet in fleets for actor in fleet.values()), topology.journal, topology.dispatcher]


async def reports_on(topology: RayTopology, keys: list[str]) -> list[Any]:
    couriers = topology.couriers(window=100)
    try:
        async with asyncio.timeout(WITHIN_S):
            calls = (couriers[shard(key, len(couriers))].call(Submit("run-1", Task(key))) for key in keys)
            return await asyncio.gather(*calls)
    finally:
        for courier in couriers:
            await courier.close()


@ray.remote
class Unstartable:
    """An actor with a defect in its constructor."""

    def __init__(self) -> None:
        raise ValueError("no such setting")

    async def statistics(self) -> None:
        """As every actor has."""


async def test_an_actor_that_cannot_start_is_named_at_once_and_why(topology, monkeypatch):
    broken = replace(topology, sources={"wire": Unstartable.remote()})
    monkeypatch.setattr("cluster.assembly.ray._READY_WITHIN_S", PATIENCE_S)  # as for a late one
    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(NotReadyError, match="source:wire cannot start: ValueError: no such setting"):
            await broken.ready()


async def test_actors_have_readable_names_and_make_reports_together(topology, fleet):
    listed = list_named_actors(all_namespaces=True)
    assert {each["name"] for each in listed if each["namespace"] == NAMESPACE} == NAMES

    keys = [f"task-{number}" for number in range(30)]
    reports = await reports_on(topology, keys)
    assert [report.key for report in reports] == keys
    assert {report.state for report in reports} == {TaskState.SUCCEEDED}
    assert all(len(report.dimensions) == 1 and report.dimensions[0].n == 4 for report in reports)

    known = await topology.statistics()
    assert known.dispatcher is not None
    assert known.dispatcher.completed == 30 * (4 + 1)
    assert {source.name: source.fetched for source in known.sources} == {"wire": 30, "forum": 30}
    assert sum(pipeline.ended for pipeline in known.pipelines) == 30
    assert all(pipeline.ended > 0 for pipeline in known.pipelines)  # tasks are spread by their keys

    shown = [await fleet.answer(actor.__ray_call__.remote(repr)) for actor in all_of(topology)]
    assert shown == [
        "source:wire(simulated)",
        "source:forum(simulated)",
        "llm-client:0(sim)",
        "llm-client:1(sim)",
        "pipeline:0(500 tasks at once)",
        "pipeline:1(500 tasks at once)",
        "journal(sqlite)",
        "dispatcher(sim)",
    ]


async def test_no_actor_loads_what_only_others_need_nor_has_an_arena_for_each_thread(topology, fleet):
    def held(_: Any) -> tuple[set[str], str | None]:
        return HEAVY & sys.modules.keys(), os.environ.get("MALLOC_ARENA_MAX")

    for actor in all_of(topology):
        assert await fleet.answer(actor.__ray_call__.remote(held)) == (set(), "2")


async def test_one_actor_of_each_kind_may_be_killed_and_every_task_has_its_report(topology, fleet):
    keys = [f"killed-{number}" for number in range(60)]
    before = (await fleet.statistics(topology.dispatcher)).completed
    reporting = asyncio.create_task(reports_on(topology, keys))
    await fleet.until(topology.dispatcher, lambda known: known.completed > before)
    for actor in (
        topology.pipelines["pipeline:0"],
        topology.sources["wire"],
        topology.dispatcher,
        topology.journal,
        topology.clients["llm-client:0"],
    ):
        await fleet.kill_process(actor)
    reports = await reporting
    assert [report.key for report in reports] == keys
    assert {report.state for report in reports} == {TaskState.SUCCEEDED}
