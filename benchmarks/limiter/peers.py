"""The rules of other limiters, written anew from descriptions of them, behind one small interface.

Their constants are the published defaults; a maximum is raised to the world's, since it is meant to be set.
Each rule decides one of two things: how many calls may be in flight, or when the next may be sent.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, Protocol

from actors.core.messages.attempts import RateHeaders, Refusal
from benchmarks.limiter.world import LimiterWorld


class LimiterRule(Protocol):
    """What the simulation asks of a limiter. A permit is whatever the limiter wants to see again."""

    def acquire(self, now: float, tokens: int) -> Any:
        """Return a permit to send now, or None."""
        ...

    def wake_at(self, now: float) -> float | None:
        """Return when to ask again although nothing has ended; asked after `acquire` gave None."""
        ...

    def adopt(self, now: float, tokens: int, *, streams: bool) -> Any:
        """Return a permit for a call that a client started from its backlog."""
        ...

    def backlog(self, now: float) -> int:
        """Return how many calls may wait at the clients."""
        ...

    def limit(self) -> float:
        """Return the present limit on calls in flight."""
        ...

    def sampled(self, permit: Any) -> bool:
        """Tell whether this call should be streamed."""
        ...

    def success(self, permit: Any, now: float, output: int, prompt: int, headers: RateHeaders | None) -> None:
        """Take an answer."""
        ...

    def refused(
        self, permit: Any, now: float, wait_s: float, kind: Refusal, headers: RateHeaders | None
    ) -> bool:
        """Take a refusal. True: this limiter holds the slot while the call backs off."""
        ...

    def failed(self, permit: Any, now: float) -> None:
        """Take a time-out, a reset or an error of the server."""
        ...

    def streamed(self, permit: Any, now: float, tokens: int) -> None:
        """Take the news that so many tokens of a sampled call have come so far."""
        ...


class Peer:
    """A bound on calls in flight that learns from answers and refusals. Subclasses override `on_*`."""

    def __init__(self, world: LimiterWorld, rng: random.Random) -> None:
        self.world, self.rng = world, rng
        self.bound = 20.0
        self.in_flight = 0

    def acquire(self, now: float, tokens: int) -> Any:
        """Return (sent at, in flight) while there is room."""
        del tokens
        if self.in_flight >= int(self.bound) or not self.may_send(now):
            return None
        self.in_flight += 1
        return now, self.in_flight

    def may_send(self, now: float) -> bool:
        """Tell whether anything but the bound stands against a call."""
        del now
        return True

    def wake_at(self, now: float) -> float | None:
        """Return when `may_send` changes its mind."""
        del now
        return None

    def adopt(self, now: float, tokens: int, *, streams: bool) -> Any:
        """Count a call that a client started."""
        del tokens, streams
        self.in_flight += 1
        return now, self.in_flight

    def backlog(self, now: float) -> int:
        """Return 0: these have no such rule."""
        del now
        return 0

    def limit(self) -> float:
        """Return the bound."""
        return self.bound

    def sampled(self, permit: Any) -> bool:
        """Return False: none of them reads streams."""
        del permit
        return False

    def success(self, permit: Any, now: float, output: int, prompt: int, headers: RateHeaders | None) -> None:
        """Free the slot, then learn."""
        del output, prompt, headers
        before = self.in_flight
        self.in_flight -= 1
        self.on_answer(now, now - permit[0], before, permit)

    def refused(
        self, permit: Any, now: float, wait_s: float, kind: Refusal, headers: RateHeaders | None
    ) -> bool:
        """Free the slot, then learn."""
        del kind, headers
        before = self.in_flight
        self.in_flight -= 1
        return self.on_refusal(now, now - permit[0], before, permit, wait_s)

    def failed(self, permit: Any, now: float) -> None:
        """Free the slot; a failure teaches nothing unless a rule says so."""
        del permit, now
        self.in_flight -= 1

    def streamed(self, permit: Any, now: float, tokens: int) -> None:
        """Ignore it."""

    def on_answer(self, now: float, took: float, in_flight: int, permit: Any) -> None:
        """Learn from an answer."""

    def on_refusal(self, now: float, took: float, in_flight: int, permit: Any, wait_s: float) -> bool:
        """Learn from a refusal. True: hold the slot during back-off."""
        del now, took, in_flight, permit, wait_s
        return False

    def clamp(self, low: float) -> None:
        """Keep the bound between `low` and the world's maximum."""
        self.bound = max(low, min(self.bound, self.world.max_in_flight))


