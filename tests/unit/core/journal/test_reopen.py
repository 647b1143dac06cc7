"""A task that is done again: its end is taken back, what it cost is not."""

from __future__ import annotations

import pytest

from actors.core.errors import Blame, Failure, FailureKind, FencedError, InvalidTransitionError
from actors.core.journal import keys
from actors.core.journal.batch import WriteBatch
from actors.core.journal.reads import read_attempts
from actors.core.messages.journal import (
    CloseRun,
    Collected,
    Finish,
    Note,
    ReadEvents,
    ReadRun,
    ReadTask,
    ReadTasks,
    Reopen,
    TaskTally,
)
from actors.core.messages.tasks import Fetched, Item, TaskState
from actors.core.messages.values import Done
from tests.unit.support.journal_desk import RUN, Desk, PlainJson, intent, outcome, report

WHOLE = (Fetched("wire", (Item("wire-1", "wire", "Good."),)),)
FAILED = Failure(FailureKind.TRANSIENT, Blame.SOURCE, "gone")


def make_desk(keep):
    desk = Desk(keep=keep)
    desk.open()
    desk.accept("t1")
    return desk


def fail(desk, fetched=WHOLE):
    """Have task t1 fail, after one answered and one refused attempt; return how to take that back."""
    desk.tell_all(Note(RUN, "t1", "started"), Collected(RUN, "t1", fetched), intent(1), intent(2, "k2"))
    desk.tell_all(outcome(1, {"q": 1}), outcome(2, kind=FailureKind.REFUSED, call="k2"))
    desk.tell(Finish(RUN, report(state=TaskState.FAILED, planned=2)))
    return Reopen(RUN, "t1", desk.tell(ReadTask(RUN, "t1"))[0].ended_at)


def attempts(desk):
    views = read_attempts(desk.store, PlainJson(), RUN, "t1")
    return [(view.call_key, view.outcome, view.billed) for view in views]


@pytest.mark.parametrize("keep", ["reports", "calls"])
def test_a_reopened_task_is_accepted_again_and_what_was_paid_stays_counted(keep):
    desk = make_desk(keep)
    again = fail(desk)
    assert desk.tell(again) == Done()
    view, nothing = desk.tell(ReadTask(RUN, "t1"))
    assert (view.state, view.ended_at, nothing) == ("accepted", None, None)
    assert [one.key for one in desk.tell(ReadTasks(RUN, "accepted"))] == ["t1"]
    assert desk.tell(ReadTasks(RUN, "failed")) == ()
    run = desk.tell(ReadRun(RUN))
    assert run.tasks == TaskTally(accepted=1)
    counts = run.spent.counts
    assert (counts.planned, counts.billed, counts.refused) == (0, 1, 1)
    assert attempts(desk) == [("k1", "answered", True), ("k2", "refused", False)]

    desk.tell_all(intent(3, "k2"), outcome(3, call="k2"))
    assert attempts(desk)[-1] == ("k2", "answered", True)
    ended = desk.tell(Finish(RUN, report(planned=2, reused=1)))
    assert (ended.calls.planned, ended.calls.billed, ended.calls.refused) == (2, 2, 1)
    assert desk.tell(ReadRun(RUN)).tasks == TaskTally(accepted=1, succeeded=1)
    assert desk.tell(ReadRun(RUN)).spent.counts == ended.calls


def test_answers_are_used_again_where_they_were_kept():
    kept, dropped = make_desk("calls"), make_desk("reports")
    for desk in (kept, dropped):
        desk.tell(fail(desk))
    assert {call: one.values for call, one in kept.accept("t1")[0].answers.items()} == {"k1": {"q": 1}}
    assert kept.accept("t1")[0].fetched == WHOLE
    assert (dropped.accept("t1")[0].answers, dropped.accept("t1")[0].fetched) == ({}, None)


@pytest.mark.parametrize("gap", [Fetched("notes", (), FAILED), Fetched("notes", ())], ids=["failed", "empty"])
def test_sources_are_asked_again_where_one_gave_nothing(gap):
    desk = make_desk("calls")
    desk.tell(fail(desk, (*WHOLE, gap)))
    assert desk.accept("t1")[0].fetched is None
    desk.tell(Collected(RUN, "t1", WHOLE))
    assert desk.accept("t1")[0].fetched == WHOLE


