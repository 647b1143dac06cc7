"""The pure steps of a dimension, as Ray tasks over batches: aggregate before the model writes, verify after.

A batch is answered job by job: one that cannot be done does not take its company with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import ray

from actors.core.dimensions import Aggregate, DimensionSettings, Observation, aggregate, verify
from actors.core.errors import Blame, Failure, FailureKind
from actors.core.messages import DimensionResult, Json

_log = logging.getLogger(__name__)

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class AggregateJob:
    """Aggregate these observations of the dimension at position `dimension`."""

    dimension: int
    observations: tuple[Observation, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class VerifyJob:
    """Verify the model's answer about the dimension at position `dimension`; None: there is no answer."""

    dimension: int
    aggregate: Aggregate
    answer: Mapping[str, Json] | None
    known_ids: tuple[str, ...]


@ray.remote
def aggregate_batch(
    dimensions: Sequence[DimensionSettings], jobs: Sequence[AggregateJob]
) -> list[Aggregate | Failure]:
    """Return an aggregate, or why there is none, for each job in order."""
    return _each(jobs, lambda job: aggregate(dimensions[job.dimension], job.observations, job.seed))


@ray.remote
def verify_batch(
    dimensions: Sequence[DimensionSettings], jobs: Sequence[VerifyJob]
) -> list[DimensionResult | Failure]:
    """Return a result, or why there is none, for each job in order."""
    return _each(
        jobs, lambda job: verify(dimensions[job.dimension], job.aggregate, job.answer, job.known_ids)
    )


def sized(task: Any, step: str, jobs: int) -> Any:
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
