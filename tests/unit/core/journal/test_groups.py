"""Requests by name, and groups of tasks that were handed in together."""

from __future__ import annotations

import pytest

from actors.core.errors import TaskConflictError
from actors.core.messages.journal import Accept, Finish, ReadEvents, ReadGroup, Reopen, TaskTally
from actors.core.messages.tasks import Task, TaskState
from tests.unit.support.journal_desk import RUN, Desk, report


@pytest.fixture
def desk():
    desk = Desk()
    desk.open()
    return desk


def named(key, digest, *, tenant="ann", name="r1", **params):
    return Accept(RUN, Task(key, params), tenant, idempotency=name, digest=digest)


def test_a_named_request_that_says_the_same_is_the_same_task(desk):
    first, again = desk.tell_all(named("t1", "d1"), named("t1", "d1"))
    assert (first.is_new, again.is_new) == (True, False)


def test_a_named_request_that_says_something_else_is_refused_and_takes_nothing_in(desk):
    desk.tell(named("t1", "d1"))
    assert isinstance(desk.tell(named("t2", "d2")), TaskConflictError)
    assert [event.task for event in desk.tell(ReadEvents(RUN))] == ["t1"]


def test_a_request_refused_for_its_params_leaves_its_name_free(desk):
    desk.accept("t1")
    assert isinstance(desk.tell(named("t1", "d1", n=2)), TaskConflictError)
    assert desk.tell(named("t2", "d2")).is_new


def test_callers_name_their_requests_each_for_itself(desk):
    replies = desk.tell_all(named("t1", "d1"), named("t2", "d2", tenant="bob"))
    assert [reply.is_new for reply in replies] == [True, True]


def test_the_names_of_requests_outlive_the_journal(desk):
    desk.tell(named("t1", "d1"))
    desk.begin("2")
    assert isinstance(desk.tell(named("t2", "d2")), TaskConflictError)


def test_a_group_counts_its_tasks_and_how_they_ended(desk):
    desk.tell_all(*(Accept(RUN, Task(key), group="g1") for key in ("t1", "t2")), Accept(RUN, Task("t3")))
    desk.tell(Finish(RUN, report("t1")))
    assert desk.tell(ReadGroup(RUN, "g1")).tasks == TaskTally(accepted=2, succeeded=1)
    assert desk.tell(ReadGroup(RUN, "g2")) is None


def test_a_task_that_is_done_again_counts_by_its_last_end(desk):
    desk.tell(Accept(RUN, Task("t1"), group="g1"))
    desk.tell(Finish(RUN, report("t1", TaskState.FAILED)))
    desk.tell(Reopen(RUN, "t1", desk.now))
    assert desk.tell(ReadGroup(RUN, "g1")).tasks == TaskTally(accepted=1)
    desk.tell(Finish(RUN, report("t1")))
    assert desk.tell(ReadGroup(RUN, "g1")).tasks == TaskTally(accepted=1, succeeded=1)


def test_a_task_that_was_handed_in_twice_counts_in_its_first_group(desk):
    desk.tell_all(Accept(RUN, Task("t1"), group="g1"), Accept(RUN, Task("t1"), group="g2"))
    assert desk.tell(ReadGroup(RUN, "g1")).tasks.accepted == 1
    assert desk.tell(ReadGroup(RUN, "g2")).tasks == TaskTally()
    assert desk.tell(ReadEvents(RUN, group="g2")) == ()


def test_the_events_of_a_group_are_those_of_its_tasks_by_their_number_in_the_run(desk):
    desk.tell_all(Accept(RUN, Task("t1"), group="g1"), Accept(RUN, Task("t2")))
    desk.begin("2")  # what a task belongs to is read back
    desk.tell(Finish(RUN, report("t1")))
    events = desk.tell(ReadEvents(RUN, group="g1"))
    assert [(event.id, event.kind) for event in events] == [(1, "accepted"), (3, "ended")]
    assert desk.tell(ReadEvents(RUN, group="g1", after=1, limit=1)) == events[1:]
