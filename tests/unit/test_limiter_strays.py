"""Refusals that have nothing to do with how much is in flight: the limit must not end at the floor."""

from __future__ import annotations

import heapq
import random

import pytest

from actors.core.limiter import AdaptiveLimiter, LimiterSettings, Permit


def run(*, refused, cap=10_000, seconds=60.0, latency_s=0.3, most=1000, seed=1, change=None):
    """Keep an endpoint busy that refuses a share at random, and all beyond `cap`."""
    rng = random.Random(seed)
    limiter = AdaptiveLimiter(LimiterSettings(most), now=0.0, rng=random.Random(seed))
    ends, inside, now, serial = [], 0, 0.0, 0
    counts = {"answered": 0, "refused": 0}
    while now < seconds:
        if change and now > change[0]:
            refused, cap = change[1:]
        while isinstance(granted := limiter.try_acquire(now, tokens=100), Permit):
            serial += 1
            if inside >= cap or rng.random() < refused:
                heapq.heappush(ends, (now + 0.005, serial, granted, False))
            else:
                inside += 1
                took_s = latency_s * rng.lognormvariate(0.0, 0.4)
                heapq.heappush(ends, (now + took_s, serial, granted, True))
        wake = limiter.tick(now)
        until = getattr(granted, "until", None)
        times = [time for time in (wake, until, ends[0][0] if ends else None) if time is not None]
        now = max(min(times), now + 1e-6)
        while ends and ends[0][0] <= now:
            _, _, permit, answered = heapq.heappop(ends)
            if answered:
                inside -= 1
                limiter.on_success(permit, now, input_tokens=50, output_tokens=50)
            else:
                limiter.on_refused(permit, now, retry_after=1.0)
            counts["answered" if answered else "refused"] += 1
        limiter.check_invariants()
    return limiter, counts


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_refusals_at_random_do_not_hold_the_limit_down(share):
    limiter, _ = run(refused=share, most=200, seconds=40.0)
    assert limiter.limit > 100  # without the rule for them it ends at 1


def test_a_bound_beside_refusals_at_random_is_kept_to_and_the_endpoint_kept_at_work():
    """Both explanations are true in turn, and the limit swings between them: far from full, far from idle."""
    limiter, counts = run(refused=0.1, cap=64, seconds=60.0)
    assert limiter.limit <= 100
    assert counts["answered"] > 0.25 * 60 * 64 / 0.325


def test_when_more_is_refused_than_was_put_up_with_the_limit_follows():
    """An endpoint that refused a tenth at random loses most of its capacity."""
    limiter, _ = run(refused=0.1, most=200, change=(30.0, 0.0, 8), seconds=60.0)
    assert limiter.limit <= 24


def test_a_bound_alone_costs_no_more_refusals_than_before():
    limiter, counts = run(refused=0.0, cap=64, seconds=30.0)
    assert 60 <= limiter.limit <= 66
    assert counts["refused"] < 0.01 * counts["answered"]