class Fixed(Peer):
    """A number from a configuration file."""

    def __init__(self, world: LimiterWorld, rng: random.Random, bound: int) -> None:
        super().__init__(world, rng)
        self.bound = float(bound)


class NetflixAimd(Peer):
    """AIMD: x0.9 on a refusal or a time-out, +1 on an answer when at least half is used.

    Its own time-out of 5 s, which makes most answers of a model a failure, is replaced by the world's.
    """

    def on_answer(self, now: float, took: float, in_flight: int, permit: Any) -> None:
        """Grow, unless the answer was slow."""
        if took > self.world.timeout_s:
            self.on_refusal(now, took, in_flight, permit, 0.0)
        elif 2 * in_flight >= self.bound:
            self.bound += 1
            self.clamp(20)

    def on_refusal(self, now: float, took: float, in_flight: int, permit: Any, wait_s: float) -> bool:
        """Cut."""
        del now, took, in_flight, permit, wait_s
        self.bound *= 0.9
        self.clamp(20)
        return False


class NetflixGradient2(Peer):
    """Ratio of a long average of latencies to the last one; refusals are samples like any other."""

    def __init__(self, world: LimiterWorld, rng: random.Random) -> None:
        super().__init__(world, rng)
        self.long = 0.0

    def on_answer(self, now: float, took: float, in_flight: int, permit: Any) -> None:
        """Move towards bound * gradient + 4."""
        del now, permit
        self.long = took if not self.long else self.long + (took - self.long) * 2 / 601
        if self.long / took > 2:
            self.long *= 0.95
        if in_flight < self.bound / 2:
            return
        gradient = max(0.5, min(1.0, 1.5 * self.long / took))
        self.bound = 0.8 * self.bound + 0.2 * (self.bound * gradient + 4)
        self.clamp(20)

    def on_refusal(self, now: float, took: float, in_flight: int, permit: Any, wait_s: float) -> bool:
        """Take its latency as a sample."""
        del wait_s
        self.on_answer(now, took, in_flight, permit)
        return False


class NetflixVegas(Peer):
    """Estimates a queue from the ratio of the shortest latency to the last one, and keeps it small."""

    def __init__(self, world: LimiterWorld, rng: random.Random) -> None:
        super().__init__(world, rng)
        self.shortest = math.inf
        self.samples = 0.0
        self.jitter = 0.75

    def on_answer(self, now: float, took: float, in_flight: int, permit: Any) -> None:
        """Grow while the estimated queue is short, shrink when it is long."""
        del now, permit
        self.samples += 1
        if self.samples >= self.jitter * 30 * self.bound:
            self.samples, self.jitter, self.shortest = 0, self.rng.uniform(0.5, 1.0), took
            return
        self.shortest = min(self.shortest, took)
        if 2 * in_flight < self.bound:
            return
        step = max(1.0, math.log10(self.bound))
        queue = math.ceil(self.bound * (1 - self.shortest / took))
        if queue <= step:
            self.bound += 6 * step
        elif queue < 3 * step:
            self.bound += step
        elif queue > 6 * step:
            self.bound -= step
        self.clamp(1)

    def on_refusal(self, now: float, took: float, in_flight: int, permit: Any, wait_s: float) -> bool:
        """Shrink by one step."""
        del now, took, in_flight, permit, wait_s
        self.bound -= max(1.0, math.log10(self.bound))
        self.clamp(1)
        return False


