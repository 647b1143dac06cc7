"""A batch run whose surroundings fail: it ends, and says why."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from actors.core.journal_messages import OpenRun, ReadSpent, RunOpened, Spent, TaskTally
from actors.core.messages import CallCounts, Done, Task, Usage
from cluster import batch_run
from cluster.batch_run import BatchRun
from cluster.results import ResultsError
from cluster.run_journal import RunOrigin


class Silent:
    """Actors that take everything in and answer nothing."""

    def couriers(self, *, window):
        return (self,)

    def journal_courier(self):
        return Journal()

    async def send(self, submit):
        return asyncio.get_running_loop().create_future()

    async def close(self):
        pass

    async def statistics(self):
        return SimpleNamespace(journal=None, dispatcher=None, pipelines=(), sources=())


class Journal:
    """One that agrees to everything."""

    async def call(self, message):
        if isinstance(message, OpenRun):
            return RunOpened(message.run_id, True, 0.0, TaskTally())
        if isinstance(message, ReadSpent):
            return Spent(CallCounts(planned=7, in_doubt=2), Usage(3, 4))
        return Done()

    async def close(self):
        pass


class Progress:
    def show(self, view):
        pass


@pytest.fixture
def make_run(monkeypatch):
    monkeypatch.setattr(batch_run, "_REFRESH_S", 0)

    def make(writer=None):
        limits = SimpleNamespace(active_tasks=10, accepted_tasks=10, budget_usd=None)
        config = SimpleNamespace(limits=limits, name="test")
        writer = writer or SimpleNamespace(flush=lambda: None, close=tuple)
        return BatchRun(config, "run", Silent(), writer, total=2, origin=RunOrigin({}))

    return make


async def test_input_that_cannot_be_read_on_ends_the_run(make_run):
    def tasks():
        yield Task("one")
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        async with asyncio.timeout(5):
            await make_run().run(tasks(), Progress(), asyncio.Event())


async def test_results_that_cannot_be_written_end_the_run(make_run):
    def flush():
        raise ResultsError("no space left")

    writer = SimpleNamespace(flush=flush, close=tuple)
    with pytest.raises(ResultsError, match="no space left"):
        async with asyncio.timeout(5):
            await make_run(writer).run([Task("one")], Progress(), asyncio.Event())


async def test_a_run_that_is_stopped_ends_as_cancelled(make_run):
    stop = asyncio.Event()
    stop.set()
    ended = await make_run().run([Task("one")], Progress(), stop)
    assert ended.summary.state == "cancelled"
    assert ended.summary.calls.in_doubt == 2  # what the journal has counts tasks without a report, too
