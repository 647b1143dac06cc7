"""The driver's way to the journal: what is reopened is what ended so, all of it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from actors.core.errors import (
    Blame,
    Failure,
    FailureKind,
    InvalidTransitionError,
    PeerLostError,
    StoreUnavailableError,
)
from actors.core.messages.journal import Finish, ReadRun, ReadTasks, TaskTally
from actors.core.messages.tasks import ItemResult, ItemState, TaskState
from cluster.records import run_journal
from cluster.records.run_journal import Repetition, RunJournal, RunOrigin
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


async def reopened(desk, *states, **choice) -> list[str]:
    """Reopen the tasks that ended in `states`, and return the keys of all open tasks."""
    journal = RunJournal(ToDesk(desk), RUN)
    await journal.reopen(await journal.ended_in(Repetition(states, **choice)))
    return [task.key for task in desk.tell(ReadTasks(RUN, "accepted"))]


async def test_all_tasks_that_ended_so_are_reopened_whatever_their_number(desk, monkeypatch):
    monkeypatch.setattr(run_journal, "_PAGE", 2)
    assert await reopened(desk, "failed") == ["t0", "t3", "t6"]
    assert desk.tell(ReadRun(RUN)).tasks == TaskTally(9, succeeded=3, partial=3)


async def test_several_states_may_be_named_and_none(desk):
    assert await reopened(desk) == []
    assert len(await reopened(desk, "partial", "failed")) == 6
    assert desk.tell(ReadRun(RUN)).tasks == TaskTally(9, succeeded=3)


@pytest.mark.parametrize(
    ("kind", "is_asked_again"),
    [
        (FailureKind.TRANSIENT, True),
        (FailureKind.DEADLINE, True),
        (FailureKind.BUDGET, True),
        (FailureKind.IN_DOUBT, True),
        (FailureKind.CANCELLED, True),
        (FailureKind.PERMANENT, False),
        (FailureKind.UNUSABLE, False),
    ],
)
async def test_a_task_is_repeated_if_its_failure_may_pass(desk, kind, is_asked_again):
    failure = Failure(kind, Blame.ENDPOINT, "so it ended")
    item = ItemResult("rows:x", "rows", ItemState.FAILED, error=failure)
    desk.accept("x")
    desk.tell(Finish(RUN, replace(report("x", TaskState.FAILED), items=(item,))))
    again = await reopened(desk, "failed", only_transient=True)
    assert ("x" in again) == is_asked_again
    assert {"t0", "t3", "t6"} <= set(again), "a task that failed before its item may succeed"


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
