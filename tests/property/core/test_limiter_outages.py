"""An endpoint refuses everything, or says nothing, for minutes to hours.

While it refuses, few requests go out, and then all is as before. While it is silent, the limit hardly rises.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.support.limiter_endpoint import run

HOUR_S = 3600.0
BEGINS_S = 40.0
AFTER_S = 45.0


def quick(rng):
    return 0.05


def uneven(rng):
    """Most refusals take some 50 ms, some a second."""
    return 0.05 * rng.lognormvariate(0.0, 1.0)


def outage(lasts_s, **world):
    ends = BEGINS_S + lasts_s
    return run(outage=(BEGINS_S, ends), seconds=ends + AFTER_S, **world)[1]


worlds = st.fixed_dictionaries(
    {
        "wish": st.sampled_from([None, 0.0, 1.0, 30.0, 3600.0]),
        "refusal_s": st.sampled_from([quick, uneven]),
        "latency_s": st.sampled_from([0.3, 3.0]),
        "cap": st.sampled_from([8, 64, 200]),
        "seed": st.integers(0, 1000),
    }
)


@given(lasts_s=st.floats(90.0, 2 * HOUR_S), world=worlds)
@example(lasts_s=24 * HOUR_S, world={"wish": None, "refusal_s": quick, "cap": 64})
@example(lasts_s=24 * HOUR_S, world={"wish": 30.0, "refusal_s": uneven, "cap": 64})
@settings(max_examples=10, deadline=None)
def test_an_outage_of_refusals_sees_few_requests_and_then_the_limit_returns(lasts_s, world):
    counts = outage(lasts_s, most=400, **world)
    assert counts["limit before"] >= 0.5 * world["cap"]
    assert counts["back after"] is not None
    assert counts["back after"] <= 30.0
    assert counts["late canaries"] <= 20 + (lasts_s - 60) / 2.5


@pytest.mark.parametrize("wish", [30.0, 3600.0])
def test_a_retry_after_makes_fewer_requests_than_none(wish):
    told, untold = (outage(HOUR_S, wish=each, cap=8)["late canaries"] for each in (wish, None))
    assert told < untold / 2


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("latency_s", [0.3, 2.0, 20.0])
@pytest.mark.parametrize("cap", [2, 6, 40])
def test_an_endpoint_that_falls_silent_is_sent_at_most_twice_what_it_answered(cap, latency_s, seed):
    silent_from, late = 60.0, [0]

    def watch(limiter):
        if limiter._now >= silent_from:
            late[0] = max(late[0], limiter.in_flight)

    run(cap=cap, latency_s=latency_s, seed=seed, silent_from=silent_from, seconds=60.0 + HOUR_S, watch=watch)
    assert 1 <= late[0] <= 2 * cap


# With answers of two minutes a probe comes about every two minutes.
@pytest.mark.parametrize(
    ("latency_s", "within_s", "found"), [(2.0, 20.0, 60), (20.0, 30.0, 60), (120.0, 180.0, 44)]
)
def test_doubled_capacity_is_found_without_waiting_for_slow_answers(latency_s, within_s, found):
    grows = 2 * latency_s + 40.0
    world = {"cap": 32, "latency_s": latency_s, "change": (grows, 0.0, 64)}
    assert run(seconds=grows, **world)[0].limit <= 33
    assert run(seconds=grows + within_s, **world)[0].limit >= found


@pytest.mark.parametrize("latency_s", [10.0, 20.0])
def test_capacity_that_grew_tenfold_is_found_within_a_few_slow_answers(latency_s):
    grows = 100.0
    world = {"cap": 6, "latency_s": latency_s, "change": (grows, 0.0, 64)}
    assert run(seconds=grows + 20.0 + 3 * latency_s, **world)[0].limit >= 60
