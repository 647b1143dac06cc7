"""Runs the pure steps in Ray tasks, on all cores of the cluster.

This module pickles jobs and results: Ray would serialize each of their parts in Python, which takes longer
than the steps.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import ray
from ray.exceptions import RayError, RayTaskError, WorkerCrashedError

from actors.core.errors import Failure
from actors.core.task.dimensions import DimensionSettings
from actors.pipeline.steps import AggregateJob, ComputeJob, StepJob, StepResult, VerifyJob, do_steps
from actors.runtime.sparing_log import SparingLog
from actors.runtime.startup import give_way, settle_in
from actors.transport.pickling import dumps

_sparing = SparingLog(logging.getLogger(__name__))

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_MOST_CRASHES = 3  # each after Ray's own retries


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
        that crashes its worker is repeated at most twice.
        """
        kinds = Counter(map(type, jobs))
        task = _named(*(_at_most(kinds[kind]) for kind in (AggregateJob, VerifyJob, ComputeJob)))
        message, crashes, pause_s = dumps(list(jobs)), 0, _FIRST_PAUSE_S
        while True:
            try:
                done = await task.remote(self._dimensions, message)
                return cast("Sequence[StepResult | Failure]", _loads(done))
            except RayTaskError:
                raise
            except WorkerCrashedError:
                crashes += 1
                if crashes >= _MOST_CRASHES:
                    raise
            except RayError as error:
                _sparing.write(logging.WARNING, "Ray lost a batch of steps, which is repeated: %s", error)
            await asyncio.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)


def warm_up() -> None:
    """Start two workers and load the modules of the steps, for which the first task would wait otherwise.

    There are two because the first batches run concurrently.
    """
    for _ in range(2):
        _load.options(max_retries=0, enable_task_events=False).remote()


@ray.remote
def _load() -> None:
    from actors.core.task import aggregation  # noqa: F401, PLC0415 - `do_steps` loads it

    _begin()


@ray.remote
def _do_steps(dimensions: bytes, jobs: bytes) -> bytes:
    """Run the steps for `RaySteps.run`; arguments and result are pickled."""
    _begin()
    return dumps(do_steps(_loads(dimensions), _loads(jobs)))


@cache  # once a worker
def _begin() -> None:
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
