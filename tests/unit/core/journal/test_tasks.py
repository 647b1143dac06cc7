"""What the journal keeps of a task, from its acceptance to its report."""

from __future__ import annotations

import pytest

from actors.core.errors import (
    Blame,
    Failure,
    FailureKind,
    InvalidTransitionError,
    StoreUnavailableError,
    TaskConflictError,
)
from actors.core.journal.batch import NotStorableError
from actors.core.messages.journal import Accept, Collected, Finish, Note, ReadEvents, ReadRun, ReadTask
from actors.core.messages.tasks import (
    DimensionResult,
    Fetched,
    Item,
    ItemResult,
    ItemState,
    Report,
    SourceOutcome,
    Task,
    TaskState,
)
from actors.core.messages.values import Done, Priority, Usage
from tests.unit.support.journal_desk import NOW, RUN, Desk, intent, outcome, report

FETCHED = (
    Fetched("wire", (Item("wire-1", "wire", "Good.", {"stars": 4}), Item("wire-2", "wire", "\ud800"))),
    Fetched("notes", (), Failure(FailureKind.TRANSIENT, Blame.SOURCE, "gone", 1.5), attempts=3),
)


@pytest.fixture
def desk():
    desk = Desk(keep="reports")
    desk.open()
    return desk


def kinds(desk, task=None):
    return [event.kind for event in desk.tell(ReadEvents(RUN, task))]


def test_a_task_is_taken_in_once(desk):
    first, again = desk.accept("t1", "t1")
    assert (first.is_new, first.accepted_at) == (True, NOW + 2)
    assert (again.is_new, again.accepted_at) == (False, NOW + 2)
    view, nothing = desk.tell(ReadTask(RUN, "t1"))
    assert nothing is None
    assert (view.ordinal, view.state, view.params) == (0, "accepted", {"n": 1})


def test_a_task_keeps_what_it_was_accepted_with(desk):
    desk.tell(Accept(RUN, Task("t1"), "ann", Priority.INTERACTIVE, 30.0))
    view, _ = desk.tell(ReadTask(RUN, "t1"))
    assert (view.tenant, view.priority, view.expires_in_s) == ("ann", Priority.INTERACTIVE, 30.0)
    assert isinstance(view.priority, Priority)


def test_a_key_that_is_known_with_other_params_is_refused(desk):
    desk.accept("t1")
    assert isinstance(desk.tell(Accept(RUN, Task("t1", {"n": 2}))), TaskConflictError)


def test_params_that_no_document_can_hold_are_refused_and_leave_nothing(desk):
    before = dict(desk.store.rows)
    refused, taken = desk.tell_all(Accept(RUN, Task("t1", {"n": {1, 2}})), Accept(RUN, Task("t2")))
    assert isinstance(refused, NotStorableError)
    assert taken.is_new
    assert desk.tell(ReadTask(RUN, "t1")) is None
    assert len(desk.store.rows) == len(before) + 5  # row, ordinal, state, and an event by run and by task


def test_a_new_task_of_a_fresh_run_costs_one_read_and_its_calls_none(desk):
    desk.accept("t0")
    desk.store.reads = 0
    desk.accept("t1", "t2")
    assert desk.store.reads == 2
    desk.tell_all(intent(1), intent(2, task="t2"))
    desk.tell_all(outcome(1), outcome(2, task="t2"))
    assert desk.store.reads == 2


def test_a_task_that_is_accepted_again_comes_with_what_is_there_of_it(desk):
    desk.accept("t1")
    desk.tell(Collected(RUN, "t1", FETCHED))
    desk.tell_all(
        intent(1), outcome(1, {"q": 1}), intent(2, "k2"), outcome(2, None, FailureKind.REFUSED, "k2")
    )
    for life in "23":
        again = desk.accept("t1")[0]
        assert not again.is_new
        assert again.report is None
        assert again.fetched == FETCHED
        assert {call: answer.values for call, answer in again.answers.items()} == {"k1": {"q": 1}}
        desk.begin(life, keep="reports")


