"""A limiter and an endpoint that is always busy, in simulated time."""

from __future__ import annotations

import heapq
import math
import random

from actors.core.limiter.limiter import AdaptiveLimiter, LimiterSettings, Permit


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
    outage=None,
    silent_from=math.inf,
    wish=1.0,
    refusal_s=lambda rng: 0.005,
    watch=lambda limiter: None,
):
    """Keep an endpoint busy that refuses a share at random and all beyond `cap`, and queues beyond `knee`.

    `outage`: from when to when it refuses everything. `silent_from`: from when on it takes every request and
    says nothing any more. `wish`: the Retry-After of each refusal. `refusal_s`
    tells how long a refusal takes. The counts hold, besides, how many requests went out in the outage after
    its first minute, the limit before it, and how long after it the limit took to return to 90 % of that.
    """
    rng = random.Random(seed)
    limiter = AdaptiveLimiter(LimiterSettings(most, start=start), now=0.0, rng=random.Random(seed))
    ends, slots, inside, now, serial = [], [], 0, 0.0, 0
    begins, is_over = outage or (seconds, seconds)
    counts = {"answered": 0, "refused": 0, "late canaries": 0, "limit before": 0, "back after": None}
    while now < seconds:
        if change and now > change[0]:
            refused, cap = change[1:]
        while isinstance(granted := limiter.try_acquire(now, tokens=100), Permit):
            serial += 1
            counts["late canaries"] += begins + 60 <= now < is_over
            if begins <= now < is_over or inside >= cap or rng.random() < refused:
                heapq.heappush(ends, (now + refusal_s(rng), serial, granted, False))
            else:
                inside += 1
                slot = heapq.heappop(slots) if len(slots) >= knee else 0.0
                ends_at = max(now, slot) + latency_s * rng.lognormvariate(0.0, 0.4)
                heapq.heappush(slots, ends_at)
                heapq.heappush(ends, (ends_at, serial, granted, True))
        wake = limiter.tick(now)
        until = getattr(granted, "until", None)
        times = [time for time in (wake, until, ends[0][0] if ends else None) if time is not None]
        now = max(min(times, default=seconds), now + 1e-6)
        if now >= silent_from:
            ends.clear()
        while ends and ends[0][0] <= now:
            _, _, permit, answered = heapq.heappop(ends)
            if answered:
                inside -= 1
                limiter.on_success(permit, now, input_tokens=50, output_tokens=50)
            else:
                limiter.on_refused(permit, now, retry_after=wish)
            counts["answered" if answered else "refused"] += 1
        if now < begins:
            counts["limit before"] = limiter.limit
        elif now >= is_over and counts["back after"] is None:
            is_back = limiter.limit >= 0.9 * counts["limit before"]
            counts["back after"] = now - is_over if is_back else None
        watch(limiter)
        limiter.check_invariants()
    return limiter, counts
