"""The pure steps of a dimension as Ray tasks: a batch is answered job by job."""

from __future__ import annotations

import asyncio

from actors.core.aggregation import aggregate
from actors.core.dimensions import Aggregate, DimensionSettings, Observation
from actors.core.errors import Failure
from actors.core.messages import DimensionResult
from actors.dimension_tasks import AggregateJob, DimensionTasks, VerifyJob
from tests.ray.conftest import WITHIN_S

QUALITY = DimensionSettings("quality", "quality", 1.0, None, 0.0, 1.0)
SEEN = tuple(Observation(f"wire:{n}", "wire", n / 10, "") for n in range(8))


async def test_a_job_that_cannot_be_done_fails_alone(fleet):
    good, poison = AggregateJob(0, SEEN, seed=7), AggregateJob(99, SEEN, seed=7)
    steps = DimensionTasks((QUALITY,))
    async with asyncio.timeout(WITHIN_S):
        first, failed, last = await steps.aggregate((good, poison, good))
        assert isinstance(first, Aggregate)
        results = await steps.verify([VerifyJob(0, first, None, ("wire:0",)), VerifyJob(99, first, None, ())])
    assert first == last == aggregate(QUALITY, SEEN, 7)  # a worker's answer is this process's answer
    assert isinstance(failed, Failure)
    assert "IndexError" in failed.message
    assert isinstance(results[0], DimensionResult)
    assert isinstance(results[1], Failure)
