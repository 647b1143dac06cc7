"""Runs the pure steps of tasks in batches, each within the time of its task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from actors.core.errors import Blame, Failure, FailureKind
from actors.pipeline.batches import Batches, BatchStatistics
from actors.pipeline.steps import PureSteps, StepJob, StepResult
from actors.pipeline.task_rules import TaskJob

_GRACE_S = 30.0  # a step may have to wait for a worker to start
_MOST_JOBS = 256  # of a batch

Submitted = asyncio.Future[StepResult | Failure]


class StepBatches:
    """Runs steps of all tasks of a pipeline. `time_left` returns the seconds until the deadline of a task."""

    def __init__(
        self,
        steps: PureSteps,
        time_left: Callable[[TaskJob], float],
        *,
        timeout_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._time_left = time_left
        self._batches: Batches[StepJob, StepResult] = Batches(
            steps.run,
            parallel=steps.parallel,
            max_jobs=_MOST_JOBS,
            interval_s=steps.interval_s,
            timeout_s=timeout_s,
            clock=clock,
        )

    def submit(self, step: StepJob) -> Submitted:
        """Queue a step, and return the future for `result`."""
        return self._batches.submit(step)

    async def result(self, job: TaskJob, submitted: Submitted) -> StepResult | Failure:
        """Wait for a step of a task. It may take until `_GRACE_S` after the deadline of the task."""
        try:
            async with asyncio.timeout(self._time_left(job) + _GRACE_S):
                return await submitted
        except TimeoutError:
            text = "no time was left for the task: one of its steps did not end"
            return Failure(FailureKind.DEADLINE, Blame.CLUSTER, text)

    def close(self) -> None:
        """Cancel running steps."""
        self._batches.close()

    def statistics(self) -> BatchStatistics:
        """Return a frozen snapshot."""
        return self._batches.statistics()