def test_what_sources_gave_first_stands(desk):
    desk.accept("t1")
    assert desk.tell_all(Collected(RUN, "t1", FETCHED), Collected(RUN, "t1", ())) == (Done(), Done())
    assert desk.accept("t1")[0].fetched == FETCHED
    event = desk.tell(ReadEvents(RUN))[-1]
    assert event.kind == "collected"
    assert event.data == {
        "sources": {"wire": {"items": 2, "error": None}, "notes": {"items": 0, "error": "transient: gone"}}
    }


def test_events_are_counted_on_in_another_life(desk):
    desk.accept("t1")
    desk.tell(Note(RUN, "t1", "started"))
    for life, record in (("2", Collected(RUN, "t1", FETCHED)), ("3", Finish(RUN, report()))):
        desk.begin(life)
        desk.tell(record)
    events = desk.tell(ReadEvents(RUN, "t1"))
    assert [event.task_id for event in events] == [1, 2, 3, 4]
    assert [event.kind for event in events] == ["accepted", "started", "collected", "ended"]


def test_a_note_that_was_made_before_is_no_event_in_any_life(desk):
    desk.accept("t1", "t2")
    notes = [Note(RUN, "t1", "dimension", {"name": name}) for name in ("risk", "quality", "risk")]
    desk.tell_all(*notes)
    desk.begin("2")
    desk.tell_all(*notes, Note(RUN, "t2", "dimension", {"name": "risk"}), Note(RUN, "t1", "evaluated"))
    events = desk.tell(ReadEvents(RUN))
    assert [event.id for event in events] == [1, 2, 3, 4, 5, 6]
    mine = desk.tell(ReadEvents(RUN, "t1"))
    assert [event.task_id for event in mine] == [1, 2, 3, 4]
    assert [event.data.get("name") for event in mine] == [None, "risk", "quality", None]


def test_a_task_ends_with_its_first_report(desk):
    desk.accept("t1")
    first = desk.tell(Finish(RUN, report()))
    assert first == report()
    assert desk.tell(Finish(RUN, report(state=TaskState.FAILED))) == first
    view, stored = desk.tell(ReadTask(RUN, "t1"))
    assert stored == first
    assert (view.state, view.ended_at) == ("succeeded", NOW + 3)
    assert desk.accept("t1")[0].report == first
    assert kinds(desk) == ["accepted", "ended"]


def test_a_call_that_was_asked_is_planned_also_where_the_report_of_a_cancelled_task_leaves_it_out(desk):
    desk.accept("t1", "t2")
    desk.tell_all(intent(1), outcome(1), intent(2, "k2"), intent(3, "k2", number=2), intent(4, "k3"))
    ended = desk.tell(Finish(RUN, report(state=TaskState.CANCELLED)))
    assert (ended.calls.planned, ended.calls.billed, ended.calls.in_doubt) == (3, 1, 3)
    assert desk.tell(ReadRun(RUN)).spent.counts.planned == 3
    assert desk.tell(Finish(RUN, report("t2", planned=2))).calls.planned == 2  # one was not asked, or reused


NO_ANSWER = Failure(FailureKind.PERMANENT, Blame.ENDPOINT, "status 404")


def test_a_report_comes_back_as_it_was(desk):
    desk.accept("t1")
    whole = Report(
        "t1",
        TaskState.PARTIAL,
        1 / 3,
        (DimensionResult("risk", 0.1, None, 0.3, 4, "Some \ud800 risk.", ("wire-1", "wire-2"), ("thin",)),),
        {"wire": SourceOutcome(2), "notes": SourceOutcome(0, "gone")},
        report().calls,
        report().usage,
        1.23456789,
        ("source notes failed",),
        (
            ItemResult("wire-1", "wire", ItemState.SUCCEEDED, {"triage": {"label": "a\ud800"}, "score": {}}),
            ItemResult(
                "wire-2", "wire", ItemState.FAILED, {}, NO_ANSWER, "triage", Usage(3, 1, 0.25), "text"
            ),
        ),
    )
    assert desk.tell(Finish(RUN, whole)) == whole
    assert desk.tell(ReadTask(RUN, "t1"))[1] == whole


