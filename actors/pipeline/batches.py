"""Runs jobs in batches that grow under load: jobs that arrive while all workers are busy share a batch.

A Ray task costs some milliseconds of processor time in three processes, whether it does one job or a hundred.
Sending each job separately would cost more than doing it, and waiting for full batches would delay a single
job. So batches are paced: the first ones start at once, and under load the pauses let batches fill.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from msgspec import Struct

from actors.core.errors import Blame, Failure, FailureKind, InvariantError
from actors.transport.pacer import Pacer

_INTERVAL_S = 0.1

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


class BatchStatistics(Struct, frozen=True):
    """A snapshot of `Batches`.

    queued, running: waiting jobs, running batches.
    jobs, batches: totals of what was started.
    """

    queued: int
    running: int
    jobs: int
    batches: int


class Batches(Generic[JobT, ResultT]):
    """Runs jobs with `run`, at most `parallel` batches at once and `max_jobs` jobs in each.

    Under load, batches that are not full start `interval_s` seconds apart.

    A result may be a future: that job goes on after its batch. If a batch fails or takes longer than
    `timeout_s`, each of its jobs gets a `Failure`. The queue needs no bound of its own: each active task
    waits for at most one job per dimension.
    """

    def __init__(
        self,
        run: Callable[
            [Sequence[JobT]], Awaitable[Sequence[ResultT | Failure | asyncio.Future[ResultT | Failure]]]
        ],
        *,
        parallel: int,
        max_jobs: int,
        timeout_s: float,
        interval_s: float = _INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._clock = clock
        self._pacer = Pacer(interval_s)
        self._parallel = parallel
        self._max_jobs = max_jobs
        self._timeout_s = timeout_s
        self._queue: deque[tuple[JobT, asyncio.Future[ResultT | Failure]]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._pump_due = False
        self._jobs = self._batches = 0

    def submit(self, job: JobT) -> asyncio.Future[ResultT | Failure]:
        """Queue `job` and return the future of its result."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ResultT | Failure] = loop.create_future()
        self._queue.append((job, future))
        if not self._pump_due or len(self._queue) >= self._max_jobs:
            self._pump_due = True
            loop.call_soon(self._pump)  # includes all jobs submitted in this iteration of the loop
        return future

    def close(self) -> None:
        """Cancel the running batches."""
        for task in self._running:
            task.cancel()

    def statistics(self) -> BatchStatistics:
        """Return a frozen snapshot."""
        return BatchStatistics(len(self._queue), len(self._running), self._jobs, self._batches)

    def _pump(self) -> None:
        self._pump_due = False
        while self._queue and len(self._running) < self._parallel:
            size = min(len(self._queue), self._max_jobs)
            wait_s = self._pacer.wait_s(self._clock())
            if wait_s > 0 and size < self._max_jobs:
                self._pump_due = True
                asyncio.get_running_loop().call_later(wait_s, self._pump)
                return
            self._pacer.happened(self._clock())
            batch = [self._queue.popleft() for _ in range(size)]
            task = asyncio.create_task(self._run_batch(batch))
            self._running.add(task)
            task.add_done_callback(self._on_batch_done)

    def _on_batch_done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not self._pump_due:
            self._pump()

    async def _run_batch(self, batch: list[tuple[JobT, asyncio.Future[ResultT | Failure]]]) -> None:
        self._batches += 1
        self._jobs += len(batch)
        results: Sequence[ResultT | Failure | asyncio.Future[ResultT | Failure]]
        try:
            async with asyncio.timeout(self._timeout_s):
                results = await self._run([job for job, _ in batch])
            if len(results) != len(batch):
                raise InvariantError(f"{len(batch)} jobs returned {len(results)} results")  # noqa: TRY301 - handled as any failure of the batch
        except TimeoutError:
            text = f"a batch of {len(batch)} jobs did not end within {self._timeout_s:.0f} s"
            results = [Failure(FailureKind.TRANSIENT, Blame.CLUSTER, text)] * len(batch)
        except Exception as error:  # noqa: BLE001 - otherwise the owner of each job would wait without end
            text = f"a batch failed: {type(error).__name__}: {error}"[:500]
            results = [Failure(FailureKind.PERMANENT, Blame.CLUSTER, text)] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            if isinstance(result, asyncio.Future):
                result.add_done_callback(partial(_pass_on, future))
            elif not future.done():
                future.set_result(result)


def _pass_on(to: asyncio.Future[ResultT | Failure], late: asyncio.Future[ResultT | Failure]) -> None:
    error = late.exception()
    if not to.done():
        text = f"a job failed: {type(error).__name__}: {error}"[:500]
        failure = Failure(FailureKind.PERMANENT, Blame.CLUSTER, text)
        to.set_result(late.result() if error is None else failure)
