"""A batch of steps whose node or worker is lost is done again; one that ends every worker is not."""

from __future__ import annotations

import asyncio

import pytest
from ray.exceptions import NodeDiedError, RayTaskError, WorkerCrashedError

from actors.pipeline.steps import VerifyJob
from actors.transport.pickling import dumps
from cluster.assembly import ray_steps
from cluster.assembly.ray_steps import RaySteps
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


def test_an_error_of_the_steps_themselves_is_told_at_once(run):
    remote, main = run(RayTaskError("do_steps", "a traceback", ValueError("no")))
    with pytest.raises(RayTaskError):
        main()
    assert remote.asked == 1
