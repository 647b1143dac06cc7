"""A batch of steps whose node or worker is lost is done again; one that ends every worker is not."""

from __future__ import annotations

import asyncio
import threading
from typing import Literal

import pytest
from ray.exceptions import NodeDiedError, RayTaskError, WorkerCrashedError

from actors.pipeline.steps import ComputeJob, ThreadSteps, VerifyJob
from actors.transport.pickling import dumps
from cluster.assembly import ray_steps
from cluster.assembly.ray_steps import RaySteps
from tests.unit.support.computed_steps import Words
from tests.unit.support.leaping_loop import run_leaping

JOBS = [VerifyJob(0, None, None, ())]


class Remote:
    """Ray's side: each time it is asked it fails with the next of `errors`, and is done after them."""

    def __init__(self, errors):
        self.errors = list(errors)
        self.asked = 0

    async def remote(self, dimensions, jobs):
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return dumps(["done"])


@pytest.fixture
def run(monkeypatch):
    def run(*errors):
        remote = Remote(errors)
        monkeypatch.setattr(ray_steps, "_named", lambda *_: remote)

        async def main():
            async with asyncio.timeout(3600.0):
                return await RaySteps([], 1).run(JOBS)

        return remote, lambda: run_leaping(main())

    return run


def test_what_is_lost_with_nodes_is_done_again_until_it_is_done(run):
    remote, main = run(*[NodeDiedError("the node died")] * 50)
    assert main() == ["done"]
    assert remote.asked == 51


def test_a_batch_that_ends_worker_after_worker_is_given_up(run):
    remote, main = run(*[WorkerCrashedError()] * 50)
    with pytest.raises(WorkerCrashedError):
        main()
    assert remote.asked == 3


def test_the_jobs_of_a_batch_that_ends_its_worker_are_done_alone(monkeypatch):
    class Crashing:
        async def remote(self, dimensions, jobs):
            if "bad" in ray_steps._loads(jobs):
                raise WorkerCrashedError
            return dumps([f"{job} is done" for job in ray_steps._loads(jobs)])

    monkeypatch.setattr(ray_steps, "_named", lambda *_: Crashing())
    first, failed, last = run_leaping(RaySteps([], 1).run(["one", "bad", "two"]))
    assert (first, last) == ("one is done", "two is done")
    assert failed.message.startswith("a step ended its worker: WorkerCrashedError")


async def test_a_batch_that_is_given_up_is_ended_with_its_worker(monkeypatch):
    class Hanging:
        def remote(self, dimensions, jobs):
            return asyncio.get_running_loop().create_future()

    ended = []
    monkeypatch.setattr(ray_steps, "_named", lambda *_: Hanging())
    monkeypatch.setattr(ray_steps.ray, "cancel", lambda asked, *, force: ended.append(force))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await RaySteps([], 1).run(JOBS)
    assert ended == [True]


async def test_a_worker_does_not_wait_without_end_for_a_step(monkeypatch):
    held = threading.Event()

    class Holding(Words):
        kind: Literal["holding"]

        def compute(self, item):
            if item["text"] == "held":
                held.wait()
            return super().compute(item)

    monkeypatch.setattr(ray_steps, "_LATE_S", 0.01)
    step = Holding(name="c", kind="holding")
    jobs = [ComputeJob(step, {"text": text}) for text in ("held", "two words")]
    late, done = await ray_steps._in_time(ThreadSteps((), patience_s=0.01), jobs)
    held.set()
    assert late.message == "step c has not ended within 0.01 s"
    assert done["count"] == 2


def test_an_error_of_the_steps_themselves_is_told_at_once(run):
    remote, main = run(RayTaskError("do_steps", "a traceback", ValueError("no")))
    with pytest.raises(RayTaskError):
        main()
    assert remote.asked == 1
