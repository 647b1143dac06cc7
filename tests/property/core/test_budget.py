"""Bounds that hold whatever is asked for, and in whatever order."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from actors.core.limits.budget import Ceiling, Cost, RateBucket

gaps = st.floats(0, 30)


@given(
    per_minute=st.floats(1, 1e6),
    burst_s=st.floats(0.1, 10),
    steps=st.lists(st.tuples(gaps, st.floats(0, 2)), max_size=60),
)
def test_no_minute_exceeds_its_budget_but_for_one_oversized_cost(per_minute, burst_s, steps):
    """Costs are in bursts, so that some are larger than one."""
    burst = per_minute / (60 + burst_s) * burst_s
    bucket = RateBucket(per_minute, burst_s=burst_s, now=0.0)
    now, admitted = 0.0, []
    for gap, bursts in steps:
        now += gap
        if bucket.reserve(now, bursts * burst):
            admitted.append((now, bursts * burst))
    bucket.check_invariants()
    largest = max((cost for _, cost in admitted), default=0.0)
    for start, _ in admitted:
        in_window = sum(cost for at, cost in admitted if start <= at < start + 60)
        assert in_window <= (per_minute + max(0.0, largest - burst)) * (1 + 1e-6)


@given(per_minute=st.integers(1, 300))
def test_no_minute_holds_more_requests_than_allowed(per_minute):
    bucket = RateBucket(per_minute, now=0.0)
    times, now = [], 0.0
    while now < 150:
        now = bucket.next_at(now, 1)
        assert bucket.reserve(now, 1)
        times.append(now)
    for start in times:
        assert sum(start <= at < start + 60 for at in times) <= per_minute


@given(per_minute=st.floats(10, 1e6), costs=st.lists(st.floats(0.01, 3), min_size=1, max_size=10))
def test_98_percent_of_a_budget_can_be_used(per_minute, costs):
    bucket = RateBucket(per_minute, now=0.0)
    unit = per_minute / 60
    now, used, number = 0.0, 0.0, 0
    while now < 600:
        cost = costs[number % len(costs)] * unit
        now = bucket.next_at(now, cost)
        assert bucket.reserve(now, cost)
        used += cost
        number += 1
    assert used >= 0.98 * per_minute * 10


@given(
    first=st.lists(st.tuples(gaps, st.floats(0, 500)), max_size=20),
    wait=gaps,
    cost=st.floats(0, 1e6),
    remaining=st.floats(),
)
def test_no_wait_is_longer_than_what_was_taken_explains(first, wait, cost, remaining):
    bucket = RateBucket(61.0, now=0.0)  # one a second
    now = 0.0
    for gap, each in first:
        now += gap
        bucket.reserve(now, each)
    now += wait
    latest = now + sum(each for _, each in first) + 1.0
    bucket.correct(now, remaining)
    at = bucket.next_at(now, cost)
    assert now <= at <= latest + 1e-6
    assert bucket.reserve(at, cost)


@given(estimates=st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 1)), max_size=30))
def test_settling_with_the_truth_equals_having_known_it(estimates):
    """As long as the bucket never became full meanwhile, which forgets what was not used."""
    guessed, known = RateBucket(61.0, burst_s=1.0, now=0.0), RateBucket(61.0, burst_s=1.0, now=0.0)
    for estimate, part in estimates:
        if guessed.reserve(0.0, estimate):
            guessed.settle(estimate, estimate * part)
            assert known.reserve(0.0, estimate * part)
    assert math.isclose(guessed.statistics(0.0).available, known.statistics(0.0).available, abs_tol=1e-6)


amounts = st.builds(Cost, st.floats(0, 2), st.integers(0, 2000))


@given(
    limit_usd=st.none() | st.floats(0, 5),
    limit_tokens=st.none() | st.integers(0, 5000),
    spent=st.builds(Cost, st.floats(0, 1), st.integers(0, 1000)),
    steps=st.lists(st.tuples(amounts, st.booleans(), st.floats(0, 1)), max_size=60),
)
def test_a_ceiling_holds_while_estimates_are_upper_bounds(limit_usd, limit_tokens, spent, steps):
    ceiling = Ceiling(limit_usd, limit_tokens, spent=spent)
    open_ = []
    truth = Cost(spent.usd, spent.tokens)
    for estimate, ends, part in steps:
        if ceiling.reserve(estimate):
            open_.append(estimate)
        if ends and open_:
            reserved = open_.pop(0)
            actual = Cost(reserved.usd * part, int(reserved.tokens * part))
            ceiling.settle(reserved, actual)
            truth = Cost(truth.usd + actual.usd, truth.tokens + actual.tokens)
        ceiling.check_invariants()
        state = ceiling.statistics()
        assert math.isclose(state.spent.usd, truth.usd, abs_tol=1e-9)
        assert state.spent.tokens == truth.tokens
        assert state.open == len(open_)
        if limit_usd is not None:
            assert state.spent.usd + state.reserved.usd <= max(limit_usd, spent.usd) + 1e-9
        if limit_tokens is not None:
            assert state.spent.tokens + state.reserved.tokens <= max(limit_tokens, spent.tokens)
    for reserved in open_:
        ceiling.refund(reserved)
    assert ceiling.statistics().reserved == Cost()
