"""How limiters do in worlds they do not know: goodput of capacity, refusals, latency.

    python -m benchmarks.limiter_simulation [--seeds 5] [--scenario NAME]... [--only ours] [--json]

A pure simulation (see `limiter_world`), the same seeds for every limiter. Goodput is a share of what the
endpoint could do after the warm-up; refused is a share of all requests sent from the first second on.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from actors.core.breaker import BreakerSettings, CircuitBreaker
from actors.core.limiter import AdaptiveLimiter, LimiterSettings, Permit
from actors.core.messages import RateHeaders, Refusal
from benchmarks.limiter_peers import PEERS, Rule
from benchmarks.limiter_world import Clock, Endpoint, Request, World


class Ours:
    """`AdaptiveLimiter` behind the simulation's interface."""

    def __init__(self, world: World, rng: random.Random) -> None:
        settings = LimiterSettings(max_in_flight=world.max_in_flight)
        self.limiter = AdaptiveLimiter(settings, now=0.0, rng=rng)
        self._until: float | None = None

    def acquire(self, now: float, tokens: int) -> Permit | None:
        """Ask; remember until when to wait."""
        got = self.limiter.try_acquire(now, tokens=tokens)
        if isinstance(got, Permit):
            return got
        self._until = got.until
        return None

    def wake_at(self, now: float) -> float | None:
        """Return the sooner of the wait's end and the next tick."""
        times = [t for t in (self._until, self.limiter.tick(now)) if t is not None]
        return min(times, default=None)

    def adopt(self, now: float, tokens: int) -> Permit:
        """Count a call that a client started."""
        return self.limiter.adopt(now, tokens=tokens)

    def backlog(self, now: float) -> int:
        """Ask how many calls may wait at the clients."""
        return self.limiter.backlog(now)

    def limit(self) -> float:
        """Return the present limit."""
        return self.limiter.statistics().limit

    def sampled(self, permit: Permit) -> bool:
        """Tell whether the limiter wants this call streamed."""
        return permit.sample

    def success(self, permit: Permit, now: float, output: int, prompt: int, headers: RateHeaders | None) -> None:
        """Pass it on."""
        self.limiter.on_success(permit, now, input_tokens=prompt, output_tokens=output, headers=headers)

    def refused(
        self, permit: Permit, now: float, wait_s: float, kind: Refusal, headers: RateHeaders | None
    ) -> bool:
        """Pass it on."""
        self.limiter.on_refused(permit, now, retry_after=wait_s, kind=kind, headers=headers)
        return False

    def failed(self, permit: Permit, now: float) -> None:
        """Pass it on."""
        self.limiter.on_failure(permit, now)

    def streamed(self, permit: Permit, now: float, tokens: int) -> None:
        """Pass it on."""
        self.limiter.on_tokens(permit, now, tokens=tokens)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a limiter reached in a world. Shares are of 1; `p50_s` is of answered calls, on the wire."""

    goodput: float
    refused: float
    p50_s: float
    retries: float
    reached_90_s: float
    low: float  # the lowest and highest limit after the warm-up
    high: float
    trace: list[tuple[float, float, int]] = field(default_factory=list)  # (time, limit, running), each second


@dataclass(slots=True)
class Caller:
    """One client process: its share of the limit, and how many calls wait in its backlog."""

    in_flight: int = 0
    share: float = math.inf
    backlog: int = 0
    is_alive: bool = True
    requests: set[Request] = field(default_factory=set)


class Simulation:
    """A limiter, its callers and the endpoint, until the world's duration has passed."""

    def __init__(self, world: World, make_rule: Callable[[World, random.Random], Rule], seed: int) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.clock = Clock()
        self.endpoint = Endpoint(world, self.clock, random.Random(seed + 1000))
        self.endpoint.answer = self._answered
        self.endpoint.first_token = self._first_token
        self.rule = make_rule(world, random.Random(seed + 2000))
        self.breaker = CircuitBreaker(BreakerSettings(canary_s=10), 0.0)
        self.callers = [Caller() for _ in range(world.clients)]
        self.ready = world.tasks
        self.sent = self.refused = self.failed = 0
        self.latencies: list[float] = []
        self.trace: list[tuple[float, float, int]] = []
        self.machine_free_at = 0.0
        self._wake: float | None = None
        self.estimate = world.prompt + 2 * int(world.mean_tokens)
        self._mu = math.log(world.mean_tokens) - world.sigma**2 / 2
        if world.kill_at:
            self.clock.at(world.kill_at, self._kill)

    def run(self) -> Outcome:
        """Return what the limiter reached."""
        self.clock.at(0.0, self._watch)
        self.clock.at(0.0, self._pump)
        self.clock.run(self.world.duration_s)
        self.endpoint.measure()
        after = [limit for at, limit, _ in self.trace if at >= self.world.warm_up_s]
        return Outcome(
            goodput=self._goodput(),
            refused=self.refused / max(1, self.sent),
            p50_s=statistics.median(self.latencies or [math.nan]),
            retries=self.failed / max(1, self.sent),
            reached_90_s=next((at for at, _, busy in self.trace if busy >= 0.9 * self._slots_at(at)), math.nan),
            low=min(after),
            high=max(after),
            trace=self.trace,
        )

    def _goodput(self) -> float:
        world = self.world
        if world.tokens_per_minute:
            seconds = world.duration_s - world.warm_up_s
            return self.endpoint.admitted_tokens / (world.tokens_per_minute / 60 * seconds)
        if world.local_calls_per_s:
            return len(self.latencies) / (world.local_calls_per_s * (world.duration_s - world.warm_up_s))
        return self.endpoint.work / self.endpoint.possible

    def _slots_at(self, at: float) -> int:
        return min(self.world.max_in_flight, [n for since, n in self.world.slots if since <= at][-1])

    def _watch(self, _: None) -> None:
        self.trace.append((self.clock.now, self.rule.limit(), self.endpoint.running))
        self.clock.at(self.clock.now + 1.0, self._watch)

    # ---- the dispatcher

    def _pump(self, _: None = None) -> None:
        """Send while the limiter lets us; be woken when time alone changes its mind."""
        now, world = self.clock.now, self.world
        while self.ready:
            leave = self.breaker.allow(now)
            if leave is None:
                self._wake_at(self.breaker.retry_at(now))
                break
            permit = self.rule.acquire(now, self.estimate)
            if permit is None:
                self.breaker.on_cancelled(leave, now)
                self._wake_at(self.rule.wake_at(now))
                break
            self.ready -= 1
            number = min(
                (n for n, caller in enumerate(self.callers) if caller.is_alive),
                key=lambda n: self.callers[n].in_flight,
            )
            self.callers[number].in_flight += 1
            self.clock.at(now + world.lag_s, self._send, (number, permit, leave, self.rule.sampled(permit)))
        if world.clients > 1:
            self._share()

    def _wake_at(self, at: float | None) -> None:
        if at is not None and (self._wake is None or at < self._wake or self._wake <= self.clock.now):
            self._wake = at
            self.clock.at(at, self._woken, at)

    def _woken(self, at: float) -> None:
        if self._wake == at:
            self._wake = None
            self._pump()

    def _share(self) -> None:
        alive = [caller for caller in self.callers if caller.is_alive]
        share, backlog = self.rule.limit() / len(alive), self.rule.backlog(self.clock.now) // len(alive)
        for caller in alive:
            self.clock.at(self.clock.now + self.world.lag_s, self._set_share, (caller, share, backlog))

    @staticmethod
    def _set_share(update: tuple[Caller, float, int]) -> None:
        caller, caller.share, caller.backlog = update

    # ---- the callers

    def _tokens(self) -> int:
        drawn = int(self.rng.lognormvariate(self._mu, self.world.sigma))
        return max(1, min(self.world.max_tokens, drawn))

    def _send(self, start: tuple[int, Any, Any, bool]) -> Request:
        number, permit, leave, streams = start
        now, world = self.clock.now, self.world
        request = Request(permit, leave, now, self._tokens(), number, streams and world.streams)
        self.sent += 1
        self.callers[number].requests.add(request)
        if world.outage[0] <= now < world.outage[1]:
            self.clock.at(now + world.round_trip_s, self._end, (request, self._fail, None))
        elif self.rng.random() < world.hangs:
            self.clock.at(now + world.timeout_s, self._end, (request, self._fail, None))
        else:
            request.is_reset = self.rng.random() < world.resets
            self.clock.at(now + world.round_trip_s / 2, self._arrive, request)
        return request

    def _arrive(self, request: Request) -> None:
        back = self.clock.now + self.world.round_trip_s / 2
        if request.is_reset:
            self.clock.at(back, self._end, (request, self._fail, None))
            return
        refusal = self.endpoint.arrive(request)
        if refusal:
            self.clock.at(back, self._end, (request, self._refuse, refusal))

    def _answered(self, request: Request) -> None:
        now, world = self.clock.now, self.world
        at = now + world.round_trip_s / 2
        if world.local_calls_per_s:
            self.machine_free_at = at = max(at, self.machine_free_at) + 1 / world.local_calls_per_s
        self.clock.at(at, self._end, (request, self._succeed, None))

    def _first_token(self, request: Request) -> None:
        self.clock.at(self.clock.now + self.world.round_trip_s / 2, self._stream, (request, 1))
        self.clock.at(self.clock.now + 0.5, self._more_tokens, request)

    def _more_tokens(self, request: Request) -> None:
        made = self.endpoint.streamed(request)
        if made < request.tokens and not request.abandoned:
            self.clock.at(self.clock.now + self.world.round_trip_s / 2, self._stream, (request, made))
            self.clock.at(self.clock.now + 0.5, self._more_tokens, request)

    def _stream(self, news: tuple[Request, int]) -> None:
        request, made = news
        if request.leave and request.leave.canary and not request.abandoned:
            self.breaker.on_success(request.leave, self.clock.now)  # a first token is a sign of life
            request.leave = None
        if request.permit is not None and not request.abandoned:
            self.rule.streamed(request.permit, self.clock.now, made)

    def _end(self, end: tuple[Request, Callable[[Request, Any], None], Any]) -> None:
        """At the client: the slot is free at once; the news needs `lag_s` to the dispatcher."""
        request, what, detail = end
        if request.abandoned:
            return
        request.abandoned = True
        caller = self.callers[request.client]
        caller.requests.discard(request)
        caller.in_flight -= 1
        started = None
        if caller.backlog > 0 and self.ready and caller.in_flight < caller.share and what == self._succeed:
            caller.backlog -= 1
            caller.in_flight += 1
            self.ready -= 1
            started = self._send((request.client, None, None, self.rng.random() < 0.1))
        self.clock.at(self.clock.now + self.world.lag_s, self._report, (request, what, detail, started))

    # ---- the news

    def _report(self, news: tuple[Request, Callable[[Request, Any], None], Any, Request | None]) -> None:
        request, what, detail, started = news
        if request.permit is None:  # its client died before it could tell
            return
        if started is not None:
            started.permit = self.rule.adopt(self.clock.now, self.estimate)
        what(request, detail)
        self._pump()

    def _succeed(self, request: Request, _: None) -> None:
        now, world = self.clock.now, self.world
        if now > world.warm_up_s:
            self.latencies.append(now - request.sent_at)
        if request.leave:
            self.breaker.on_success(request.leave, now)
        self.rule.success(request.permit, now, request.tokens, world.prompt, request.headers)
        self.ready += 1

    def _refuse(self, request: Request, refusal: tuple[float, Refusal, RateHeaders | None]) -> None:
        now = self.clock.now
        self.refused += 1
        if request.leave:
            self.breaker.on_cancelled(request.leave, now)
        wait_s, kind, headers = refusal
        if self.rule.refused(request.permit, now, wait_s, kind, headers):
            self.clock.at(now + 3 + 3 * self.rng.random(), self._again_in_slot, request)
        else:
            self.clock.at(now + wait_s * (1 + 0.5 * self.rng.random()), self._again)

    def _fail(self, request: Request, _: None) -> None:
        self.failed += 1
        if request.leave:
            self.breaker.on_failure(request.leave, self.clock.now)
        self.rule.failed(request.permit, self.clock.now)
        self.clock.at(self.clock.now + 0.5 + self.rng.random(), self._again)

    def _again(self, _: None) -> None:
        self.ready += 1
        self._pump()

    def _again_in_slot(self, request: Request) -> None:
        self.callers[request.client].in_flight += 1
        permit = self.rule.adopt(self.clock.now, self.world.prompt)
        self._send((request.client, permit, None, False))

    def _kill(self, _: None) -> None:
        """A client dies; the endpoint works on, for nobody; the dispatcher hears of it a second later."""
        caller = self.callers[0]
        caller.is_alive = False
        caller.share, caller.backlog = 0, 0
        lost = list(caller.requests)
        for request in lost:
            request.abandoned = True
        self.clock.at(self.clock.now + 1.0, self._mourn, lost)

    def _mourn(self, lost: list[Request]) -> None:
        for request in lost:
            if request.permit is not None:
                self.rule.failed(request.permit, self.clock.now)
            self.ready += 1
        self._pump()


