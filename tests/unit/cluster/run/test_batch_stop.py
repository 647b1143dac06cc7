"""A batch run that is stopped: what it waits for, and how it ends."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from actors.core.errors import (
    StoppedError,
    StoreUnavailableError,
)
from actors.core.messages.journal import (
    CloseRun,
    ReadRun,
    ReadSpent,
    TaskTally,
)
from actors.core.messages.tasks import Task
from cluster.report.summary import summary_json
from cluster.run.stopping import StopRequest
from tests.unit.support.batch_world import (
    Journal,
    Progress,
    Silent,
    Writer,
    begun_with,
)


async def test_ctrl_c_while_the_store_is_away_still_gives_a_summary(make_run):
    stop, writer = StopRequest(), Writer()
    stop.set()
    topology = Silent(Journal({CloseRun: StoreUnavailableError("the server is down")}))
    ended = await make_run(writer, topology).run([Task("one")], Progress(), stop)
    assert (ended.summary.state, ended.summary.results) == ("interrupted", ())
    assert "publish" not in writer.did


class Draining(Silent):
    """Actors whose answers in flight arrive when a test wants."""

    def __init__(self, *, arrive):
        super().__init__()
        self.arrive = arrive
        self.began, self.drained = asyncio.Event(), False

    async def drain(self):
        self.began.set()
        await self.arrive.wait()
        self.drained = True


@pytest.mark.parametrize("hurries", [False, True])
async def test_a_run_that_is_stopped_waits_for_answers_in_flight_until_it_is_asked_again(make_run, hurries):
    stop, arrive = StopRequest(), asyncio.Event()
    topology = Draining(arrive=arrive)
    running = asyncio.ensure_future(make_run(topology=topology).run([Task("one")], Progress(), stop))
    stop.request()
    await asyncio.wait_for(topology.began.wait(), 5)
    assert not running.done()
    (stop.request if hurries else arrive.set)()
    ended = await asyncio.wait_for(running, 5)
    assert (ended.summary.state, topology.drained) == ("interrupted", not hurries)


async def test_a_run_that_is_stopped_ends_as_interrupted_in_its_summary_and_in_the_journal(make_run):
    stop = StopRequest()
    stop.set()
    journal, writer = Journal(), Writer()
    ended = await make_run(writer, Silent(journal)).run([Task("one")], Progress(), stop)
    assert not writer.was_whole
    (closed,) = [message for message in journal.told if isinstance(message, CloseRun)]
    assert ended.summary.state == closed.state == closed.summary["state"] == "interrupted"
    assert ended.summary.calls.in_doubt == 2  # what the journal has counts tasks without a report, too


@pytest.mark.parametrize(
    ("away", "complete", "open_tasks"), [((), True, 1), ((ReadSpent,), False, 1), ((ReadRun,), False, None)]
)
async def test_a_summary_without_the_figures_of_the_journal_says_so(make_run, away, complete, open_tasks):
    stop = StopRequest()
    stop.set()
    journal = begun_with([Task("one")], state="accepted")
    journal.refuses = {kind: StoreUnavailableError("the server is down") for kind in away}
    ended = await make_run(topology=Silent(journal)).run([Task("one")], Progress(), stop)
    document = summary_json(ended.summary)
    assert (document["complete"], document["tasks"]["open"]) == (complete, open_tasks)


async def test_a_task_whose_report_did_not_arrive_in_time_is_counted_as_the_journal_has_it(make_run):
    stop, tasks = StopRequest(), [Task("one"), Task("two")]
    stop.set()
    journal = begun_with(tasks, state="accepted")
    journal.tasks = (replace(journal.tasks[0], state="succeeded"), journal.tasks[1])
    summary = (await make_run(topology=Silent(journal)).run(tasks, Progress(), stop)).summary
    assert (summary.tasks, summary.open_tasks) == (TaskTally(2, succeeded=1), 1)


async def test_ctrl_c_ends_a_start_whose_journal_does_not_answer(make_run):
    class Hanging(Journal):
        async def call(self, message):
            await StopRequest().wait()

    stop = StopRequest()
    running = asyncio.create_task(make_run(topology=Silent(Hanging())).run([], Progress(), stop))
    await asyncio.sleep(0)
    stop.set()
    async with asyncio.timeout(5):
        with pytest.raises(StoppedError, match="interrupted while the run began"):
            await running
