"""The pure steps, run in batches: those of a dimension, which aggregate and verify, and computed steps.

Each job of a batch has its own result, so a job that fails does not affect the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

from actors.core.errors import Blame, Failure, FailureKind, HeadraceError, InvariantError, text_of
from actors.core.messages.tasks import DimensionResult
from actors.core.messages.values import Json
from actors.core.task.dimensions import Aggregate, DimensionSettings, Observation, verify
from actors.pipeline.step_thread import StepThread, ThreadBatch

_log = logging.getLogger(__name__)

_LONGEST_CAUSE = 500
_PATIENCE_S = 5.0  # a pure step takes milliseconds
_MOST_STUCK = 8


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
Late: TypeAlias = asyncio.Future[StepResult | Failure]


class PureSteps(Protocol):
    """Runs steps.

    At most `parallel` batches run at once. Under load they start `interval_s` seconds apart.
    """

    parallel: int
    interval_s: float

    async def run(self, jobs: Sequence[StepJob]) -> Sequence[StepResult | Failure | Late]:
        """Return the result or the failure of each job, in the order of `jobs`; a future if it takes long.

        The result of an `AggregateJob` is an `Aggregate`, that of a `VerifyJob` a `DimensionResult`, and that
        of a `ComputeJob` the fields.
        """
        ...


class ThreadSteps:
    """Runs the steps of `dimensions` on a thread of this process.

    A job that takes longer than `patience_s` keeps its thread, and the others go on with a new one. With
    `_MOST_STUCK` such threads, computed steps fail until one of them ends.
    """

    parallel = 1
    interval_s = 0.0  # the next batch fills while one runs

    def __init__(self, dimensions: Sequence[DimensionSettings], patience_s: float = _PATIENCE_S) -> None:
        self._dimensions = tuple(dimensions)
        self._patience_s = patience_s
        self._thread: StepThread | None = None
        self._stuck: set[asyncio.Future[None]] = set()
        self._refuses = False

    async def run(self, jobs: Sequence[StepJob]) -> Sequence[StepResult | Failure | Late]:
        """See `PureSteps`."""
        results: list[StepResult | Failure | Late] = []
        while len(results) < len(jobs):
            if len(self._stuck) >= _MOST_STUCK and not self._refuses:
                patience_s = _MOST_STUCK * self._patience_s  # slow jobs share the processor
                await asyncio.wait(self._stuck, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
                self._refuses = len(self._stuck) >= _MOST_STUCK
            results += await self._begin(jobs[len(results) :])
        return results

    def close(self) -> None:
        """End the thread after the batch that it runs."""
        if self._thread is not None:
            self._thread.close()
            self._thread = None

    async def _begin(self, jobs: Sequence[StepJob]) -> Sequence[StepResult | Failure | Late]:
        """Return the results of the first of these jobs, up to one that takes long."""
        batch: ThreadBatch[StepJob, StepResult | Failure] = ThreadBatch(self._do, jobs)
        self._thread = self._thread or StepThread()
        self._thread.begin(batch)
        done = -1
        try:
            while not batch.ended.done() and done < len(batch.results):
                done = len(batch.results)
                await asyncio.wait({batch.ended}, timeout=self._patience_s)
        except asyncio.CancelledError:
            self._leave(batch)
            raise
        if batch.error is not None:
            raise batch.error
        if batch.ended.done():
            return batch.results
        position = self._leave(batch)
        if position == len(jobs):
            return batch.results
        _log.warning("%s took over %g s: others go on beside it", named(jobs[position]), self._patience_s)
        return [*batch.results[:position], _late(batch, position)]

    def _leave(self, batch: ThreadBatch[StepJob, StepResult | Failure]) -> int:
        """Leave the thread of `batch` to the job in progress, and return the position of that."""
        self.close()
        self._stuck.add(batch.ended)
        batch.ended.add_done_callback(self._on_ended)
        return batch.leave()

    def _on_ended(self, ended: asyncio.Future[None]) -> None:
        self._stuck.discard(ended)
        self._refuses = False

    def _do(self, job: StepJob) -> StepResult | Failure:
        if self._refuses and isinstance(job, ComputeJob):
            text = f"{named(job)}: {_MOST_STUCK} calls of compute have not ended; correct what they wait for"
            return Failure(FailureKind.PERMANENT, Blame.CONFIG, text)
        return do_step(self._dimensions, job)


def _late(batch: ThreadBatch[StepJob, StepResult | Failure], position: int) -> Late:
    """Return the future of the result of a job that is in progress."""
    late: Late = asyncio.get_running_loop().create_future()

    def end(_: asyncio.Future[None]) -> None:
        if late.done():
            return
        if position < len(batch.results):
            late.set_result(batch.results[position])
        else:
            late.set_exception(batch.error or InvariantError("a job has no result"))

    batch.ended.add_done_callback(end)
    return late


def named(job: StepJob) -> str:
    """Return what errors call a step."""
    return f"step {job.computation.name}" if isinstance(job, ComputeJob) else "a step of a dimension"


def _computed(job: ComputeJob) -> Mapping[str, Json] | Failure:
    try:
        return job.computation.values_of(job.item)
    except BaseException as error:  # noqa: BLE001 - code of a plug-in; only this item fails
        kind = "" if isinstance(error, HeadraceError) else f"{type(error).__name__}: "
        text = f"{named(job)}: {kind}{text_of(error)}"
        return Failure(FailureKind.PERMANENT, Blame.CONFIG, text[:_LONGEST_CAUSE])


def do_step(dimensions: Sequence[DimensionSettings], job: StepJob) -> StepResult | Failure:
    """Return the result or the failure of a job."""
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