def test_taking_back_the_same_end_again_changes_nothing_not_even_after_another_end():
    desk = make_desk("calls")
    again = fail(desk)
    for _ in range(2):
        desk.tell_all(again, again)
        desk.begin("2", keep="calls")
    assert [event.kind for event in desk.tell(ReadEvents(RUN))].count("reopened") == 1
    desk.tell(Finish(RUN, report()))
    assert desk.tell(again) == Done()
    assert desk.tell(ReadTask(RUN, "t1"))[0].state == "succeeded"


def test_what_happens_after_it_was_reopened_is_noted_anew():
    desk = make_desk("reports")
    desk.tell(fail(desk))
    for life in "23":
        desk.tell_all(Note(RUN, "t1", "started"), Collected(RUN, "t1", WHOLE))
        desk.begin(life)
    kinds = [event.kind for event in desk.tell(ReadEvents(RUN, "t1"))]
    assert kinds == ["accepted", "started", "collected", "ended", "reopened", "started", "collected"]


def test_an_answer_that_came_after_the_end_is_known_to_be_paid_when_it_is_reopened():
    desk = make_desk("calls")
    desk.tell_all(intent(1), Finish(RUN, report(state=TaskState.FAILED)))
    ended_at = desk.tell(ReadTask(RUN, "t1"))[0].ended_at
    desk.tell_all(outcome(1), Reopen(RUN, "t1", ended_at))
    assert attempts(desk) == [("k1", "answered", True)]
    assert desk.accept("t1")[0].answers == {}  # its values came too late to be kept
    desk.tell(intent(2))
    assert attempts(desk)[-1] == ("k1", None, False)


def test_only_the_owner_of_an_open_run_reopens_and_only_what_is_there():
    desk = make_desk("calls")
    again = fail(desk)
    assert isinstance(desk.tell(Reopen(RUN, "t2", 0.0)), InvalidTransitionError)
    desk.tell(CloseRun(RUN, "failed"))
    assert isinstance(desk.tell(again), InvalidTransitionError)
    other = Desk(desk.store, owner="host-b", keep="calls")
    other.open()
    assert isinstance(desk.tell(again), FencedError)
    assert other.tell(again) == Done()


# ---- wishes ----------------------------------------------------------------------------------------------


def wish(desk):
    desk.store.commit(WriteBatch({keys.cancel_request(RUN): b"1"}))


def test_a_wish_to_cancel_is_seen_by_whoever_runs_the_run():
    desk, other = make_desk("calls"), Desk(owner="host-b")
    other.open("r2")
    assert desk.state.cancel_requested(desk.store) == ()
    wish(desk)
    assert desk.state.cancel_requested(desk.store) == (RUN,)
    assert other.state.cancel_requested(desk.store) == ()
    desk.begin("2")
    assert desk.state.cancel_requested(desk.store) == (RUN,)


def test_a_wish_is_fulfilled_by_the_end_and_does_not_outlive_a_new_beginning():
    desk = make_desk("calls")
    wish(desk)
    desk.tell(CloseRun(RUN, "cancelled"))
    desk.open()
    assert desk.state.cancel_requested(desk.store) == ()
    desk.tell(CloseRun(RUN, "interrupted"))
    wish(desk)  # too late: nobody runs it
    desk.open()
    assert desk.state.cancel_requested(desk.store) == ()


def test_a_life_that_lost_its_run_is_refused_although_its_cache_says_that_a_reopened_task_has_ended():
    stale = make_desk("reports")
    fail(stale)
    stale.tell(Reopen(RUN, "t1", 0.0))  # names another end, and caches the task as ended
    later = Desk(stale.store, life="2")
    later.tell(Reopen(RUN, "t1", later.tell(ReadTask(RUN, "t1"))[0].ended_at))
    assert isinstance(stale.tell(Finish(RUN, report())), FencedError)
    assert later.tell(ReadTask(RUN, "t1"))[1] is None
