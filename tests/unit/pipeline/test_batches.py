"""Jobs in batches: what gathers goes together, and every job's owner learns how it ended."""

from __future__ import annotations

import asyncio

from actors.core.errors import Blame, Failure, FailureKind
from actors.pipeline.batches import Batches, BatchStatistics


class Worker:
    """Runs batches when told to; each job's result is its tenfold."""

    def __init__(self):
        self.batches = []
        self.may_end = asyncio.Event()

    async def run(self, jobs):
        self.batches.append(list(jobs))
        await self.may_end.wait()
        return [job * 10 for job in jobs]


def make(run, *, parallel=1, max_jobs=100, timeout_s=60.0, interval_s=0.0):
    return Batches(run, parallel=parallel, max_jobs=max_jobs, timeout_s=timeout_s, interval_s=interval_s)


async def await_one(batches, n):
    """Submit a job in a turn of the loop of its own, and wait for it."""
    await turns(10 * n)
    return await batches.submit(n)


async def turns(n=10):
    for _ in range(n):
        await asyncio.sleep(0)


async def test_jobs_of_one_turn_of_the_loop_go_together():
    worker = Worker()
    batches = make(worker.run)
    worker.may_end.set()
    assert await asyncio.gather(*[batches.submit(n) for n in range(5)]) == [0, 10, 20, 30, 40]
    assert worker.batches == [[0, 1, 2, 3, 4]]


async def test_what_gathers_while_all_workers_are_busy_goes_in_one_batch():
    worker = Worker()
    batches = make(worker.run)
    first = batches.submit(0)
    await turns()
    rest = []
    for n in range(1, 4):
        rest.append(batches.submit(n))
        await turns()
    assert batches.statistics() == BatchStatistics(queued=3, running=1, jobs=1, batches=1)
    worker.may_end.set()
    assert await asyncio.gather(first, *rest) == [0, 10, 20, 30]
    assert worker.batches == [[0], [1, 2, 3]]
    await turns()
    assert batches.statistics() == BatchStatistics(queued=0, running=0, jobs=4, batches=2)


async def test_a_batch_holds_no_more_jobs_than_allowed():
    worker = Worker()
    batches = make(worker.run, max_jobs=2)
    worker.may_end.set()
    await asyncio.gather(*[batches.submit(n) for n in range(5)])
    assert worker.batches == [[0, 1], [2, 3], [4]]


async def test_under_load_batches_wait_for_company_unless_they_are_full():
    worker = Worker()
    worker.may_end.set()
    batches = make(worker.run, max_jobs=3, interval_s=1000.0)
    await asyncio.gather(*[await_one(batches, n) for n in range(3)])
    for n in range(3, 5):
        batches.submit(n)
        await turns()
    assert batches.statistics() == BatchStatistics(queued=2, running=0, jobs=3, batches=3)
    await batches.submit(5)
    assert worker.batches[3:] == [[3, 4, 5]]


async def test_no_more_batches_run_at_once_than_allowed():
    worker = Worker()
    batches = make(worker.run, parallel=2, max_jobs=1)
    futures = [batches.submit(n) for n in range(5)]
    await turns()
    assert worker.batches == [[0], [1]]
    worker.may_end.set()
    await asyncio.gather(*futures)
    assert len(worker.batches) == 5


async def test_a_batch_that_fails_gives_a_failure_to_each_of_its_jobs_and_the_next_runs():
    async def run(jobs):
        if 1 in jobs:
            raise ZeroDivisionError("by nothing")
        return jobs

    batches = make(run, max_jobs=2)
    first, second, third = await asyncio.gather(*[batches.submit(n) for n in (1, 2, 3)])
    assert first == second
    assert isinstance(first, Failure)
    assert first.kind is FailureKind.PERMANENT
    assert "ZeroDivisionError: by nothing" in first.message
    assert third == 3


async def test_a_batch_that_takes_too_long_is_stopped_and_may_be_tried_again():
    stopped = []

    async def run(jobs):
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(list(jobs))

    batches = make(run, timeout_s=0.01)
    failures = await asyncio.gather(batches.submit(1), batches.submit(2))
    assert {(each.kind, each.blame) for each in failures} == {(FailureKind.TRANSIENT, Blame.CLUSTER)}
    assert stopped == [[1, 2]]


async def test_a_batch_that_loses_a_result_fails_all_its_jobs_instead_of_leaving_one_waiting():
    async def run(jobs):
        return jobs[:-1]

    batches = make(run)
    async with asyncio.timeout(5):
        results = await asyncio.gather(batches.submit(1), batches.submit(2))
    assert all(isinstance(each, Failure) and "2 jobs returned 1" in each.message for each in results)


async def test_a_failure_of_one_job_is_its_own():
    own = Failure(FailureKind.PERMANENT, Blame.TASK, "no data")

    async def run(jobs):
        return [own if job == 2 else job for job in jobs]

    batches = make(run)
    assert await asyncio.gather(*[batches.submit(n) for n in (1, 2, 3)]) == [1, own, 3]


async def test_an_owner_that_no_longer_waits_does_not_disturb_the_others():
    worker = Worker()
    batches = make(worker.run)
    gone, kept = batches.submit(1), batches.submit(2)
    await turns()
    gone.cancel()
    worker.may_end.set()
    assert await kept == 20
