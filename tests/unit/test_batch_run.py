"""A batch run whose surroundings fail: it ends, and says why."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from actors.core.journal_messages import OpenRun, ReadSpent, RunOpened, Spent, TaskTally
from actors.core.messages import CallCounts, Done, Report, Task, TaskState, Usage
from cluster import batch_run
from cluster.batch_run import BatchRun
from cluster.results import ResultsError
from cluster.run_journal import RunOrigin


class Silent:
    """Actors that take everything in and answer nothing."""

    def couriers(self, *, window):
        return (self,)

    async def stop_asking(self):
        pass

    def journal_courier(self):
        return Journal()

    async def send(self, submit):
        return asyncio.get_running_loop().create_future()

    async def close(self):
        pass

    async def statistics(self):
        return SimpleNamespace(journal=None, dispatcher=None, pipelines=(), sources=())


class Wished(Silent):
    """Actors of a run that somebody wants to be cancelled; what is told to end ends."""

    def __init__(self):
        self.futures: dict[str, asyncio.Future] = {}
        self.cancelled: list[str] = []

    async def send(self, submit):
        future = self.futures[submit.task.key] = asyncio.get_running_loop().create_future()
        return future

    def post(self, cancel, *, urgent):
        assert (cancel.run_id, urgent) == ("run", True)  # it must not wait for room that is taken by tasks
        self.cancelled.append(cancel.task)
        state = TaskState.CANCELLED
        report = Report(cancel.task, state, None, (), {}, CallCounts(planned=1), Usage(), 0.1)
        self.futures[cancel.task].set_result(report)
        return self.futures[cancel.task]

    async def statistics(self):
        wished = ("other", "run") if self.futures else ()
        journal = SimpleNamespace(cancel_wished=wished)
        return SimpleNamespace(journal=journal, dispatcher=None, pipelines=(), sources=())


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

    def make(writer=None, topology=None):
        limits = SimpleNamespace(active_tasks=10, accepted_tasks=10, budget_usd=None)
        config = SimpleNamespace(limits=limits, name="test")
        writer = writer or SimpleNamespace(flush=lambda: None, close=tuple)
        return BatchRun(config, "run", topology or Silent(), writer, total=2, origin=RunOrigin({}))

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


async def test_a_run_that_somebody_wants_to_be_cancelled_ends_its_tasks_and_takes_no_more(make_run):
    topology, written = Wished(), []

    def tasks():
        yield from map(Task, ("one", "two"))
        while True:  # more than there is room for, so that the run would go on
            yield Task(f"more-{len(topology.futures)}")

    writer = SimpleNamespace(flush=lambda: None, close=tuple, write=written.append)
    async with asyncio.timeout(5):
        ended = await make_run(writer, topology).run(tasks(), Progress(), asyncio.Event())
    assert ended.on_request
    assert ended.summary.state == "cancelled"
    assert topology.cancelled == list(topology.futures)
    assert [report.key for report in written] == topology.cancelled


async def test_a_run_that_is_stopped_is_not_said_to_be_cancelled_on_request(make_run):
    stop = asyncio.Event()
    stop.set()
    assert not (await make_run().run([Task("one")], Progress(), stop)).on_request
