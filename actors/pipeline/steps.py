"""The pure steps, run in batches: those of a dimension, which aggregate and verify, and computed steps.

Each job of a batch has its own result, so a job that fails does not affect the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeAlias

from msgspec import Struct

from actors.core.errors import Blame, Failure, FailureKind, HeadraceError, text_of
from actors.core.messages.tasks import DimensionResult
from actors.core.messages.values import Json
from actors.core.task.dimensions import Aggregate, DimensionSettings, Observation, verify

_log = logging.getLogger(__name__)

_LONGEST_CAUSE = 500


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


class Computation(Protocol):
    """A step that computes fields of an item without a model. It can be pickled."""

    @property
    def name(self) -> str:
        """The name of the step."""

    def values_of(self, item: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return the declared fields. It is code of a plug-in, and may raise anything."""
        ...


class ComputeJob(Struct, frozen=True):
    """Compute the fields of a step from the values of an item."""

    computation: Computation
    item: Mapping[str, Json]


StepJob: TypeAlias = AggregateJob | VerifyJob | ComputeJob
StepResult: TypeAlias = Aggregate | DimensionResult | Mapping[str, Json]


class PureSteps(Protocol):
    """Runs steps.

    At most `parallel` batches run at once. Under load they start `interval_s` seconds apart.
    """

    parallel: int
    interval_s: float

    async def run(self, jobs: Sequence[StepJob]) -> Sequence[StepResult | Failure]:
        """Return the result or the failure of each job, in the order of `jobs`.

        The result of an `AggregateJob` is an `Aggregate`, that of a `VerifyJob` a `DimensionResult`, and that
        of a `ComputeJob` the fields.
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


def _computed(job: ComputeJob) -> Mapping[str, Json] | Failure:
    try:
        return job.computation.values_of(job.item)
    except BaseException as error:  # noqa: BLE001 - code of a plug-in; only this item fails
        kind = "" if isinstance(error, HeadraceError) else f"{type(error).__name__}: "
        text = f"step {job.computation.name}: {kind}{text_of(error)}"
        return Failure(FailureKind.PERMANENT, Blame.CONFIG, text[:_LONGEST_CAUSE])


def _do_step(dimensions: Sequence[DimensionSettings], job: StepJob) -> StepResult | Failure:
    if isinstance(job, ComputeJob):
        return _computed(job)
    # This imports numpy, which would cost each process that imports this module 0.1 s and 14 MB.
    from actors.core.task.aggregation import aggregate  # noqa: PLC0415

    try:
        settings = dimensions[job.dimension]
        if isinstance(job, AggregateJob):
            return aggregate(settings, job.observations, job.seed)
        return verify(settings, job.aggregate, job.answer, job.known_ids)
    except Exception as error:  # noqa: BLE001 - only the task of this job fails; the log has the traceback
        _log.exception("a dimension's step failed")
        text = f"{type(error).__name__}: {text_of(error)}"[:_LONGEST_CAUSE]
        return Failure(FailureKind.PERMANENT, Blame.UNKNOWN, text)
