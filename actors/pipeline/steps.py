"""The pure steps of a dimension, run in batches: aggregate before the model writes, verify after.

Each job of a batch has its own result, so a job that fails does not affect the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeAlias

from msgspec import Struct

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.messages.tasks import DimensionResult
from actors.core.messages.values import Json
from actors.core.task.dimensions import Aggregate, DimensionSettings, Observation, verify

_log = logging.getLogger(__name__)


class AggregateJob(Struct, frozen=True):
    """Aggregate `observations` of the dimension at index `dimension`."""

    dimension: int
    observations: tuple[Observation, ...]
    seed: int


class VerifyJob(Struct, frozen=True):
    """Verify the model's answer about the dimension at index `dimension`. None means there is no answer."""

    dimension: int
    aggregate: Aggregate
    answer: Mapping[str, Json] | None
    known_ids: tuple[str, ...]


StepJob: TypeAlias = AggregateJob | VerifyJob
StepResult: TypeAlias = Aggregate | DimensionResult


class PureSteps(Protocol):
    """Runs steps.

    At most `parallel` batches run at once. Under load they start `interval_s` seconds apart.
    """

    parallel: int
    interval_s: float

    async def run(self, jobs: Sequence[StepJob]) -> Sequence[StepResult | Failure]:
        """Return the result or the failure of each job, in the order of `jobs`.

        The result of an `AggregateJob` is an `Aggregate`, that of a `VerifyJob` a `DimensionResult`.
        """
        ...


class ThreadSteps:
    """Runs the steps of `dimensions` on a thread of this process."""

    parallel = 1
    interval_s = 0.0  # the next batch fills while one runs

    def __init__(self, dimensions: Sequence[DimensionSettings]) -> None:
        self._dimensions = tuple(dimensions)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="steps")

    async def run(self, jobs: Sequence[StepJob]) -> Sequence[StepResult | Failure]:
        """See `PureSteps`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, do_steps, self._dimensions, jobs)

    def close(self) -> None:
        """Stop the thread. It drops queued batches."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def do_steps(dimensions: Sequence[DimensionSettings], jobs: Sequence[StepJob]) -> list[StepResult | Failure]:
    """Return the result or the failure of each job, in the order of `jobs`."""
    return [_do_step(dimensions, job) for job in jobs]


def _do_step(dimensions: Sequence[DimensionSettings], job: StepJob) -> StepResult | Failure:
    # This imports numpy, which would cost each process that imports this module 0.1 s and 14 MB.
    from actors.core.task.aggregation import aggregate  # noqa: PLC0415

    try:
        settings = dimensions[job.dimension]
        if isinstance(job, AggregateJob):
            return aggregate(settings, job.observations, job.seed)
        return verify(settings, job.aggregate, job.answer, job.known_ids)
    except Exception as error:  # noqa: BLE001 - only the task of this job fails; the log has the traceback
        _log.exception("a dimension's step failed")
        text = f"{type(error).__name__}: {error}"[:500]
        return Failure(FailureKind.PERMANENT, Blame.UNKNOWN, text)
