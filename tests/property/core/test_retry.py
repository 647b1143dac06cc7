"""Bounds of retrying that hold whatever fails, and of a header that anybody may write."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.limits.retry import GiveUp, Retry, RetryBudget, RetryPolicy, RetrySettings, parse_retry_after

settings = st.builds(
    RetrySettings,
    attempts=st.integers(1, 10),
    base_s=st.floats(0.01, 1),
    cap_s=st.floats(1, 60),
    budget=st.floats(0, 1),
)
failures = st.builds(
    Failure, st.sampled_from(FailureKind), st.just(Blame.ENDPOINT), st.just("x"), st.none() | st.floats()
)


@given(settings, st.lists(failures, max_size=60), st.integers())
def test_every_call_ends_after_a_bounded_number_of_tries_but_refusals_and_waits(settings, failures, seed):
    policy, rng = RetryPolicy(settings), random.Random(seed)
    policy.on_first_attempt(0.0)
    refusals = others = 0
    for failure in failures:
        refused = failure.kind is FailureKind.REFUSED
        refusals, others = refusals + refused, others + (not refused)
        decision = policy.next(refusals if refused else others, failure, rng, 0.0)
        if isinstance(decision, GiveUp):
            break
        assert isinstance(decision, Retry)
        assert 0 <= decision.after_s <= 3600 + settings.cap_s
        if failure.retry_after_s is not None and failure.retry_after_s <= 3600:
            assert decision.after_s >= failure.retry_after_s
    assert others <= settings.attempts
    policy.check_invariants(0.0)


@given(
    ratio=st.floats(0, 1),
    min_per_s=st.floats(0, 3),
    steps=st.lists(st.tuples(st.booleans(), st.floats(0, 4)), max_size=200),
)
def test_retries_stay_a_share_of_first_attempts_however_long_it_lasts(ratio, min_per_s, steps):
    budget, now = RetryBudget(ratio, min_per_s, ttl_s=10.0), 0.0
    first, retries = [], []
    for is_first, passed in steps:
        now += passed
        if is_first:
            budget.deposit(now)
            first.append(now)
        elif budget.try_withdraw(now):
            retries.append(now)
        recent_first = sum(now - at <= 11.0 + 1e-6 for at in first)
        recent_retries = sum(now - at < 10.0 for at in retries)
        if retries and retries[-1] == now:
            assert recent_retries <= ratio * recent_first + 10 * min_per_s + 1e-6
        assert len(retries) <= ratio * len(first) + min_per_s * (now + 10) + 1e-6


@given(st.text(max_size=80) | st.from_regex(r"[+-]?[0-9.]{1,20}", fullmatch=True), st.floats(0, 1e11))
def test_any_header_is_a_sane_wait_or_none(value, wall_now):
    seconds = parse_retry_after(value, wall_now=wall_now)
    assert seconds is None or 0 <= seconds <= 3600


@given(
    st.integers(0, 10_000),
    st.integers(0, 99),
    st.integers(0, 99),
    st.sampled_from(["GMT", "-0000", "+9959", ""]),
)
def test_any_date_is_a_sane_wait_or_none(year, day, hour, zone):
    value = f"Sun, {day:02} Nov {year:04} {hour:02}:49:37 {zone}"
    seconds = parse_retry_after(value, wall_now=784_111_777.0)
    assert seconds is None or 0 <= seconds <= 3600
