"""The actor around a source: time-outs, retries, the breaker, and a source that could not be made."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.core.errors import Blame, FailureKind
from actors.core.limits.breaker import BreakerState
from actors.core.messages.tasks import Fetch, Task
from actors.sources.actor import GuardedSource
from actors.sources.python import PythonSettings
from actors.sources.simulated import SimulatedSettings
from cluster.assembly.ray_actors import SourceActor
from tests.ray.conftest import WITHIN_S


def simulated(**more: Any) -> SimulatedSettings:
    return SimulatedSettings(name="wire", kind="simulated", **{"latency_s": 0.0, **more})


async def fetch_all(courier: Any, tasks: int, expires_in_s: float = WITHIN_S) -> list[Any]:
    async with asyncio.timeout(WITHIN_S):
        return await asyncio.gather(
            *(courier.call(Fetch(Task(f"task-{number}"), expires_in_s)) for number in range(tasks))
        )


async def test_a_source_answers_with_items_and_failures_that_pass_are_tried_again(fleet):
    actor = fleet.actor(SourceActor, "source:wire", simulated(items=3, failure_rate=0.3, retries=8))
    fetched = await fetch_all(fleet.courier("source:wire"), 20)
    assert all(each.error is None and len(each.items) == 3 for each in fetched)
    assert all(each.items[0].id == "wire:0" for each in fetched)
    known = await fleet.statistics(actor)
    assert known.fetched == 20
    assert known.failed == 0
    assert known.tries == sum(each.attempts for each in fetched) > 20


async def test_a_source_that_does_not_answer_in_time_is_a_failure_of_its_own(fleet):
    fleet.actor(SourceActor, "source:wire", simulated(latency_s=600.0, timeout_s=0.1, retries=1))
    (fetched,) = await fetch_all(fleet.courier("source:wire"), 1)
    assert fetched.items == ()
    assert fetched.attempts == 2
    assert (fetched.error.kind, fetched.error.blame) == (FailureKind.TRANSIENT, Blame.SOURCE)
    assert "no answer within 0.1 s" in fetched.error.message


async def test_a_task_without_time_left_is_not_tried(fleet):
    actor = fleet.actor(SourceActor, "source:wire", simulated())
    (fetched,) = await fetch_all(fleet.courier("source:wire"), 1, expires_in_s=0.0)
    assert fetched.error.kind is FailureKind.DEADLINE
    assert (await fleet.statistics(actor)).tries == 0


async def test_a_dead_source_is_left_alone_and_says_why(fleet):
    actor = fleet.actor(
        SourceActor, "source:wire", simulated(failure_rate=1.0, retries=0, concurrency=1, outage_s=0)
    )
    fetched = await fetch_all(fleet.courier("source:wire"), 60)
    known = await fleet.statistics(actor)
    assert known.breaker is not BreakerState.CLOSED
    assert known.failed == 60
    assert known.tries < 60
    assert "simulated failure" in fetched[0].error.message
    assert (
        "the breaker is open after repeated failures; the last one: wire: simulated"
        in fetched[-1].error.message
    )


async def test_a_source_that_cannot_be_made_tells_every_task_why(fleet):
    settings = PythonSettings(name="mine", kind="python", target="no_such_package:Source")
    actor = fleet.actor(SourceActor, "source:mine", settings)
    fetched = await fetch_all(fleet.courier("source:mine"), 5)
    assert {each.error.blame for each in fetched} == {Blame.CONFIG}
    assert all("no module 'no_such_package'" in each.error.message for each in fetched)
    assert (await fleet.statistics(actor)).failed == 5


@pytest.mark.parametrize("options", [{"concurrency": 2}, {"concurrency": 7}])
async def test_no_more_fetches_are_under_way_than_the_source_bears(options):
    guarded = GuardedSource(simulated(**options))
    under_way, most, release = 0, 0, asyncio.Event()

    class Counting:
        async def fetch(self, task: Task) -> tuple[()]:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await release.wait()
            under_way -= 1
            return ()

        async def close(self) -> None: ...

    guarded._source = Counting()
    replies: asyncio.Queue[Any] = asyncio.Queue()
    for number in range(20):
        guarded._on_item(Fetch(Task(f"task-{number}"), 30.0), replies.put_nowait)
    await asyncio.sleep(0)
    release.set()
    async with asyncio.timeout(WITHIN_S):
        for _ in range(20):
            assert (await replies.get()).error is None
    assert most == options["concurrency"]
