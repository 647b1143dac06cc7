"""The capacity of a simulated endpoint."""

from __future__ import annotations

import msgspec
import pytest

from simulators.capacity import (
    Admitted,
    Bucket,
    CapacityLimits,
    EndpointCapacity,
    RateLevel,
    RefusalReason,
    Refused,
    duration,
)
from simulators.dialects.registry import CHAT


@pytest.fixture
def capacity():
    made: list[EndpointCapacity] = []

    def make(**limits) -> EndpointCapacity:
        made.append(EndpointCapacity(CapacityLimits(**limits), now=0.0))
        return made[-1]

    yield make
    for one in made:
        one.check_invariants()


def admit(capacity: EndpointCapacity, count: int, *, tokens: int = 0, now: float = 0.0):
    return [capacity.admit(tokens, now) for _ in range(count)]


def test_without_bounds_everything_starts_at_once(capacity):
    assert admit(capacity(), 1000) == [Admitted(starts=True)] * 1000


def test_beyond_the_cap_requests_are_refused_until_one_finishes(capacity):
    endpoint = capacity(cap=2, retry_after_s=0.5)
    refused = Refused(RefusalReason.CONCURRENCY, 0.5)
    assert admit(endpoint, 3) == [Admitted(starts=True), Admitted(starts=True), refused]
    endpoint.finish(0, 0, 1.0)
    assert admit(endpoint, 2) == [Admitted(starts=True), refused]


def test_beyond_the_knee_requests_wait_and_one_starts_for_each_that_ends(capacity):
    endpoint = capacity(knee=2)
    assert [a.starts for a in admit(endpoint, 4)] == [True, True, False, False]
    assert endpoint.in_flight == 4
    assert [endpoint.finish(0, 0, 1.0) for _ in range(4)] == [1, 1, 0, 0]
    assert endpoint.in_flight == 0


def test_while_it_is_held_nobody_starts_and_then_as_many_as_there_is_room_for(capacity):
    endpoint = capacity(hold=1, cap=4)
    assert [a.starts for a in admit(endpoint, 4)] == [False] * 4
    assert isinstance(endpoint.admit(0, 0.0), Refused)
    endpoint.check_invariants()
    assert endpoint.change(CapacityLimits(knee=3), 1.0) == 3
    assert endpoint.change(CapacityLimits(hold=1), 1.0) == 0
    assert endpoint.finish(0, 0, 1.0) == 0
    assert endpoint.change(CapacityLimits(), 1.0) == 1


def test_those_that_wait_at_the_knee_count_towards_the_cap(capacity):
    endpoint = capacity(knee=1, cap=2)
    assert [isinstance(a, Admitted) for a in admit(endpoint, 3)] == [True, True, False]


@pytest.mark.parametrize(("running", "factor"), [(1, 1.0), (10, 1.0), (15, 1.5), (30, 3.0)])
def test_beyond_its_slots_the_endpoint_slows_down_in_proportion(capacity, running, factor):
    endpoint = capacity(slots=10)
    admit(endpoint, running)
    assert endpoint.slow_down() == pytest.approx(factor)


@pytest.mark.parametrize(("running", "factor"), [(0, 1.0), (64, 2.0), (256, 5.0)])
def test_in_a_batch_every_request_slows_all_of_them_down(capacity, running, factor):
    endpoint = capacity(contention=64)
    admit(endpoint, running)
    assert endpoint.slow_down() == pytest.approx(factor)


def test_those_that_wait_at_the_knee_slow_nobody_down(capacity):
    endpoint = capacity(slots=10, knee=10)
    admit(endpoint, 30)
    assert endpoint.slow_down() == 1.0


def test_the_rate_of_requests_allows_a_burst_and_then_its_pace(capacity):
    endpoint = capacity(requests_per_minute=60, burst_s=2.0)
    assert admit(endpoint, 3) == [Admitted(starts=True)] * 2 + [Refused(RefusalReason.REQUESTS, 1.0)]
    assert admit(endpoint, 2, now=1.0) == [Admitted(starts=True), Refused(RefusalReason.REQUESTS, 1.0)]


