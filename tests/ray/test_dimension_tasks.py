"""The pure steps of a dimension as Ray tasks: a batch is answered job by job."""

from __future__ import annotations

import asyncio

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
