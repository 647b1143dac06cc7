"""The rules of other limiters, reimplemented from their descriptions behind one interface.

Constants are the published defaults. A maximum is raised to that of the world, because users set it. A rule
decides how many calls may be in flight, or when the next may be sent.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, Protocol

from actors.core.messages.attempts import RateHeaders, Refusal
from benchmarks.limiter.world import LimiterWorld


class LimiterRule(Protocol):
    """The interface of a limiter. The simulation returns a permit unchanged to the limiter."""

    def acquire(self, now: float, tokens: int) -> Any:
        """Return a permit to send now, or None."""
        ...

    def wake_at(self, now: float) -> float | None:
        """Return when to ask again if nothing ends before, after `acquire` returned None."""
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
        """Return whether this call should be streamed."""
        ...

    def success(self, permit: Any, now: float, output: int, prompt: int, headers: RateHeaders | None) -> None:
        """Record an answer."""
        ...

    def refused(
        self, permit: Any, now: float, wait_s: float, kind: Refusal, headers: RateHeaders | None
    ) -> bool:
        """Record a refusal. Return True to hold the slot while the call backs off."""
        ...

    def failed(self, permit: Any, now: float) -> None:
        """Record a timeout, a reset or a server error."""
        ...

    def streamed(self, permit: Any, now: float, tokens: int) -> None:
        """Record that `tokens` tokens of a sampled call have arrived."""
        ...


class PeerRule:
    """A limit on calls in flight that changes with answers and refusals. Subclasses override `on_*`."""

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
        """Return whether a call may be sent, apart from the limit."""
        del now
        return True

    def wake_at(self, now: float) -> float | None:
        """Return when `may_send` becomes true."""
        del now
        return None

    def adopt(self, now: float, tokens: int, *, streams: bool) -> Any:
        """Count a call that a client started."""
        del tokens, streams
        self.in_flight += 1
        return now, self.in_flight

    def backlog(self, now: float) -> int:
        """Return 0: these limiters have no backlog."""
        del now
        return 0

    def limit(self) -> float:
        """Return the bound."""
        return self.bound

    def sampled(self, permit: Any) -> bool:
        """Return False: these limiters read no streams."""
        del permit
        return False

    def success(self, permit: Any, now: float, output: int, prompt: int, headers: RateHeaders | None) -> None:
        """Free the slot and adapt."""
        del output, prompt, headers
        before = self.in_flight
        self.in_flight -= 1
        self.on_answer(now, now - permit[0], before, permit)

    def refused(
        self, permit: Any, now: float, wait_s: float, kind: Refusal, headers: RateHeaders | None
    ) -> bool:
        """Free the slot and adapt."""
        del kind, headers
        before = self.in_flight
        self.in_flight -= 1
        return self.on_refusal(now, now - permit[0], before, permit, wait_s)

    def failed(self, permit: Any, now: float) -> None:
        """Free the slot. By default a failure changes nothing else."""
        del permit, now
        self.in_flight -= 1

    def streamed(self, permit: Any, now: float, tokens: int) -> None:
        """Ignore it."""

    def on_answer(self, now: float, took: float, in_flight: int, permit: Any) -> None:
        """Adapt to an answer."""

    def on_refusal(self, now: float, took: float, in_flight: int, permit: Any, wait_s: float) -> bool:
        """Adapt to a refusal. Return True to hold the slot during the back-off."""
        del now, took, in_flight, permit, wait_s
        return False

    def clamp(self, low: float) -> None:
        """Keep the limit between `low` and the maximum of the world."""
        self.bound = max(low, min(self.bound, self.world.max_in_flight))


class Fixed(PeerRule):
    """A fixed limit."""

    def __init__(self, world: LimiterWorld, rng: random.Random, bound: int) -> None:
        super().__init__(world, rng)
        self.bound = float(bound)


class NetflixAimd(PeerRule):
    """AIMD: x0.9 on a refusal or a timeout, +1 on an answer if at least half of the limit is used.

    The timeout is that of the world. With its own of 5 s most answers of a model are failures.
    """

    def on_answer(self, now: float, took: float, in_flight: int, permit: Any) -> None:
        """Raise the limit, unless the answer was slow."""
        if took > self.world.timeout_s:
            self.on_refusal(now, took, in_flight, permit, 0.0)
        elif 2 * in_flight >= self.bound:
            self.bound += 1
            self.clamp(20)

    def on_refusal(self, now: float, took: float, in_flight: int, permit: Any, wait_s: float) -> bool:
        """Lower the limit."""
        del now, took, in_flight, permit, wait_s
        self.bound *= 0.9
        self.clamp(20)
        return False


class NetflixGradient2(PeerRule):
    """The ratio of the long-term mean latency to the last latency. Refusals are samples too."""

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
        """Use its latency as a sample."""
        del wait_s
        self.on_answer(now, took, in_flight, permit)
        return False


class NetflixVegas(PeerRule):
    """Estimates a queue from the ratio of the shortest latency to the last, and keeps it short."""

    def __init__(self, world: LimiterWorld, rng: random.Random) -> None:
        super().__init__(world, rng)
        self.shortest = math.inf
        self.samples = 0.0
        self.jitter = 0.75

    def on_answer(self, now: float, took: float, in_flight: int, permit: Any) -> None:
        """Raise the limit while the estimated queue is short, lower it if it is long."""
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
        """Lower the limit by one step."""
        del now, took, in_flight, permit, wait_s
        self.bound -= max(1.0, math.log10(self.bound))
        self.clamp(1)
        return False


class AwsAdaptive(PeerRule):
    """A send rate that falls to 0.7 on a refusal and grows along a cubic. Calls in flight are unlimited."""

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
        """Follow the cubic up to twice the measured rate."""
        del took, in_flight, permit
        self._measure(now)
        if math.isinf(self.fill):
            return
        flat = (self.peak * 0.3 / 0.4) ** (1 / 3)
        self._refill(now)
        self.fill = max(0.5, min(0.4 * (now - self.cut_at - flat) ** 3 + self.peak, 2 * self.measured))

    def on_refusal(self, now: float, took: float, in_flight: int, permit: Any, wait_s: float) -> bool:
        """Lower the rate to 0.7 of the allowed or the measured rate, whichever is lower."""
        del took, in_flight, permit, wait_s
        self._measure(now)
        self._refill(now)
        self.peak = self.measured if math.isinf(self.fill) else min(self.measured, self.fill)
        self.peak = max(self.peak, 0.5)
        self.cut_at = now
        self.fill = max(0.5, 0.7 * self.peak)
        return False


class InspectAi(PeerRule):
    """Rounds without refusals: x2 before the first refusal, +5 % after it; x0.8 at most once in 15 s."""

    def __init__(self, world: LimiterWorld, rng: random.Random) -> None:
        super().__init__(world, rng)
        self.bound = 20.0
        self.clean, self.peak = 0, 0
        self.was_refused = False
        self.quiet_until = 0.0

    def on_answer(self, now: float, took: float, in_flight: int, permit: Any) -> None:
        """Raise the limit after a round without refusals that used it."""
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
        """Lower the limit at most once in 15 s. The call holds its slot during the back-off."""
        del took, in_flight, permit
        self.clean, self.peak = 0, 0
        if now >= self.quiet_until:
            self.bound = math.floor(self.bound * 0.8 / 5) * 5
            self.clamp(10)
            self.quiet_until = now + max(15.0, wait_s)
        self.was_refused = True
        return True


class DataDesigner(PeerRule):
    """Starts at a maximum. A refusal lowers it to 0.75 and stops sends for Retry-After; 25 answers add 1."""

    def __init__(self, world: LimiterWorld, rng: random.Random) -> None:
        super().__init__(world, rng)
        self.bound = 256.0
        self.most = 256.0
        self.blocked_until = 0.0
        self.streak = 0

    def may_send(self, now: float) -> bool:
        """Return whether the stop is over."""
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
        """Stop sends, and lower the limit if the call was sent within the present one."""
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
