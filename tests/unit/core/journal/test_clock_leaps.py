"""A clock that leaps by a day, or a process that was frozen, gives no live run away and locks no dead one."""

from __future__ import annotations

import pytest

from actors.core.errors import FencedError, RunTakenError
from actors.core.journal.turn import Defer, Retried
from actors.core.messages.journal import CloseRun, Finish, ReadEvents, ReadRun, ReadTask, Reopen, TaskTally
from cluster.records.cancel import Canceller
from tests.unit.support.journal_desk import RUN, Desk, intent, outcome, report

DAY_S = 86_400.0
LEASE_S = 15.0


@pytest.fixture(params=[DAY_S, -DAY_S], ids=["forward", "back"])
def leap(request):
    return request.param


@pytest.fixture
def desk():
    desk = Desk()
    desk.open()
    desk.accept("t1")
    return desk


@pytest.fixture
def other(desk):
    return Desk(desk.store, owner="host-b", life="9")


def deferred(desk, late_s=0.0):
    reply = desk.open()
    assert isinstance(reply, Defer)
    assert reply.seconds == LEASE_S
    return Retried(reply.record, reply.observed, late_s)


@pytest.mark.parametrize("whose", ["owner", "waiter", "both"])
def test_a_live_run_is_not_taken_whosever_clock_leaps(desk, other, leap, whose):
    retried = deferred(other)
    desk.now += leap if whose != "waiter" else 0
    other.now += leap if whose != "owner" else 0
    desk.beat()
    assert isinstance(other.tell(retried), RunTakenError)
    assert desk.accept("t2")[0].is_new


def test_a_dead_run_is_had_after_one_lease_whatever_the_clock_says(desk, other, leap):
    desk.beat()
    other.now += leap
    retried = deferred(other)
    other.now += leap
    assert other.tell(retried).tasks == TaskTally(accepted=1)
    assert isinstance(desk.accept("t2")[0], FencedError)


def test_a_closed_run_is_had_at_once_whatever_the_clock_says(desk, other, leap):
    desk.tell(CloseRun(RUN, "interrupted"))
    other.now += leap
    assert other.open().tasks == TaskTally(accepted=1)


def test_a_task_goes_through_all_its_states_while_the_clock_leaps(desk, leap):
    desk.now += leap
    desk.tell_all(intent(1), outcome(1))
    desk.now -= 3 * leap
    assert desk.tell(Finish(RUN, report("t1"))).state == "succeeded"
    view, _ = desk.tell(ReadTask(RUN, "t1"))
    desk.now += leap
    desk.tell(Reopen(RUN, "t1", view.ended_at))
    desk.now += leap
    assert desk.tell(Finish(RUN, report("t1"))).state == "succeeded"
    desk.tell(CloseRun(RUN, "succeeded"))
    assert desk.tell(ReadRun(RUN)).state == "succeeded"
    events = desk.tell(ReadEvents(RUN))
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert [event.kind for event in events] == ["accepted", "ended", "reopened", "ended"]


@pytest.mark.parametrize("late_s", [LEASE_S, DAY_S])
def test_one_who_waits_and_was_frozen_gives_the_owner_another_lease(desk, other, late_s):
    """Both may have been: on a host that slept, or with a store that was away."""
    reply = other.tell(deferred(other, late_s))
    assert isinstance(reply, Defer)
    desk.beat()
    assert isinstance(other.tell(Retried(reply.record, reply.observed)), RunTakenError)


def test_an_owner_that_stays_silent_after_that_is_dead(desk, other):
    reply = other.tell(deferred(other, DAY_S))
    assert other.tell(Retried(reply.record, reply.observed)).tasks == TaskTally(accepted=1)


def test_an_owner_that_was_seen_alive_is_told_at_once_however_late_one_comes(desk, other):
    retried = deferred(other, DAY_S)
    desk.beat()
    assert isinstance(other.tell(retried), RunTakenError)


def test_a_cancel_that_was_frozen_gives_the_owner_another_lease(desk):
    times = {"now": 0.0, "looks": 0}

    def pause(seconds):
        times["looks"] += 1
        frozen = times["looks"] == 1
        times["now"] += 20.0 if frozen else seconds
        if not frozen:
            desk.beat()  # the owner was frozen with it, and goes on

    canceller = Canceller(desk.store, RUN, LEASE_S, pause=pause, clock=lambda: times["now"])
    with pytest.raises(RunTakenError):
        canceller.cancel()
    assert desk.accept("t2")[0].is_new
