"""The driver's way to the journal: what is reopened is what ended so, all of it."""

from __future__ import annotations

import pytest

from actors.core.errors import InvalidTransitionError, PeerLostError, StoreUnavailableError
from actors.core.messages.journal import Finish, ReadRun, ReadTasks, TaskTally
from actors.core.messages.tasks import TaskState
from cluster.records import run_journal
from cluster.records.run_journal import RunJournal, RunOrigin
from tests.unit.support.journal_desk import RUN, Desk, report


class ToDesk:
    """A courier that tells a desk."""

    def __init__(self, desk):
        self.desk = desk

    async def call(self, message):
        reply = self.desk.tell(message)
        if isinstance(reply, Exception):
            raise reply
        return reply


@pytest.fixture
def desk():
    desk = Desk(keep="calls")
    desk.open()
    desk.accept(*(f"t{number}" for number in range(9)))
    states = [TaskState.FAILED, TaskState.PARTIAL, TaskState.SUCCEEDED] * 3
    desk.tell_all(*(Finish(RUN, report(f"t{number}", state)) for number, state in enumerate(states)))
    return desk


async def test_all_tasks_that_ended_so_are_reopened_whatever_their_number(desk, monkeypatch):
    monkeypatch.setattr(run_journal, "_PAGE", 2)
    await RunJournal(ToDesk(desk), RUN).reopen(["failed"])
    assert desk.tell(ReadRun(RUN)).tasks == TaskTally(9, succeeded=3, partial=3)
    assert [task.key for task in desk.tell(ReadTasks(RUN, "accepted"))] == ["t0", "t3", "t6"]


async def test_several_states_may_be_named_and_none(desk):
    journal = RunJournal(ToDesk(desk), RUN)
    await journal.reopen([])
    assert desk.tell(ReadRun(RUN)).tasks.ended == 9
    await journal.reopen(["partial", "failed"])
    assert desk.tell(ReadRun(RUN)).tasks == TaskTally(9, succeeded=3)


async def test_an_end_that_the_journal_refuses_keeps_the_class_of_its_error(desk):
    desk.accept("open")
    with pytest.raises(InvalidTransitionError, match="1 open tasks"):
        await RunJournal(ToDesk(desk), RUN).end("succeeded", {})


async def test_an_end_that_the_journal_does_not_confirm_is_told_as_a_trouble_of_the_store():
    class Lost:
        async def call(self, message):
            raise PeerLostError("journal", True)

    with pytest.raises(StoreUnavailableError, match="could not be stored"):
        await RunJournal(Lost(), RUN).end("succeeded", {})


async def test_a_run_that_ended_is_not_given_back_as_interrupted(desk):
    journal = RunJournal(ToDesk(desk), RUN)
    await journal.open("reviews", RunOrigin({"limit": 1}))
    await journal.end("partial", {"tasks": {"succeeded": 3}})
    await journal.release("interrupted")
    run = desk.tell(ReadRun(RUN))
    assert (run.state, run.summary) == ("partial", {"tasks": {"succeeded": 3}})
