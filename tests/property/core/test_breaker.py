"""Whatever happens to a breaker, it holds its promises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.core.errors import InvalidTransitionError
from actors.core.limits.breaker import BreakerSettings, BreakerState, CircuitBreaker

SETTINGS = BreakerSettings(failures=3, results=4, window_s=5.0, canary_s=20.0, longest_open_s=8.0)

steps = st.lists(
    st.tuples(
        st.sampled_from(["allow", "on_success", "on_failure", "on_cancelled"]),
        st.floats(0, 3),  # time that passes before
        st.integers(0, 50),  # which of the permits that are out
    ),
    max_size=120,
)


@given(steps)
def test_no_order_of_events_breaks_it(events):
    breaker, now, out = CircuitBreaker(SETTINGS, 0.0), 0.0, []
    for event, passed, which in events:
        now += passed
        state, retry_at = breaker.state, breaker.retry_at(now)
        if event == "allow":
            permit = breaker.allow(now)
            assert (permit is not None) or retry_at is not None or now >= 20
            if permit is not None:
                assert permit.canary == (state is not BreakerState.CLOSED)
                assert not permit.canary or not any(
                    each.canary and each.generation == permit.generation for each in out
                )
                out.append(permit)
        elif out:
            permit = out.pop(which % len(out))
            getattr(breaker, event)(permit, now)
            if state is BreakerState.OPEN:
                assert breaker.state is not BreakerState.HALF_OPEN
            if state is not BreakerState.CLOSED and breaker.state is BreakerState.CLOSED:
                assert permit.canary
                assert event == "on_success"
            assert breaker.state is not BreakerState.HALF_OPEN or state is BreakerState.HALF_OPEN
        breaker.check_invariants()
        assert breaker.statistics(now).in_flight == len(out)
    for permit in out:
        breaker.on_cancelled(permit, now)
    if out:
        with pytest.raises(InvalidTransitionError):
            breaker.on_cancelled(out[-1], now)


@given(steps)
def test_it_never_stays_shut_for_ever(events):
    breaker, now, out = CircuitBreaker(SETTINGS, 0.0), 0.0, []
    for event, passed, which in events:
        now += passed
        if event == "allow":
            permit = breaker.allow(now)
            out += [permit] if permit else []
        elif out:
            getattr(breaker, event)(out.pop(which % len(out)), now)
    # Two waits at most: for a canary that is lost, and for the next one.
    for _ in range(2):
        now = max(now, breaker.retry_at(now) or now)
        permit = breaker.allow(now)
        if permit is not None:
            break
    assert permit is not None


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 16), st.integers(0, 16)), max_size=60))
def test_a_peer_that_succeeds_at_least_as_often_as_it_fails_is_never_cut_off(moments):
    breaker, now = CircuitBreaker(BreakerSettings(), 0.0), 0.0
    for passed, successes, failures in moments:
        now += passed
        for _ in range(successes):
            breaker.on_success(breaker.allow(now), now)
        for _ in range(min(failures, successes)):
            breaker.on_failure(breaker.allow(now), now)
        assert breaker.state is BreakerState.CLOSED


@given(st.lists(st.floats(0, 3), min_size=10, max_size=60), st.integers(0, 5000))
def test_a_peer_that_only_fails_is_cut_off_whatever_it_was_before(gaps, successes):
    breaker, now = CircuitBreaker(BreakerSettings(streak_s=0.0), 0.0), 0.0
    for _ in range(successes):
        breaker.on_success(breaker.allow(now), now)
    for gap in gaps:
        now += gap
        permit = breaker.allow(now)
        if permit is None:
            break
        breaker.on_failure(permit, now)
    assert breaker.statistics(now).opened >= 1
