"""What may still be spent."""

from __future__ import annotations

import math

import pytest

from actors.core.errors import InvariantError
from actors.core.limits.budget import Ceiling, Cost, RateBucket

# Sixty-one a minute and a burst of a second make exactly one a second.
ONE_A_SECOND = 61.0


@pytest.fixture
def bucket():
    bucket = RateBucket(ONE_A_SECOND, now=100.0)
    yield bucket
    bucket.check_invariants()


@pytest.fixture
def ceiling():
    ceiling = Ceiling(1.0, 1000)
    yield ceiling
    ceiling.check_invariants()


# ---- rates -----------------------------------------------------------------------------------------------


def test_a_new_bucket_holds_one_burst(bucket):
    assert bucket.reserve(100.0, 1.0)
    assert not bucket.reserve(100.0, 0.01)


def test_what_was_taken_is_earned_back_over_time(bucket):
    bucket.reserve(100.0, 1.0)
    assert bucket.next_at(100.0, 0.5) == pytest.approx(100.5)
    assert not bucket.reserve(100.49, 0.5)
    assert bucket.reserve(100.51, 0.5)


def test_a_bucket_admits_at_the_very_time_it_named(bucket):
    for cost in (0.1, 0.7, 3.3, 0.2):
        assert bucket.reserve(bucket.next_at(100.0, cost), cost)


def test_idle_time_earns_no_more_than_one_burst(bucket):
    assert bucket.reserve(10_000.0, 1.0)
    assert not bucket.reserve(10_000.0, 0.01)


def test_a_cost_above_the_burst_goes_when_the_bucket_is_full(bucket):
    """A prompt larger than a second's tokens must not wait for ever."""
    assert bucket.reserve(100.0, 5.0)
    assert bucket.next_at(100.0, 5.0) == pytest.approx(105.0)
    assert bucket.next_at(100.0, 0.25) == pytest.approx(104.25)


def test_a_refused_reservation_takes_nothing(bucket):
    bucket.reserve(100.0, 1.0)
    before = bucket.statistics(100.0)
    assert not bucket.reserve(100.0, 1.0)
    assert bucket.statistics(100.0) == before


def test_an_estimate_is_replaced_by_the_truth(bucket):
    bucket.reserve(100.0, 1.0)
    bucket.settle(1.0, 0.25)
    assert bucket.statistics(100.0).available == pytest.approx(0.75)
    bucket.reserve(100.0, 0.75)
    bucket.settle(0.75, 2.75)
    assert bucket.next_at(100.0, 1.0) == pytest.approx(103.0)


def test_a_refund_makes_no_more_room_than_a_full_bucket_has(bucket):
    bucket.reserve(100.0, 5.0)
    bucket.refund(5.0)
    assert bucket.statistics(104.0).available == pytest.approx(1.0)


def test_the_endpoint_is_believed_when_it_says_less_is_left(bucket):
    bucket.correct(100.0, 0.25)
    assert bucket.statistics(100.0).available == pytest.approx(0.25)
    bucket.correct(100.0, 0)
    assert bucket.next_at(100.0, 1.0) == pytest.approx(101.0)


@pytest.mark.parametrize("remaining", [0.5, 60, -1, math.nan, math.inf])
def test_the_endpoint_is_not_believed_when_it_says_more_or_nonsense(bucket, remaining):
    bucket.reserve(100.0, 0.8)
    bucket.correct(100.0, remaining)
    assert bucket.statistics(100.0).available == pytest.approx(0.2)


def test_statistics_add_up(bucket):
    bucket.reserve(100.0, 1.0)
    bucket.settle(1.0, 0.4)
    bucket.reserve(100.0, 0.5)
    bucket.settle(0.5, 0.9)
    snapshot = bucket.statistics(100.0)
    assert snapshot.charged - snapshot.refunded == pytest.approx(1.3)
    assert snapshot.per_minute == ONE_A_SECOND


@pytest.mark.parametrize(("per_minute", "burst_s"), [(0, 1), (-1, 1), (math.inf, 1), (math.nan, 1), (60, 0)])
def test_a_rate_has_to_be_a_rate(per_minute, burst_s):
    with pytest.raises(ValueError, match="must be > 0 and finite"):
        RateBucket(per_minute, burst_s=burst_s, now=0.0)


@pytest.mark.parametrize("cost", [-1.0, math.nan, math.inf])
def test_a_cost_has_to_be_an_amount(bucket, cost):
    with pytest.raises(ValueError, match="amount"):
        bucket.reserve(100.0, cost)
    with pytest.raises(ValueError, match="amount"):
        bucket.settle(0.0, cost)


@pytest.mark.parametrize("cost", [{"usd": -0.1}, {"usd": math.nan}, {"tokens": -1}])
def test_what_a_call_costs_has_to_be_an_amount(cost):
    with pytest.raises(ValueError, match="amount"):
        Cost(**cost)


# ---- ceilings --------------------------------------------------------------------------------------------


