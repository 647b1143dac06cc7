"""The pure steps of a dimension, done in batches: aggregate before the model writes, verify after.

A job that cannot be done fails alone: a batch is answered job by job.
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
    """Aggregate these observations of the dimension at position `dimension`."""

    dimension: int
    observations: tuple[Observation, ...]
    seed: int


class VerifyJob(Struct, frozen=True):
    """Verify the model's answer about the dimension at position `dimension`; None: there is no answer."""

    dimension: int
    aggregate: Aggregate
    answer: Mapping[str, Json] | None
    known_ids: tuple[str, ...]


StepJob: TypeAlias = AggregateJob | VerifyJob
StepResult: TypeAlias = Aggregate | DimensionResult


class Steps(Protocol):
    """Where steps are done.

    At most `parallel` batches run at once; under load they begin `interval_s` apart.
    """

    parallel: int
    interval_s: float

    async def run(self, jobs: Sequence[StepJob]) -> Sequence[StepResult | Failure]:
        """Return, in their order, the result of each job or why there is none.

        An `AggregateJob` becomes an `Aggregate`, a `VerifyJob` a `DimensionResult`.
        """
        ...


class ThreadSteps:
    """Does the steps of `dimensions` on a thread of this process."""

    parallel = 1
    interval_s = 0.0  # while a batch is done, the next one gathers

    def __init__(self, dimensions: Sequence[DimensionSettings]) -> None:
        self._dimensions = tuple(dimensions)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="steps")

    async def run(self, jobs: Sequence[StepJob]) -> Sequence[StepResult | Failure]:
        """See `Steps`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, do_steps, self._dimensions, jobs)

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def do_steps(dimensions: Sequence[DimensionSettings], jobs: Sequence[StepJob]) -> list[StepResult | Failure]:
    """Return, in their order, the result of each job or why there is none."""
    return [_done(dimensions, job) for job in jobs]


def _done(dimensions: Sequence[DimensionSettings], job: StepJob) -> StepResult | Failure:
    # It loads numpy: a tenth of a second, and 14 MB, of each process that imports this module.
    from actors.core.task.aggregation import aggregate  # noqa: PLC0415

    try:
        settings = dimensions[job.dimension]
        if isinstance(job, AggregateJob):
            return aggregate(settings, job.observations, job.seed)
        return verify(settings, job.aggregate, job.answer, job.known_ids)
    except Exception as error:  # noqa: BLE001 - the one task that it belongs to gets the error, the log all of it
        _log.exception("a dimension's step failed")
        text = f"{type(error).__name__}: {error}"[:500]
        return Failure(FailureKind.PERMANENT, Blame.UNKNOWN, text)
