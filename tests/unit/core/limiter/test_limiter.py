"""How the limit of an endpoint is learned from refusals."""

from __future__ import annotations

import heapq
import itertools

import pytest

from actors.core.limiter.limiter import Permit, Reason, Wait
from actors.core.limiter.proof import Proof
from actors.core.limiter.refusal_bound import LimitMode
from tests.unit.support.limiter_caller import LimiterCaller


@pytest.fixture
def caller():
    caller = LimiterCaller()
    yield caller
    caller.limiter.check_invariants()


# ---- the ramp --------------------------------------------------------------------------------------------


def test_a_new_limiter_starts_with_its_first_guess(caller):
    started, wait = caller.fill()
    assert len(started) == 16
    assert wait == Wait(None, Reason.LIMIT)
    assert [permit.in_flight for permit in started] == list(range(1, 17))


def test_the_limit_does_not_grow_while_it_is_not_used(caller):
    caller.permits.append(caller.ask())
    caller.pass_time(5.0, fill=False)
    assert caller.limit == 16


def test_nothing_is_to_be_woken_for_a_limit_that_is_not_used(caller):
    caller.permits.append(caller.ask())
    assert caller.limiter.tick(caller.now) is None


def test_nothing_is_to_be_woken_for_a_limit_that_only_an_answer_can_raise(caller):
    caller.fill()
    caller.pass_time(30.0)
    assert caller.limiter.tick(caller.now) is None


def test_the_ramp_waits_for_answers_before_it_leads_far(caller):
    caller.fill()
    caller.pass_time(30.0)
    assert caller.limit == 64
    caller.answer(64)  # sent with up to 64 in flight
    caller.pass_time(30.0)
    assert caller.limit == int(1.6 * 64)


def test_quick_answers_without_streams_bring_the_maximum_within_two_seconds(caller):
    ends: list[tuple[float, int, Permit]] = []
    reached = None
    while caller.now < 3.0 and reached is None:
        for permit in caller.fill()[0]:
            heapq.heappush(ends, (caller.now + 0.3, permit.id, permit))
        caller.now += 0.005
        while ends and ends[0][0] <= caller.now:
            caller.limiter.on_success(heapq.heappop(ends)[2], caller.now, input_tokens=50, output_tokens=50)
        reached = caller.now if caller.limit == 1000 else None
    assert reached is not None
    assert reached <= 3.0


def test_the_limit_stays_within_the_maximum():
    caller = LimiterCaller(most=20)
    caller.fill()
    caller.pass_time(5.0)
    assert caller.limit == 20


# ---- refusals --------------------------------------------------------------------------------------------


def test_a_refusal_shows_the_bound_to_within_one(caller):
    caller.fill()
    caller.pass_time(1.0)
    for permit in caller.permits[20:]:
        caller.refuse(permit)
    assert caller.limit == 20
    statistics = caller.limiter.statistics()
    assert (statistics.last_cut_why, statistics.in_flight) == ("unknown", 20)


def test_the_refusals_of_one_overshoot_are_one_cut(caller):
    caller.fill()
    for _ in range(5):
        caller.refuse()
    assert caller.limit == 15
    assert caller.limiter.statistics().refused == 5


def test_after_a_cut_one_canary_goes_until_it_is_let_in(caller):
    caller.fill()
    caller.refuse()
    caller.answer(3)
    started, wait = caller.fill()
    assert len(started) == 1
    assert wait.why is Reason.CANARY
    assert wait.until is not None
    caller.now = wait.until
    assert len(caller.fill()[0]) == 2


def test_an_answer_to_an_attempt_sent_before_the_cut_confirms_nothing(caller):
    caller.fill()
    caller.refuse()
    caller.answer(3)
    assert caller.mode is LimitMode.RECOVERY


def test_a_canary_that_is_lost_makes_room_for_another(caller):
    caller.fill()
    caller.refuse()
    caller.answer(3)
    (canary,), _ = caller.fill()
    caller.limiter.on_failure(canary, caller.now)
    assert len(caller.fill()[0]) == 1


def test_a_lone_refusal_causes_no_pause_whatever_its_retry_after(caller):
    caller.fill()
    caller.refuse(retry_after=30.0)
    caller.answer()
    assert isinstance(caller.ask(), Permit)


def test_a_refused_canary_stops_everybody_for_a_while(caller):
    caller.fill()
    caller.refuse()
    caller.answer(2)
    caller.fill()
    caller.refuse(retry_after=30.0)
    wait = caller.ask()
    assert isinstance(wait, Wait)
    assert wait.why is Reason.PAUSE
    assert caller.now < wait.until <= caller.now + 2.0
    assert caller.limiter.tick(caller.now) == wait.until


