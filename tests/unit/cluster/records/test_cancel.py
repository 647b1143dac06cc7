"""Cancelling a run that nobody runs, one that is alive, and one whose owner is gone."""

from __future__ import annotations

import pytest

from actors.core.errors import ConfigError, FencedError, RunTakenError
from actors.core.journal import keys
from actors.core.messages.journal import CloseRun, Finish, OpenRun, ReadRun, ReadTask, TaskTally
from cluster.records.cancel import WITHIN_S, Canceller
from tests.unit.support.journal_desk import RUN, Desk, intent, outcome, report

LEASE_S = 5.0


class World:
    """Time that passes only while somebody waits; `happens` is called then."""

    def __init__(self, happens=lambda now: None):
        self.now = 0.0
        self.happens = happens

    def clock(self):
        return self.now

    def pause(self, seconds):
        self.now += seconds
        self.happens(self.now)

    def cancel(self, desk):
        canceller = Canceller(
            desk.store, RUN, LEASE_S, pause=self.pause, clock=self.clock, now=lambda: desk.now + self.now
        )
        return canceller.cancel()


@pytest.fixture
def desk():
    desk = Desk(keep="calls")
    desk.open()
    desk.accept("t1", "t2", "t3")
    desk.tell_all(intent(1), outcome(1), Finish(RUN, report("t1")), intent(2, task="t2"))
    return desk


def test_an_interrupted_run_is_cancelled_at_once_and_what_was_done_stays(desk):
    desk.tell(CloseRun(RUN, "interrupted", {"elapsed_s": 9.0}))
    world = World()
    ended = world.cancel(desk)
    assert (ended.cancelled, ended.ended_here, ended.was_running, world.now) == (True, 2, False, 0.0)
    assert ended.run.tasks == TaskTally(accepted=3, succeeded=1, cancelled=2)
    assert ended.run.summary["elapsed_s"] == 9.0
    assert ended.run.summary["tasks"]["cancelled"] == 2
    view, given_up = desk.tell(ReadTask(RUN, "t2"))
    assert (view.state, given_up.errors) == ("cancelled", ("cancelled on request",))
    assert (given_up.calls.planned, given_up.calls.in_doubt) == (1, 1)  # paid for, or it may be
    assert desk.tell(ReadTask(RUN, "t1"))[1].state == "succeeded"


def test_cancelling_again_changes_nothing(desk):
    desk.tell(CloseRun(RUN, "interrupted"))
    World().cancel(desk)
    before = dict(desk.store.rows)
    again = World().cancel(desk)
    assert (again.cancelled, again.ended_here) == (True, 0)
    assert desk.store.rows == before


def test_a_run_that_went_to_its_end_stays_as_it_is(desk):
    desk.tell_all(*(Finish(RUN, report(key)) for key in ("t2", "t3")), CloseRun(RUN, "succeeded"))
    before = dict(desk.store.rows)
    ended = World().cancel(desk)
    assert (ended.cancelled, ended.run.state) == (False, "succeeded")
    assert desk.store.rows == before


def test_whoever_runs_it_is_asked_to_end_it_and_the_rest_is_ended_after_that(desk):
    def owner(now):
        desk.beat()
        if now > 2.0 and desk.state.cancel_requested(desk.store):
            desk.tell(CloseRun(RUN, "cancelled"))

    world = World(owner)
    ended = world.cancel(desk)
    assert (ended.cancelled, ended.was_running, ended.ended_here) == (True, True, 2)
    assert 2.0 < world.now < 3.0


def test_a_run_whose_owner_is_silent_for_a_lease_is_taken_over_and_the_owner_is_fenced(desk):
    world = World()
    ended = world.cancel(desk)
    assert (ended.cancelled, ended.ended_here) == (True, 2)
    assert LEASE_S < world.now < LEASE_S + 1.0
    assert isinstance(desk.tell(intent(3, task="t3")), FencedError)
    assert desk.store.get(keys.cancel_request(RUN)) is None


def test_an_owner_that_is_alive_and_does_not_end_it_keeps_it_and_the_wish_stays(desk):
    world = World(lambda now: desk.beat())
    with pytest.raises(RunTakenError, match="did not end within 30 s"):
        world.cancel(desk)
    assert WITHIN_S <= world.now < WITHIN_S + 1.0
    assert desk.tell(ReadRun(RUN)).state == "running"
    assert desk.state.cancel_requested(desk.store) == (RUN,)


def test_an_owner_that_begins_anew_in_the_last_moment_keeps_its_run(desk):
    def comes_back(now):
        if now > LEASE_S and not returned:
            returned.append(now)
            desk.begin("2")

    returned: list[float] = []
    world = World(comes_back)
    ended = world.cancel(desk)  # the other life was silent, too, for a lease of its own
    assert ended.cancelled
    assert world.now > 2 * LEASE_S


def test_thousands_of_tasks_are_ended_page_by_page(monkeypatch):
    monkeypatch.setattr("cluster.records.cancel._PAGE", 2)
    desk = Desk(keep="reports")
    desk.open()
    desk.accept(*(f"t{number}" for number in range(5)))
    desk.tell(CloseRun(RUN, "interrupted"))
    assert World().cancel(desk).ended_here == 5


def test_a_run_that_is_not_there_is_told_with_the_nearest_id(desk):
    desk.tell(OpenRun("r10", "n", {}))
    canceller = Canceller(desk.store, "r100", LEASE_S)
    with pytest.raises(ConfigError, match="did you mean r10"):
        canceller.cancel()
