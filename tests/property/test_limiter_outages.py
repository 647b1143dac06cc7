"""An endpoint refuses everything for minutes to hours: few requests go out, and then all is as before."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.limiter_endpoint import run

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
def test_a_wish_that_is_told_makes_fewer_requests_than_none(wish):
    told, untold = outage(HOUR_S, wish=wish)["late canaries"], outage(HOUR_S, wish=None)["late canaries"]
    assert told < untold / 2
