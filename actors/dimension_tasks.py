"""The pure steps of a dimension, as Ray tasks over batches: aggregate before the model writes, verify after.

A batch is answered job by job: one that cannot be done does not take its company with it. What goes there and
back is pickled here, as messages are: Ray would take each of its parts apart in Python, which costs more than
the steps themselves.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, cast

import ray
from msgspec import Struct

from actors.core.dimensions import Aggregate, DimensionSettings, Observation, verify
from actors.core.errors import Blame, Failure, FailureKind
from actors.core.messages import DimensionResult, Json
from actors.pickling import dumps
from actors.process import give_way, settle_in

_log = logging.getLogger(__name__)

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


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


class DimensionTasks:
    """The two steps of `dimensions`, on whatever worker Ray has for them.

    Each takes a batch of jobs and returns, in their order, what was made of each or why nothing was.
    """

    def __init__(self, dimensions: Sequence[DimensionSettings]) -> None:
        self._dimensions = dumps(tuple(dimensions))

    async def aggregate(self, jobs: Sequence[AggregateJob]) -> list[Aggregate | Failure]:
        """Sum up what the model said, before it writes."""
        return cast("list[Aggregate | Failure]", await self._run(aggregate_batch, "aggregate", jobs))

    async def verify(self, jobs: Sequence[VerifyJob]) -> list[DimensionResult | Failure]:
        """Check what the model wrote, and make the result."""
        return cast("list[DimensionResult | Failure]", await self._run(verify_batch, "verify", jobs))

    async def _run(self, task: Any, step: str, jobs: Sequence[Any]) -> Any:
        return _loads(await _sized(task, step, len(jobs)).remote(self._dimensions, dumps(list(jobs))))


def warm_up() -> None:
    """Have workers load what the steps take: else the first task of all would wait for it.

    Two, as many as the first batches need. With one, the second and the third batch would each begin another,
    of which one finds nothing to do.
    """
    for _ in range(2):
        _load.options(max_retries=0, enable_task_events=False).remote()


@ray.remote
def _load() -> None:
    from actors.core import aggregation  # noqa: F401, PLC0415 - see `aggregate_batch`

    _begin()


@ray.remote
def aggregate_batch(dimensions: bytes, jobs: bytes) -> bytes:
    """Do what `DimensionTasks.aggregate` asks of a worker; all is pickled."""
    # It loads numpy: a tenth of a second, and 14 MB, of every process that only asks for this.
    from actors.core.aggregation import aggregate  # noqa: PLC0415

    _begin()
    known: Sequence[DimensionSettings] = _loads(dimensions)
    work: Sequence[AggregateJob] = _loads(jobs)
    return dumps(_each(work, lambda job: aggregate(known[job.dimension], job.observations, job.seed)))


@ray.remote
def verify_batch(dimensions: bytes, jobs: bytes) -> bytes:
    """Do what `DimensionTasks.verify` asks of a worker; all is pickled."""
    _begin()
    known: Sequence[DimensionSettings] = _loads(dimensions)
    work: Sequence[VerifyJob] = _loads(jobs)
    return dumps(
        _each(work, lambda job: verify(known[job.dimension], job.aggregate, job.answer, job.known_ids))
    )


@cache  # a worker does many batches
def _begin() -> None:
    settle_in()
    give_way()


def _loads(pickled: bytes) -> Any:
    return pickle.loads(pickled)  # noqa: S301 - it comes from Ray, which would unpickle it itself


def _sized(task: Any, step: str, jobs: int) -> Any:
    """Return `task` under a name that tells, in the dashboard, how many jobs of what step it does at most."""
    return _renamed(task, f"{step} ≤{1 << (jobs - 1).bit_length()}")


@cache  # names are powers of two: Ray keeps series by name
def _renamed(task: Any, name: str) -> Any:
    return task.options(name=name)


def _each(jobs: Sequence[JobT], work: Callable[[JobT], ResultT]) -> list[ResultT | Failure]:
    results: list[ResultT | Failure] = []
    for job in jobs:
        try:
            results.append(work(job))
        except Exception as error:  # noqa: BLE001 - told to the one task it belongs to, loud in the log
            _log.exception("a dimension's step failed")
            text = f"{type(error).__name__}: {error}"[:500]
            results.append(Failure(FailureKind.PERMANENT, Blame.UNKNOWN, text))
    return results
