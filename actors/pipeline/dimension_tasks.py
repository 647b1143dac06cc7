"""The pure steps of a dimension, as Ray tasks over batches: aggregate before the model writes, verify after.

A batch is answered job by job: one that cannot be done does not take its company with it. What goes there and
back is pickled here, as messages are: Ray would take each of its parts apart in Python, which costs more than
the steps themselves.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias, cast

import ray
from msgspec import Struct
from ray.exceptions import RayError, RayTaskError, WorkerCrashedError

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.messages.actors import DimensionResult, Json
from actors.core.task.dimensions import Aggregate, DimensionSettings, Observation, verify
from actors.runtime.sparing_log import SparingLog
from actors.runtime.startup import give_way, settle_in
from actors.transport.pickling import dumps

_log = logging.getLogger(__name__)
_sparing = SparingLog(_log)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_MOST_CRASHES = 3  # each of them after the tries that Ray makes by itself


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


class DimensionTasks:
    """The two steps of `dimensions`, on whatever worker Ray has for them.

    Both are done by one Ray function. Were there one for each, each would ask for workers of its own, and now
    and then a raylet would begin some that find nothing to do.
    """

    def __init__(self, dimensions: Sequence[DimensionSettings]) -> None:
        self._dimensions = dumps(tuple(dimensions))

    async def run(self, jobs: Sequence[StepJob]) -> list[StepResult | Failure]:
        """Return, in their order, what was made of each job or why nothing was.

        An `AggregateJob` becomes an `Aggregate`, a `VerifyJob` a `DimensionResult`. What a node or Ray's head
        takes with it is done again, for as long as the caller waits; what ends worker after worker is not.
        """
        verify_jobs = sum(isinstance(job, VerifyJob) for job in jobs)
        task = _named(_at_most(len(jobs) - verify_jobs), _at_most(verify_jobs))
        message, crashes, pause_s = dumps(list(jobs)), 0, _FIRST_PAUSE_S
        while True:
            try:
                done = await task.remote(self._dimensions, message)
                return cast("list[StepResult | Failure]", _loads(done))
            except RayTaskError:
                raise
            except WorkerCrashedError:
                crashes += 1
                if crashes >= _MOST_CRASHES:
                    raise
            except RayError as error:
                _sparing.write(logging.WARNING, "Ray lost a batch of steps, which is done again: %s", error)
            await asyncio.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)


def warm_up() -> None:
    """Have workers load what the steps take: else the first task of all would wait for it.

    Two, as the first batches go at once: with one, the second would begin another while calls are under way.
    """
    for _ in range(2):
        _load.options(max_retries=0, enable_task_events=False).remote()


@ray.remote
def _load() -> None:
    from actors.core.task import aggregation  # noqa: F401, PLC0415 - see `aggregate_batch`

    _begin()


@ray.remote
def do_steps(dimensions: bytes, jobs: bytes) -> bytes:
    """Do what `DimensionTasks.run` asks of a worker; all is pickled."""
    # It loads numpy: a tenth of a second, and 14 MB, of every process that only asks for this.
    from actors.core.task.aggregation import aggregate  # noqa: PLC0415

    _begin()
    known: Sequence[DimensionSettings] = _loads(dimensions)

    def step(job: StepJob) -> StepResult:
        settings = known[job.dimension]
        if isinstance(job, AggregateJob):
            return aggregate(settings, job.observations, job.seed)
        return verify(settings, job.aggregate, job.answer, job.known_ids)

    return dumps(_each(_loads(jobs), step))


@cache  # a worker does many batches
def _begin() -> None:
    settle_in()
    give_way()


def _loads(pickled: bytes) -> Any:
    return pickle.loads(pickled)  # noqa: S301 - it comes from Ray, which would unpickle it itself


def _at_most(jobs: int) -> int:
    return 1 << (jobs - 1).bit_length() if jobs else 0


@cache  # what is named are powers of two: Ray keeps series by name
def _named(aggregate_jobs: int, verify_jobs: int) -> Any:
    """Return the function under a name that tells, in the dashboard, how many jobs it does at most."""
    parts = {"aggregate": aggregate_jobs, "verify": verify_jobs}
    return do_steps.options(name=", ".join(f"{step} ≤{jobs}" for step, jobs in parts.items() if jobs))


def _each(jobs: Sequence[StepJob], step: Callable[[StepJob], StepResult]) -> list[StepResult | Failure]:
    results: list[StepResult | Failure] = []
    for job in jobs:
        try:
            results.append(step(job))
        except Exception as error:  # noqa: BLE001 - told to the one task it belongs to, loud in the log
            _log.exception("a dimension's step failed")
            text = f"{type(error).__name__}: {error}"[:500]
            results.append(Failure(FailureKind.PERMANENT, Blame.UNKNOWN, text))
    return results