class AwsAdaptive(Peer):
    """A rate of sends, cut to 0.7 on a refusal and grown along a cubic; no bound on calls in flight."""

    def __init__(self, world: LimiterWorld, rng: random.Random) -> None:
        super().__init__(world, rng)
        self.bound = float(world.max_in_flight)
        self.fill = math.inf  # off until the first refusal
        self.level, self.level_at = 0.0, 0.0
        self.peak, self.cut_at = 0.0, 0.0
        self.measured, self.window, self.sent = 0.0, 0.0, 0

    def may_send(self, now: float) -> bool:
        """Take a token from the bucket."""
        if math.isinf(self.fill):
            return True
        self._refill(now)
        if self.level < 1:
            return False
        self.level -= 1
        return True

    def _refill(self, now: float) -> None:
        self.level = min(max(1.0, self.fill), self.level + self.fill * (now - self.level_at))
        self.level_at = now

    def wake_at(self, now: float) -> float | None:
        """Return when the bucket holds a token."""
        if math.isinf(self.fill) or self.level >= 1:
            return None
        return now + (1 - self.level) / self.fill + 1e-6

    def _measure(self, now: float) -> None:
        self.sent += 1
        window = math.floor(now * 2) / 2
        if window > self.window:
            self.measured = 0.8 * self.sent / (window - self.window) + 0.2 * self.measured
            self.window, self.sent = window, 0

    def on_answer(self, now: float, took: float, in_flight: int, permit: Any) -> None:
        """Follow the cubic, at most twice what is measured."""
        del took, in_flight, permit
        self._measure(now)
        if math.isinf(self.fill):
            return
        flat = (self.peak * 0.3 / 0.4) ** (1 / 3)
        self._refill(now)
        self.fill = max(0.5, min(0.4 * (now - self.cut_at - flat) ** 3 + self.peak, 2 * self.measured))

    def on_refusal(self, now: float, took: float, in_flight: int, permit: Any, wait_s: float) -> bool:
        """Cut to 0.7 of the lower of what is allowed and what is measured."""
        del took, in_flight, permit, wait_s
        self._measure(now)
        self._refill(now)
        self.peak = self.measured if math.isinf(self.fill) else min(self.measured, self.fill)
        self.peak = max(self.peak, 0.5)
        self.cut_at = now
        self.fill = max(0.5, 0.7 * self.peak)
        return False


class InspectAi(Peer):
    """Rounds of clean answers: x2 before the first refusal, +5 % after; x0.8 at most once in 15 s."""

    def __init__(self, world: LimiterWorld, rng: random.Random) -> None:
        super().__init__(world, rng)
        self.bound = 20.0
        self.clean, self.peak = 0, 0
        self.was_refused = False
        self.quiet_until = 0.0

    def on_answer(self, now: float, took: float, in_flight: int, permit: Any) -> None:
        """Grow after a clean round that used the bound."""
        del took, permit
        if now < self.quiet_until:
            return
        self.clean += 1
        self.peak = max(self.peak, in_flight)
        if self.clean < max(self.bound, 4):
            return
        if self.peak >= 0.8 * self.bound:
            grown = math.ceil(self.bound * 1.05 / 5) * 5
            self.bound = 2 * self.bound if not self.was_refused else max(grown, self.bound + 5)
            self.clamp(10)
        self.clean, self.peak = 0, 0

    def on_refusal(self, now: float, took: float, in_flight: int, permit: Any, wait_s: float) -> bool:
        """Cut, once a while; the slot stays taken while the call backs off."""
        del took, in_flight, permit
        self.clean, self.peak = 0, 0
        if now >= self.quiet_until:
            self.bound = math.floor(self.bound * 0.8 / 5) * 5
            self.clamp(10)
            self.quiet_until = now + max(15.0, wait_s)
        self.was_refused = True
        return True


class DataDesigner(Peer):
    """Starts at a maximum; a refusal cuts to 0.75 and stops all for its Retry-After; 25 answers add 1."""

    def __init__(self, world: LimiterWorld, rng: random.Random) -> None:
        super().__init__(world, rng)
        self.bound = 256.0
        self.most = 256.0
        self.blocked_until = 0.0
        self.streak = 0

    def may_send(self, now: float) -> bool:
        """Tell whether the stop is over."""
        return now >= self.blocked_until

    def wake_at(self, now: float) -> float | None:
        """Return the end of the stop."""
        return self.blocked_until if now < self.blocked_until else None

    def on_answer(self, now: float, took: float, in_flight: int, permit: Any) -> None:
        """Count to 25."""
        del now, took, in_flight, permit
        self.streak += 1
        if self.streak >= 25:
            self.streak = 0
            self.bound = min(self.most, self.bound + 1)

    def on_refusal(self, now: float, took: float, in_flight: int, permit: Any, wait_s: float) -> bool:
        """Cut if the call was sent within the present bound, and stop."""
        del took, in_flight
        self.streak = 0
        if permit[1] <= self.bound:
            self.bound = max(1.0, math.floor(self.bound * 0.75))
        self.blocked_until = max(self.blocked_until, now + (wait_s or 2.0))
        return False


PEERS: dict[str, Callable[[LimiterWorld, random.Random], LimiterRule]] = {
    "fixed 64": lambda world, rng: Fixed(world, rng, 64),
    "fixed 256": lambda world, rng: Fixed(world, rng, 256),
    "Netflix AIMD": NetflixAimd,
    "Netflix Gradient2": NetflixGradient2,
    "Netflix Vegas": NetflixVegas,
    "AWS adaptive": AwsAdaptive,
    "inspect_ai": InspectAi,
    "DataDesigner": DataDesigner,
}