def test_calls_in_flight_count_before_they_are_paid(ceiling):
    """Ten calls that each fit alone must not go out together."""
    assert [ceiling.reserve(Cost(0.3, 10)) for _ in range(5)] == [True, True, True, False, False]
    for _ in range(3):
        ceiling.refund(Cost(0.3, 10))


def test_what_takes_all_of_a_limit_could_fit_and_what_takes_more_could_not(ceiling):
    assert ceiling.could_ever_fit(Cost(1.0, 1000))
    assert not ceiling.could_ever_fit(Cost(1.0, 1001))
    assert not ceiling.could_ever_fit(Cost(1.01, 1000))


def test_either_limit_is_enough_to_stop(ceiling):
    assert not ceiling.reserve(Cost(2.0, 1))
    assert not ceiling.reserve(Cost(0.0, 1001))
    assert ceiling.reserve(Cost(1.0, 1000))


def test_money_is_counted_exactly():
    """Ten times 0.1 is less than 1 for floats, and three times 0.1 more than 0.3."""
    ceiling = Ceiling(0.3, None)
    for _ in range(3):
        assert ceiling.reserve(Cost(0.1))
    assert not ceiling.reserve(Cost(1e-12))
    for _ in range(3):
        ceiling.settle(Cost(0.1), Cost(0.1))
    assert ceiling.statistics().spent == Cost(0.3)
    assert ceiling.statistics().reserved == Cost(0.0)
    ceiling.check_invariants()


def test_what_an_estimate_had_too_much_can_be_spent_again(ceiling):
    assert ceiling.reserve(Cost(1.0, 1000))
    assert not ceiling.reserve(Cost(0.1, 100))
    ceiling.settle(Cost(1.0, 1000), Cost(0.9, 900))
    assert ceiling.reserve(Cost(0.1, 100))


def test_one_can_tell_not_now_from_never(ceiling):
    ceiling.reserve(Cost(0.9, 10))
    later = Cost(0.5, 10)
    assert not ceiling.reserve(later)
    assert ceiling.could_ever_fit(later)
    ceiling.settle(Cost(0.9, 10), Cost(0.9, 10))
    assert not ceiling.could_ever_fit(later)


def test_a_truth_beyond_its_estimate_is_spent_all_the_same(ceiling):
    ceiling.reserve(Cost(0.9, 900))
    ceiling.settle(Cost(0.9, 900), Cost(1.5, 1500))
    assert ceiling.statistics().spent == Cost(1.5, 1500)
    assert not ceiling.could_ever_fit(Cost(0.0, 1))


def test_a_resumed_run_goes_on_from_what_was_spent():
    ceiling = Ceiling(1.0, None, spent=Cost(0.75, 500))
    assert not ceiling.reserve(Cost(0.5))
    assert ceiling.reserve(Cost(0.25))
    ceiling.check_invariants()


def test_a_run_resumed_beyond_a_lowered_limit_spends_nothing_more():
    ceiling = Ceiling(1.0, None, spent=Cost(3.0))
    assert not ceiling.reserve(Cost(0.01))
    ceiling.check_invariants()


def test_without_limits_all_is_counted_and_nothing_stopped():
    ceiling = Ceiling(None, None)
    assert ceiling.reserve(Cost(1e6, 10**9))
    assert ceiling.statistics().reserved == Cost(1e6, 10**9)
    assert ceiling.statistics().open == 1


def test_a_ceiling_of_zero_stops_what_costs_and_lets_the_rest_pass():
    ceiling = Ceiling(0.0, None)
    assert not ceiling.reserve(Cost(0.01, 5))
    assert ceiling.reserve(Cost(0.0, 5))


@pytest.mark.parametrize("settled", [Cost(0.5, 10), Cost(0.1, 20)])
def test_what_was_not_reserved_cannot_be_settled(ceiling, settled):
    ceiling.reserve(Cost(0.1, 10))
    before = ceiling.statistics()
    with pytest.raises(InvariantError):
        ceiling.settle(settled, Cost())
    assert ceiling.statistics() == before


def test_what_is_under_way_already_is_held_beyond_the_limit(ceiling):
    ceiling.spend(Cost(0.8, 800))
    ceiling.hold(Cost(0.7, 100))
    ceiling.check_invariants()
    assert not ceiling.reserve(Cost(0.0, 101))
    ceiling.settle(Cost(0.7, 100), Cost(0.1, 50))
    assert ceiling.reserve(Cost(0.1, 100))
    ceiling.check_invariants()


def test_a_reservation_cannot_be_settled_twice(ceiling):
    ceiling.reserve(Cost())
    ceiling.refund(Cost())
    with pytest.raises(InvariantError):
        ceiling.refund(Cost())


@pytest.mark.parametrize("make", [lambda: Cost(-0.1), lambda: Cost(math.nan), lambda: Ceiling(-1.0, None)])
def test_money_has_to_be_an_amount(make):
    with pytest.raises(ValueError, match="amount"):
        make()
