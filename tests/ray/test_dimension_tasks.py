"""The pure steps of a dimension as Ray tasks: a batch is answered job by job."""

from __future__ import annotations

import asyncio
import pickle

import ray
from ray._private.internal_api import get_memory_info_reply, get_state_from_address

from actors.core.errors import Failure
from actors.core.messages.tasks import DimensionResult
from actors.core.task.aggregation import aggregate
from actors.core.task.dimensions import Aggregate, DimensionSettings, Observation
from actors.pipeline.steps import AggregateJob, VerifyJob
from cluster.assembly.ray_steps import RaySteps
from tests.ray.conftest import WITHIN_S

QUALITY = DimensionSettings("quality", "quality", 1.0, None, 0.0, 1.0)
SEEN = tuple(Observation(f"wire:{n}", "wire", n / 10, "") for n in range(8))


async def test_a_job_that_cannot_be_done_fails_alone(fleet):
    good, poison = AggregateJob(0, SEEN, seed=7), AggregateJob(99, SEEN, seed=7)
    steps = RaySteps((QUALITY,), 2)
    async with asyncio.timeout(WITHIN_S):
        first, failed, last = await steps.run((good, poison, good))
        assert isinstance(first, Aggregate)
        checked = VerifyJob(0, first, None, ("wire:0",))
        results = await steps.run([checked, VerifyJob(99, first, None, ()), good])
    assert first == last == aggregate(QUALITY, SEEN, 7)  # a worker's answer is this process's answer
    assert isinstance(failed, Failure)
    assert "IndexError" in failed.message
    assert isinstance(results[0], DimensionResult)
    assert isinstance(results[1], Failure)
    assert results[2] == first  # steps of both kinds go in one batch


async def test_a_batch_over_ray_s_own_bound_goes_to_its_worker_and_not_through_the_object_store(fleet):
    many = tuple(Observation(f"wire:{n}", "wire", 0.5, f"{n}, as it was said" * 3) for n in range(4_000))
    assert len(pickle.dumps(many)) > 200_000  # Ray's own bound is 100 KiB
    before = created_objects()
    async with asyncio.timeout(WITHIN_S):
        [aggregated] = await RaySteps((QUALITY,), 2).run([AggregateJob(0, many, seed=7)])
    assert isinstance(aggregated, Aggregate)
    assert created_objects() == before


def created_objects() -> int:
    """Return how many objects were put into the object store since the cluster began."""
    reply = get_memory_info_reply(get_state_from_address(ray.get_runtime_context().gcs_address))
    return reply.store_stats.cumulative_created_objects