# The targets: goodput of capacity at least, refused at most, p50 at most so many times the oracle's.
@dataclass(frozen=True, slots=True)
class Target:
    """What must hold in a world, averaged over the seeds. Goodput and refused are shares of 1."""

    goodput: float
    refused: float
    p50_s: float = math.inf
    reached_90_s: float = math.inf
    retries: float = math.inf


SCENARIOS: dict[str, tuple[World, Target]] = {
    "cap 64": (World(slots=((0, 64),)), Target(0.98, 0.01, reached_90_s=15)),
    "cap 512": (World(slots=((0, 512),)), Target(0.98, 0.01, reached_90_s=15)),
    "knee 64": (World(slots=((0, 64),), queue=True), Target(0.95, 0.0, p50_s=1.5 * 3.27)),
    "batch 256": (World(slots=((0, 256),), queue=True, contention=64), Target(0.95, 0.0, p50_s=1.2 * 8.0)),
    "halve": (World(slots=((0, 64), (100, 32), (200, 64))), Target(0.95, 0.013)),
    "tpm headers": (
        World(tokens_per_minute=600_000, sigma=1.2, warm_up_s=150, duration_s=450),
        Target(0.98, 0.005),
    ),
    "tpm silent": (
        World(tokens_per_minute=600_000, sigma=1.2, tells_rates=False, warm_up_s=150, duration_s=450),
        Target(0.98, 0.015),
    ),
    "8 clients": (World(slots=((0, 64),), clients=8, lag_s=0.025, kill_at=150), Target(0.98, 0.015)),
    "faults": (
        World(slots=((0, 64),), hangs=0.05, resets=0.02, outage=(150, 155)),
        Target(0.93, 0.01, retries=0.10),
    ),
    "foreign": (World(slots=((0, 64),), foreign_every_s=20), Target(0.90, 0.04)),
    "short, cap 1000": (
        World(slots=((0, 1000),), tasks=4000, max_in_flight=5000, first_token_s=0.1, token_s=0.001,
              round_trip_s=0.001, duration_s=40, warm_up_s=10, streams=False),
        Target(0.98, 0.01, reached_90_s=5),
    ),
    "short, max 1000": (
        World(tasks=4000, first_token_s=0.1, token_s=0.001, round_trip_s=0.001, duration_s=20, warm_up_s=3,
              slots=((0, 1000),), queue=True, streams=False),
        Target(0.98, 0.0, reached_90_s=3),
    ),
    "short, local 1500/s": (
        World(tasks=4000, first_token_s=0.1, token_s=0.001, round_trip_s=0.001, duration_s=60, warm_up_s=10,
              local_calls_per_s=1500, streams=False),
        Target(0.98, 0.0),
    ),
    "knee 64, no streams": (World(slots=((0, 64),), queue=True, streams=False), Target(0.95, 0.0)),
}  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scenario", action="append", choices=SCENARIOS)
    parser.add_argument("--only", choices=["ours", *PEERS])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--trace", action="store_true")
    arguments = parser.parse_args()
    rules: dict[str, Callable[[World, random.Random], Rule]] = {"ours": Ours, **PEERS}
    if arguments.only:
        rules = {arguments.only: rules[arguments.only]}
    for scenario in arguments.scenario or SCENARIOS:
        world, target = SCENARIOS[scenario]
        for name, rule in rules.items():
            began = time.monotonic()
            outcomes = [Simulation(world, rule, seed).run() for seed in range(arguments.seeds)]
            def mean(what): return statistics.fmean(getattr(o, what) for o in outcomes)
            print(f"{scenario:20} {name:18} good {mean('goodput'):6.1%} ref {mean('refused'):6.2%} (max {max(o.refused for o in outcomes):6.2%}) p50 {mean('p50_s'):5.2f} retr {mean('retries'):5.1%} t90 {mean('reached_90_s'):5.1f} lim {mean('low'):4.0f}-{mean('high'):4.0f}  {time.monotonic()-began:4.1f}s", flush=True)
            if arguments.trace:
                for o in outcomes[:1]:
                    print([(round(t), round(l), b) for t, l, b in o.trace][:400])


if __name__ == "__main__":
    main()