def test_after_an_outage_of_refusals_the_limit_comes_back_to_what_was_held(caller):
    caller.meet_bound(32)
    caller.answer(32)
    caller.fill()
    while caller.permits:
        caller.refuse(caller.permits[0])
    for _ in range(8):
        while not caller.permits:
            caller.pass_time(0.01)
        caller.refuse()
    assert caller.limit == 1
    came_back = caller.now
    while caller.limit < 32:
        caller.pass_time(0.01)
    assert caller.now < came_back + 3.0


def test_failures_and_cancellations_never_cut(caller):
    caller.fill()
    for permit in caller.permits[:8]:
        caller.limiter.on_failure(permit, caller.now)
    for permit in caller.permits[8:]:
        caller.limiter.on_cancelled(permit, caller.now)
    assert caller.limit == 16
    assert caller.limiter.statistics().last_cut_at is None
    assert caller.limiter.statistics().failed == 8


# ---- probing for more -------------------------------------------------------------------------------------


def test_a_probe_adds_one_and_each_that_finds_room_three_times_as_many(caller):
    caller.meet_bound(32)
    began, limits = caller.now, []
    while caller.limit < 60:
        caller.pass_time(0.01)
        limits.append(caller.limit)
    assert limits[0] == 32
    assert max(after - before for before, after in itertools.pairwise(limits)) == 1
    assert caller.now < began + 5.0


def test_a_failed_probe_goes_back_and_needs_no_canary(caller):
    caller.meet_bound(32)
    while caller.limit == 32:
        caller.pass_time(0.01)
    caller.refuse()
    assert (caller.limit, caller.mode) == (32, LimitMode.STEADY)


def failed_probes(caller, *, until, answer_every_s):
    """Refuse each probe from a bound of 32 while answers come. Return the times."""
    times, answer_at = [], caller.now
    while caller.now < until:
        caller.pass_time(0.05)
        if caller.limit > 32:
            caller.refuse()
            times.append(caller.now)
        if caller.now >= answer_at:
            answer_at += answer_every_s
            caller.answer()
            caller.fill()
    return times


def test_probes_come_less_often_the_more_they_agree(caller):
    caller.meet_bound(32)
    times = failed_probes(caller, until=100.0, answer_every_s=0.2)
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert waits[0] < 5.5
    assert all(7.9 <= wait <= 16.2 for wait in waits[3:5])


def test_a_failed_probe_costs_no_more_than_one_in_a_hundred_of_slow_answers(caller):
    caller.meet_bound(32)
    times = failed_probes(caller, until=1200.0, answer_every_s=0.5)
    assert 2 <= len([time for time in times if time > 600.0]) <= 12


def test_an_endpoint_that_answers_nothing_is_probed_about_every_two_minutes(caller):
    caller.meet_bound(32)
    times = failed_probes(caller, until=1200.0, answer_every_s=10_000.0)
    assert 6 <= len([time for time in times if time > 300.0]) <= 13


def test_a_bound_that_moves_is_probed_even_when_the_budget_is_spent(caller):
    caller.meet_bound(32)
    while caller.now < 300.0:
        caller.pass_time(0.05)
        if caller.limit > 32:
            caller.refuse()
    for permit in caller.permits[16:]:
        caller.limiter.on_cancelled(permit, caller.now)
    del caller.permits[16:]
    caller.permits.append(caller.ask())
    caller.refuse()
    caller.answer()
    moved = caller.now
    while caller.limit <= 16:
        caller.pass_time(0.01)
    assert caller.now < moved + 3.0


def test_a_probe_that_found_room_is_answered_before_the_next_begins(caller):
    caller.meet_bound(32)
    caller.pass_time(60.0)
    silent = caller.limit
    caller.pass_time(60.0)
    assert caller.limit == silent <= 64
    caller.answer(silent)
    caller.pass_time(5.0)
    assert caller.limit > silent


def test_an_answer_to_an_attempt_sent_before_a_cut_proves_what_the_cut_left():
    proof = Proof(0.0)
    proof.cut(40.0, is_first=True)
    proof.cut(6.0, is_first=False)
    proof.began(40, is_current=False)
    assert proof.most == 12
    proof.began(10, is_current=True)
    assert proof.most == 20


def test_an_endpoint_is_silent_only_when_answers_usually_come_sooner():
    proof = Proof(0.0)
    proof.answered(10.0, 10.0)
    proof.probed()
    assert not proof.is_silent(49.0)
    assert proof.is_silent(51.0)
    proof.answered(52.0, 10.0)
    assert not proof.is_silent(1000.0)
