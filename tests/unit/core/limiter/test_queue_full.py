"""An endpoint that queues what is too much, and never refuses: the queue must not be filled."""

from __future__ import annotations

import pytest

from tests.unit.support.limiter_endpoint import run


@pytest.mark.parametrize("knee", [64, 200])
def test_the_ramp_ends_where_answers_begin_to_queue(knee):
    limiter, counts = run(knee=knee, seconds=15.0)
    assert 0.9 * knee <= limiter.limit <= 2.6 * knee  # without a view of the queue it ends at 1,000
    assert counts["answered"] > 0.9 * 13 * knee / 0.325


def test_an_endpoint_that_never_queues_is_filled():
    limiter, _ = run(seconds=8.0)
    assert limiter.limit == 1000


@pytest.mark.parametrize("seed", range(3))
def test_where_many_begin_at_once_the_first_to_end_are_not_taken_for_the_pace(seed):
    """Of a thousand begun together the first fifty are the shortest, and nothing afterwards is as quick."""
    limits = set()
    run(seconds=30.0, latency_s=1.0, start=1000, seed=seed, watch=lambda limiter: limits.add(limiter.limit))
    assert limits == {1000}
