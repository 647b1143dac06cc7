"""Refusals that have nothing to do with how much is in flight: the limit must not end at the floor."""

from __future__ import annotations

import pytest

from tests.unit.support.limiter_endpoint import run


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_refusals_at_random_do_not_hold_the_limit_down(share):
    limiter, _ = run(refused=share, most=200, seconds=40.0)
    assert limiter.limit > 100  # without the rule for them it ends at 1


def test_a_bound_beside_refusals_at_random_is_kept_to_and_the_endpoint_kept_at_work():
    """Both explanations are true in turn, and the limit swings between them: far from full, far from idle."""
    limiter, counts = run(refused=0.1, cap=64, seconds=60.0)
    assert limiter.limit <= 100
    assert counts["answered"] > 0.25 * 60 * 64 / 0.325


def test_when_more_is_refused_than_was_tolerated_the_limit_follows():
    """An endpoint that refused a tenth at random loses most of its capacity."""
    limiter, _ = run(refused=0.1, most=200, change=(30.0, 0.0, 8), seconds=60.0)
    assert limiter.limit <= 24


def test_a_bound_alone_costs_no_more_refusals_than_before():
    limiter, counts = run(refused=0.0, cap=64, seconds=30.0)
    assert 60 <= limiter.limit <= 66
    assert counts["refused"] < 0.01 * counts["answered"]
