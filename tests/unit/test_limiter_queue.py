"""An endpoint that queues what is too much, and never refuses: the queue must not be filled."""

from __future__ import annotations

import pytest

from tests.unit.limiter_endpoint import run


@pytest.mark.parametrize("knee", [64, 200])
def test_the_ramp_ends_where_answers_begin_to_queue(knee):
    limiter, counts = run(knee=knee, seconds=15.0)
    assert 0.9 * knee <= limiter.limit <= 2.6 * knee  # without a view of the queue it ends at 1,000
    assert counts["answered"] > 0.9 * 13 * knee / 0.325


def test_an_endpoint_that_never_queues_is_filled():
    limiter, _ = run(seconds=8.0)
    assert limiter.limit == 1000
