"""When a peer is left alone, and how it comes back."""

from __future__ import annotations

import math

import pytest

from actors.core.errors import InvalidTransitionError
from actors.core.limits.breaker import BreakerPermit, BreakerSettings, BreakerState, CircuitBreaker


@pytest.fixture
def breaker():
    breaker = CircuitBreaker(BreakerSettings(), now=0.0)
    yield breaker
    breaker.check_invariants()


def fail(breaker, now, count=1):
    for _ in range(count):
        breaker.on_failure(breaker.allow(now), now)


def succeed(breaker, now, count=1):
    for _ in range(count):
        breaker.on_success(breaker.allow(now), now)


def test_a_new_breaker_lets_calls_pass(breaker):
    assert breaker.state is BreakerState.CLOSED
    assert breaker.retry_at(0.0) is None
    succeed(breaker, 0.0)


def test_five_failures_in_a_row_open_it(breaker):
    fail(breaker, 0.0, 4)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, 0.0)
    assert breaker.state is BreakerState.OPEN
    assert breaker.allow(0.0) is None
    assert breaker.retry_at(0.0) == 1.0


def test_a_success_ends_the_row(breaker):
    fail(breaker, 0.0, 4)
    succeed(breaker, 0.0)
    fail(breaker, 0.0, 4)
    assert breaker.state is BreakerState.CLOSED


def test_it_opens_when_most_of_the_recent_results_are_failures(breaker):
    for _ in range(4):
        succeed(breaker, 0.0)
        fail(breaker, 0.0)
    fail(breaker, 0.0)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, 0.0)
    assert breaker.state is BreakerState.OPEN


def test_half_good_is_good_enough(breaker):
    for _ in range(100):
        succeed(breaker, 0.0)
        fail(breaker, 0.0)
    assert breaker.state is BreakerState.CLOSED


def test_old_results_do_not_count(breaker):
    for _ in range(4):
        succeed(breaker, 0.0)
        fail(breaker, 0.0)
    fail(breaker, 0.0)
    fail(breaker, 20.0)
    assert breaker.statistics(20.0).failures == 1
    assert breaker.state is BreakerState.CLOSED


def test_results_from_before_an_outage_do_not_count_after_it(breaker):
    """A peer that was good for long would otherwise be asked by all for the whole window, though it fails."""
    succeed(breaker, 0.0, 100)
    fail(breaker, 0.1, 4)
    fail(breaker, 0.4)
    succeed(breaker, 1.4)  # the canary
    fail(breaker, 1.5, 4)
    succeed(breaker, 1.5)
    fail(breaker, 1.5, 3)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, 1.5)
    assert breaker.state is BreakerState.OPEN


def test_a_short_streak_among_many_successes_is_chance(breaker):
    """Where 30 % fail, five in a row come by chance several times a second at a thousand calls a second."""
    succeed(breaker, 0.0, 1000)
    fail(breaker, 0.1, 15)
    assert breaker.state is BreakerState.CLOSED


def test_a_streak_that_lasts_opens_it_however_good_the_past_was(breaker):
    """An outage in the middle of heavy traffic must not wait until the window has turned bad."""
    succeed(breaker, 0.0, 1000)
    fail(breaker, 0.1, 15)
    fail(breaker, 0.4)
    assert breaker.state is BreakerState.OPEN


def test_the_calls_in_flight_bound_a_burst_of_failures_while_earlier_calls_are_answered(breaker):
    """A peer that resets connections at once fails thousands of calls within the shortest streak."""
    succeed(breaker, 0.0, 1000)
    earlier = [breaker.allow(0.0) for _ in range(20)]
    for sent in range(1000):
        if breaker.state is BreakerState.OPEN:
            break
        if earlier and sent % 3 == 0:
            breaker.on_success(earlier.pop(), 0.01)
        fail(breaker, 0.01)
    assert 20 < sent <= 24 + 20


def test_a_call_that_was_sent_after_a_failure_and_succeeds_ends_a_burst(breaker):
    succeed(breaker, 0.0, 1000)
    for _ in range(20):
        fail(breaker, 0.1, 10)
        succeed(breaker, 0.1)
    assert breaker.state is BreakerState.CLOSED


def test_the_end_of_all_calls_in_flight_at_once_is_no_burst(breaker):
    """A gateway that restarts resets all connections, and serves the next ones."""
    succeed(breaker, 0.0, 1000)
    for permit in [breaker.allow(0.0) for _ in range(200)]:
        breaker.on_failure(permit, 0.1)
    assert breaker.state is BreakerState.CLOSED


def test_one_canary_goes_when_the_time_has_come(breaker):
    fail(breaker, 0.0, 5)
    assert breaker.allow(0.99) is None
    assert breaker.retry_at(1.0) is None
    canary = breaker.allow(1.0)
    assert canary.canary
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.allow(1.0) is None


def test_a_canary_that_returns_closes_it(breaker):
    fail(breaker, 0.0, 5)
    breaker.on_success(breaker.allow(1.0), 1.5)
    assert breaker.state is BreakerState.CLOSED
    assert not breaker.allow(1.5).canary
    assert breaker.statistics(1.5).failures == 0


def test_each_canary_that_fails_doubles_the_wait_up_to_a_bound(breaker):
    fail(breaker, 0.0, 5)
    now, waits = 0.0, []
    for _ in range(7):
        at = breaker.retry_at(now)
        waits.append(at - now)
        now = at
        fail(breaker, now)
    assert waits == [1, 2, 4, 8, 16, 30, 30]


