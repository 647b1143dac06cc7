"""The actors of a service: found again by whoever builds the same, made anew for another configuration."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import ray

from actors.core.messages.journal import ReadEvents, ReadTask
from actors.core.messages.tasks import Submit, Task
from cluster.assembly.ray import RayTopology
from cluster.assembly.service import attach, fleet_names
from cluster.config.model import HeadraceConfig
from tests.ray.conftest import WITHIN_S


@pytest.fixture
def config(tmp_path: Path) -> HeadraceConfig:
    return HeadraceConfig.model_validate(
        {
            "name": "service",
            "sources": [{"name": "wire", "kind": "simulated", "items": 2, "latency_s": 0.01}],
            "llm": {
                "simulator": {"latency_s": 1.5, "sigma": 0, "ledger": str(tmp_path / "ledger")},
                "clients": 1,
            },
            "evaluate": {
                "prompt": "Rate this about {key}: {text}",
                "output": {"quality": {"type": "number", "min": 0, "max": 1}},
            },
            "dimensions": [{"name": "quality", "field": "quality"}],
            "store": {"kind": "sqlite", "path": str(tmp_path / "state.db")},
        }
    )


@pytest.fixture
async def namespace(cluster: None, fleet: Any, config: HeadraceConfig) -> Any:
    yield fleet.namespace
    for name in (*fleet_names(config), "journal", "fleet"):
        ray.kill(ray.get_actor(name, fleet.namespace))


def ids(topology: RayTopology) -> dict[str, str]:
    actors = {**topology.pipelines, **topology.clients, **topology.sources}
    actors |= {"journal": topology.journal, "dispatcher": topology.dispatcher}
    return {name: actor._actor_id.hex() for name, actor in actors.items()}


async def test_a_service_is_found_again_and_made_anew_around_its_journal(
    namespace: str, config: HeadraceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, view), (second, _) = await asyncio.gather(attach(config, namespace), attach(config, namespace))
    assert ids(first) == ids(second)
    assert "simulator" in view.notes[0]
    (courier,) = first.couriers(window=10)
    await courier.call(Submit("service", Task("t1"), until_accepted=True))
    await courier.close()
    changed = config.model_copy(update={"limits": config.limits.model_copy(update={"active_tasks": 7})})
    third, _ = await attach(changed, namespace)
    before, after = ids(first), ids(third)
    assert {name for name in after if after[name] == before[name]} == {"journal"}
    # A client moves, here to a node that has gone meanwhile, and the service goes on with its successor.
    client = ray.get_actor("llm-client:0", namespace)
    async with asyncio.timeout(WITHIN_S):
        assert await client.leave.remote(ray.get_runtime_context().get_node_id())
        await ray.get_actor("fleet", namespace).move.remote("llm-client:0", "0" * 56)
    successor = ray.get_actor("llm-client:0", namespace)
    assert successor._actor_id != client._actor_id
    journal = third.journal_courier()
    async with asyncio.timeout(WITHIN_S):
        seen = 0
        while (await journal.call(ReadTask("service", "t1")))[1] is None:  # it goes on by itself
            events = await journal.call(ReadEvents("service", "t1", seen, wait_s=20.0))
            seen = events[-1].task_id if events else seen
    await journal.close()
    monkeypatch.setattr("cluster.assembly.service.VERSION", "9.9")  # a journal of other code is replaced, too
    fourth, _ = await attach(changed, namespace)
    assert not set(ids(fourth).values()) & set(after.values())
    journal = fourth.journal_courier()
    (_, report) = await journal.call(ReadTask("service", "t1"))
    assert report is not None
    await journal.close()
