"""A limiter and an endpoint that is always busy, in simulated time."""

from __future__ import annotations

import heapq
import random

from actors.core.limiter import AdaptiveLimiter, LimiterSettings, Permit


def run(
    *,
    refused=0.0,
    cap=10_000,
    knee=10_000,
    seconds=60.0,
    latency_s=0.3,
    most=1000,
    start=16,
    seed=1,
    change=None,
    watch=lambda limiter: None,
):
    """Keep an endpoint busy that refuses a share at random and all beyond `cap`, and queues beyond `knee`."""
    rng = random.Random(seed)
    limiter = AdaptiveLimiter(LimiterSettings(most, start=start), now=0.0, rng=random.Random(seed))
    ends, slots, inside, now, serial = [], [], 0, 0.0, 0
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
                slot = heapq.heappop(slots) if len(slots) >= knee else 0.0
                ends_at = max(now, slot) + latency_s * rng.lognormvariate(0.0, 0.4)
                heapq.heappush(slots, ends_at)
                heapq.heappush(ends, (ends_at, serial, granted, True))
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
        watch(limiter)
        limiter.check_invariants()
    return limiter, counts