def test_tokens_are_reserved_at_admission_and_settled_with_the_truth(capacity):
    endpoint = capacity(tokens_per_minute=6000)
    assert endpoint.admit(6000, 0.0) == Admitted(starts=True)
    assert endpoint.admit(1000, 0.0) == Refused(RefusalReason.TOKENS, 10.0)
    endpoint.finish(6000, 5000, 0.0)
    assert endpoint.admit(1000, 0.0) == Admitted(starts=True)


def test_a_refused_request_takes_no_part_of_any_rate(capacity):
    endpoint = capacity(requests_per_minute=60, tokens_per_minute=600)
    endpoint.admit(600, 0.0)
    for _ in range(100):
        assert isinstance(endpoint.admit(600, 0.0), Refused)
    assert endpoint.rates(0.0)["requests"].remaining == 59


def test_a_request_larger_than_the_bucket_is_told_that_no_wait_helps(capacity):
    assert capacity(tokens_per_minute=60).admit(61, 0.0) == Refused(RefusalReason.TOKENS, None)


def test_a_smaller_cap_refuses_what_comes_and_keeps_what_runs(capacity):
    endpoint = capacity(cap=10)
    admit(endpoint, 10)
    assert endpoint.change(CapacityLimits(cap=5), 1.0) == 0
    for _ in range(5):
        assert isinstance(endpoint.admit(0, 1.0), Refused)
        endpoint.finish(0, 0, 1.0)
    assert isinstance(endpoint.admit(0, 1.0), Refused)
    endpoint.finish(0, 0, 1.0)
    assert isinstance(endpoint.admit(0, 1.0), Admitted)


def test_a_knee_that_is_raised_or_lifted_starts_those_that_wait(capacity):
    endpoint = capacity(knee=1)
    admit(endpoint, 5)
    assert endpoint.change(CapacityLimits(knee=3), 1.0) == 2
    assert endpoint.change(CapacityLimits(), 1.0) == 2


def test_a_rate_that_changes_does_not_hand_out_a_new_burst(capacity):
    endpoint = capacity(requests_per_minute=60)
    admit(endpoint, 60)
    endpoint.change(CapacityLimits(requests_per_minute=120), 0.0)
    assert isinstance(endpoint.admit(0, 0.0), Refused)
    assert isinstance(endpoint.admit(0, 0.5), Admitted)


def test_rates_tell_limit_rest_and_reset_and_are_absent_without_limits(capacity):
    assert capacity().rates(0.0) == {}
    endpoint = capacity(requests_per_minute=120, tokens_per_minute=6000)
    endpoint.admit(9000 // 2, 0.0)
    assert endpoint.rates(0.0) == {
        "requests": RateLevel(120, 119, 0.5),
        "tokens": RateLevel(6000, 1500, 45.0),
    }
    assert CHAT.rate_headers(endpoint.rates(0.0), 0.0) == {
        "x-ratelimit-limit-requests": "120",
        "x-ratelimit-remaining-requests": "119",
        "x-ratelimit-reset-requests": "500ms",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "1500",
        "x-ratelimit-reset-tokens": "45s",
    }


def test_a_bucket_in_debt_fills_before_it_gives(capacity):
    bucket = Bucket(60, 10.0, now=0.0)
    bucket.take(15, 0.0)
    assert bucket.level(0.0) == -5
    assert bucket.wait_s(1, 0.0) == pytest.approx(6.0)
    assert bucket.wait_s(1, 6.0) == 0.0
    assert bucket.level(1000.0) == 10


def test_time_that_goes_backwards_fills_no_bucket():
    bucket = Bucket(60, 10.0, now=100.0)
    bucket.take(10, 100.0)
    assert bucket.level(50.0) == 0
    assert bucket.level(101.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0ms"), (0.0201, "21ms"), (0.9999, "1s"), (1.5, "1.5s"), (59.9996, "1m0s"), (360.0, "6m0s")],
)
def test_durations_are_written_as_real_endpoints_write_them(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize("limits", [{"cap": -1}, {"burst_s": float("nan")}, {"retry_after_s": float("inf")}])
def test_limits_that_make_no_sense_are_refused(limits):
    with pytest.raises(msgspec.ValidationError, match=next(iter(limits))):
        msgspec.convert(limits, CapacityLimits)