def test_nothing_is_noted_or_sent_of_a_task_that_has_ended(desk):
    desk.accept("t1")
    desk.tell_all(intent(1), outcome(1), Finish(RUN, report()))
    noted, collected, sent = desk.tell_all(
        Note(RUN, "t1", "evaluated"), Collected(RUN, "t1", FETCHED), intent(2)
    )
    assert (noted, collected) == (Done(), Done())
    assert isinstance(sent, InvalidTransitionError)
    assert "succeeded" in str(sent)
    assert kinds(desk, "t1") == ["accepted", "ended"]


def test_bodies_are_dropped_with_the_report_where_reports_are_kept(desk):
    desk.accept("t1", "t2")
    desk.tell_all(Collected(RUN, "t1", FETCHED), intent(1), outcome(1), intent(3, task="t2"))
    desk.tell_all(intent(2, "k2"), outcome(2, call="k2"), Finish(RUN, report()))
    rows = [key for key in desk.store.rows if chr(key[0]) in "cf"]
    assert len(rows) == 1  # of the other task


def test_bodies_are_kept_where_calls_are_kept():
    desk = Desk(keep="calls")
    desk.open()
    desk.accept("t1")
    desk.tell_all(Collected(RUN, "t1", FETCHED), intent(1), outcome(1), Finish(RUN, report()))
    assert {"c", "f", "a"} <= desk.store.kinds()


def test_by_itself_a_journal_keeps_bodies_of_small_runs_only(monkeypatch):
    monkeypatch.setattr("actors.core.journal.tasks.AUTO_KEEPS_CALLS_OF", 2)
    desk = Desk()
    desk.open()
    for task in ("t1", "t2", "t3"):
        desk.accept(task)
        desk.tell_all(intent(1, task=task), outcome(1, task=task), Finish(RUN, report(task)))
    bodies = [key for key in desk.store.rows if key[:1] == b"c"]
    assert len(bodies) == 2


def test_a_task_that_nobody_accepted_has_no_history(desk):
    for record in (intent(1), outcome(1), Note(RUN, "t1", "started"), Finish(RUN, report())):
        error = desk.tell(record)
        assert isinstance(error, InvalidTransitionError)
        assert "task t1 of run r1" in str(error)


def test_what_was_decided_and_not_committed_is_decided_again(desk):
    desk.accept("t1")
    records = [Accept(RUN, Task("t2")), Note(RUN, "t1", "started"), Finish(RUN, report())]
    for _ in range(3):
        desk.handle(*records)
        desk.state.forget()
        assert desk.state.statistics().cached_tasks == 0
    accepted, _, ended = desk.tell_all(*records)
    assert accepted.is_new
    assert ended == report()
    assert [event.id for event in desk.tell(ReadEvents(RUN))] == [1, 2, 3, 4]


def test_a_store_that_cannot_be_read_leaves_nothing_half_decided(desk):
    desk.accept("t1")
    read, failing = desk.store.get, [StoreUnavailableError("the disk is gone")]

    def get(key):
        if failing and key[:1] == b"t":
            raise failing.pop()
        return read(key)

    desk.store.get = get
    with pytest.raises(StoreUnavailableError, match="gone"):
        desk.handle(Note(RUN, "t1", "started"), Accept(RUN, Task("t2")))
    desk.tell_all(Note(RUN, "t1", "started"), Accept(RUN, Task("t2")))
    assert kinds(desk) == ["accepted", "started", "accepted"]


def test_only_so_many_tasks_are_remembered():
    desk = Desk(most_cached=2)
    desk.open()
    desk.accept(*"abcdef")
    desk.tell_all(intent(1, task="a"), intent(2, task="f"))
    assert desk.state.statistics().cached_tasks == 3  # two, and the one that this turn had to load
    desk.tell_all(outcome(1, task="a"), outcome(2, task="f"))
    assert desk.state.statistics().loads == 1


def test_what_is_kept_has_a_name():
    with pytest.raises(ValueError, match="everything"):
        Desk(keep="everything")