def test_after_a_recovery_the_wait_is_short_again(breaker):
    fail(breaker, 0.0, 5)
    fail(breaker, 1.0)
    succeed(breaker, 3.0)
    fail(breaker, 4.0, 5)
    assert breaker.retry_at(4.0) == 5.0


def test_a_cancelled_canary_may_go_again_at_once(breaker):
    fail(breaker, 0.0, 5)
    breaker.on_cancelled(breaker.allow(1.0), 1.2)
    assert breaker.state is BreakerState.OPEN
    assert breaker.allow(1.2).canary


def test_a_cancelled_call_counts_neither_way(breaker):
    fail(breaker, 0.0, 4)
    breaker.on_cancelled(breaker.allow(0.0), 0.0)
    assert breaker.statistics(0.0).streak == 4
    assert breaker.statistics(0.0).in_flight == 0
    fail(breaker, 0.0)
    assert breaker.state is BreakerState.OPEN


def test_a_canary_not_heard_of_makes_room_for_the_next(breaker):
    """A lost report, or a request that hangs, must not leave the peer unasked for ever."""
    fail(breaker, 0.0, 5)
    lost = breaker.allow(1.0)
    assert breaker.retry_at(2.0) == 11.0
    assert breaker.allow(10.9) is None
    assert breaker.allow(11.0) is None
    assert breaker.retry_at(11.0) == 13.0
    assert breaker.allow(13.0).canary
    breaker.on_failure(lost, 13.5)
    assert breaker.state is BreakerState.HALF_OPEN


@pytest.mark.parametrize("at", [12.0, 13.5])
def test_a_canary_that_is_answered_late_closes_it_all_the_same(breaker, at):
    """Where answers take a minute, no canary is back in ten seconds."""
    fail(breaker, 0.0, 5)
    slow = breaker.allow(1.0)
    assert breaker.allow(11.0) is None
    if at > 13.0:
        assert breaker.allow(13.0).canary
    breaker.on_success(slow, at)
    assert breaker.state is BreakerState.CLOSED
    assert breaker.retry_at(at) is None


def test_results_of_calls_sent_before_it_opened_tell_nothing(breaker):
    late = [breaker.allow(0.0) for _ in range(4)]
    fail(breaker, 0.0, 5)
    breaker.on_success(late[0], 0.5)
    breaker.on_failure(late[1], 0.5)
    assert breaker.state is BreakerState.OPEN
    assert breaker.retry_at(0.5) == 1.0
    canary = breaker.allow(1.0)
    breaker.on_success(late[2], 1.1)
    breaker.on_failure(late[3], 1.1)
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.on_success(canary, 1.2)
    assert breaker.state is BreakerState.CLOSED
    assert breaker.statistics(1.2).in_flight == 0


@pytest.mark.parametrize("event", ["on_success", "on_failure", "on_cancelled"])
@pytest.mark.parametrize("state", BreakerState)
def test_a_permit_that_is_not_out_raises_and_changes_nothing(breaker, event, state):
    used = breaker.allow(0.0)
    breaker.on_success(used, 0.0)
    if state is not BreakerState.CLOSED:
        fail(breaker, 0.0, 5)
    if state is BreakerState.HALF_OPEN:
        breaker.allow(1.0)
    for permit in (used, BreakerPermit(99, canary=False)):
        before = breaker.statistics(1.0)
        with pytest.raises(InvalidTransitionError):
            getattr(breaker, event)(permit, 1.0)
        assert breaker.statistics(1.0) == before
    assert breaker.state is state


def test_a_permit_of_the_future_raises_although_others_are_out(breaker):
    breaker.allow(0.0)
    fail(breaker, 0.0, 5)
    with pytest.raises(InvalidTransitionError):
        breaker.on_success(BreakerPermit(99, canary=True), 0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"failures": 0},
        {"results": 0},
        {"success_rate": 1.1},
        {"open_s": 0},
        {"open_s": 31},
        {"longest_open_s": math.inf},
        {"streak_s": -1},
        {"canary_s": 0},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="breaker"):
        BreakerSettings(**wrong)


def test_statistics_and_text_show_the_state(breaker):
    succeed(breaker, 0.0)
    breaker.allow(0.0)
    fail(breaker, 0.0, 5)
    snapshot = breaker.statistics(0.5)
    assert (snapshot.state, snapshot.opened, snapshot.in_flight) == (BreakerState.OPEN, 1, 1)
    assert (snapshot.successes, snapshot.failures, snapshot.retry_at) == (1, 5, 1.0)
    assert repr(breaker) == "<CircuitBreaker open, 1 in flight, opened 1 times>"


@pytest.mark.parametrize("canary_is_out", [False, True])
def test_a_call_that_is_taken_over_while_the_breaker_is_open_is_not_its_canary(breaker, canary_is_out):
    fail(breaker, 0.0, 5)
    if canary_is_out:
        canary = breaker.allow(1.0)
    taken_over = breaker.adopt()
    breaker.check_invariants()
    breaker.on_success(taken_over, 1.0)
    assert breaker.state is (BreakerState.HALF_OPEN if canary_is_out else BreakerState.OPEN)
    if canary_is_out:
        breaker.on_success(canary, 1.1)
        assert breaker.state is BreakerState.CLOSED


def test_a_late_success_of_a_call_sent_before_it_opened_does_not_end_a_row(breaker):
    late = breaker.allow(0.0)
    fail(breaker, 0.0, 5)
    breaker.on_success(breaker.allow(1.0), 1.0)
    fail(breaker, 1.0, 4)
    breaker.on_success(late, 1.0)
    fail(breaker, 2.0)
    assert breaker.state is BreakerState.OPEN
