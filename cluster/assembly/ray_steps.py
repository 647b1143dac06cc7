"""Runs the pure steps in Ray tasks, on all cores of the cluster.

This module pickles jobs and results: Ray would serialize each of their parts in Python, which takes longer
than the steps.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import ray
from ray.exceptions import RayError, RayTaskError, WorkerCrashedError

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.task.dimensions import DimensionSettings
from actors.pipeline.steps import (
    AggregateJob,
    ComputeJob,
    Late,
    StepJob,
    StepResult,
    ThreadSteps,
    VerifyJob,
    named,
)
from actors.runtime.sparing_log import SparingLog
from actors.runtime.startup import give_way, settle_in
from actors.runtime.telemetry.logs import log_as_json, wants_json
from actors.transport.pickling import dumps

_sparing = SparingLog(logging.getLogger(__name__))

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_MOST_CRASHES = 3  # each after Ray's own retries
_LATE_S = 30.0  # for steps that keep a thread, after all others of their batch
_LONGEST_CAUSE = 500


class RaySteps:
    """Runs the steps of `dimensions` on the workers of the cluster, at most `parallel` batches at once.

    One Ray function does all steps. Several functions would request separate workers, and a raylet would
    sometimes start idle ones.
    """

    interval_s = 0.1  # a Ray task takes some milliseconds of processor time in three processes

    def __init__(self, dimensions: Sequence[DimensionSettings], parallel: int) -> None:
        self._dimensions = dumps(tuple(dimensions))
        self.parallel = parallel

    async def run(self, jobs: Sequence[StepJob]) -> Sequence[StepResult | Failure]:
        """See `PureSteps`.

        A batch that is lost with a node or with Ray's head is repeated, as long as the caller waits. A batch
        that crashes its worker is repeated with each job in a batch of its own, which is repeated at most
        twice. A batch that the caller gives up is ended with its worker, which may hang.
        """
        kinds = Counter(map(type, jobs))
        task = _named(*(_at_most(kinds[kind]) for kind in (AggregateJob, VerifyJob, ComputeJob)))
        message, crashes, pause_s = dumps(list(jobs)), 0, _FIRST_PAUSE_S
        while True:
            try:
                asked = task.remote(self._dimensions, message)
                return cast("Sequence[StepResult | Failure]", _loads(await asked))
            except asyncio.CancelledError:
                ray.cancel(asked, force=True)
                raise
            except RayTaskError:
                raise
            except WorkerCrashedError:
                if len(jobs) > 1:
                    return await self._one_by_one(jobs)
                crashes += 1
                if crashes >= _MOST_CRASHES:
                    raise
            except RayError as error:
                _sparing.write(logging.WARNING, "Ray lost a batch of steps, which is repeated: %s", error)
            await asyncio.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)

    async def _one_by_one(self, jobs: Sequence[StepJob]) -> list[StepResult | Failure]:
        alone = await asyncio.gather(*(self.run([job]) for job in jobs), return_exceptions=True)
        return [_crashed(found) if isinstance(found, BaseException) else found[0] for found in alone]


def _crashed(error: BaseException) -> Failure:
    text = f"a step ended its worker: {type(error).__name__}: {error}"
    return Failure(FailureKind.PERMANENT, Blame.CLUSTER, text[:_LONGEST_CAUSE])


def warm_up() -> None:
    """Start two workers and load the modules of the steps, for which the first task would wait otherwise.

    There are two because the first batches run concurrently.
    """
    for _ in range(2):
        _load.options(max_retries=0, enable_task_events=False).remote()


@ray.remote
def _load() -> None:
    from actors.core.task import aggregation  # noqa: F401, PLC0415 - `do_step` loads it

    _begin()


@ray.remote
def _do_steps(dimensions: bytes, jobs: bytes) -> bytes:
    """Run the steps for `RaySteps.run`; arguments and result are pickled."""
    _begin()
    return dumps(_loop().run_until_complete(_in_time(_steps(dimensions), _loads(jobs))))


async def _in_time(steps: ThreadSteps, jobs: Sequence[StepJob]) -> list[StepResult | Failure]:
    """Run the steps, and wait `_LATE_S` for those that keep a thread."""
    results = await steps.run(jobs)
    late = [each for each in results if isinstance(each, asyncio.Future)]
    if late:
        await asyncio.wait(late, timeout=_LATE_S)
    return [
        _ended(each, job) if isinstance(each, asyncio.Future) else each
        for each, job in zip(results, jobs, strict=True)
    ]


def _ended(late: Late, job: StepJob) -> StepResult | Failure:
    if late.done():
        return late.result()
    text = f"{named(job)} has not ended within {_LATE_S:g} s"
    return Failure(FailureKind.PERMANENT, Blame.CONFIG, text)


@cache  # threads that one batch left end in a later one
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@cache
def _steps(dimensions: bytes) -> ThreadSteps:
    return ThreadSteps(_loads(dimensions))


@cache  # once a worker
def _begin() -> None:
    if wants_json("", os.environ):
        log_as_json()
    settle_in()
    give_way()


def _loads(pickled: bytes) -> Any:
    return pickle.loads(pickled)  # noqa: S301 - it comes from Ray, which unpickles everything


def _at_most(jobs: int) -> int:
    return 1 << (jobs - 1).bit_length() if jobs else 0


@cache  # the numbers are powers of two: Ray keeps a time series for each name
def _named(aggregate_jobs: int, verify_jobs: int, compute_jobs: int) -> Any:
    """Return the function under a name that shows the maximum number of jobs in Ray's dashboard."""
    parts = {"aggregate": aggregate_jobs, "verify": verify_jobs, "compute": compute_jobs}
    return _do_steps.options(name=", ".join(f"{step} ≤{jobs}" for step, jobs in parts.items() if jobs))
