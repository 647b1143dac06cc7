"""The calling side of the simulation: tasks, a dispatcher that asks a limiter, clients that hold the slots.

Each task always has a call ready, unless it waits after a refusal or a failure. With several clients, all
messages between them and the dispatcher (permits, shares, results) take `lag_s`.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from actors.core.limits.breaker import BreakerSettings, CircuitBreaker
from actors.core.messages.attempts import RateHeaders, Refusal
from benchmarks.limiter.peers import LimiterRule
from benchmarks.limiter.world import LimiterWorld, WorldClock, WorldEndpoint, WorldRequest


@dataclass(frozen=True, slots=True)
class LimiterOutcome:
    """The result of a limiter in a world. Shares are of 1, times in seconds, limits after the warm-up."""

    goodput: float
    refused: float
    p50_s: float
    retries: float
    reached_90_s: float  # time until 90 % of the slots were busy; infinite if they never were
    recovered_s: float  # the same after the last change of the slots; 0 if they never changed
    low: float
    high: float


@dataclass(slots=True)
class WorldCaller:
    """One client process: its share of the limit and its backlog of calls."""

    in_flight: int = 0
    share: float = math.inf
    backlog: int = 0
    is_alive: bool = True
    requests: set[WorldRequest] = field(default_factory=set)


class Simulation:
    """A limiter, its callers and the endpoint, for the duration of a world."""

    def __init__(
        self, world: LimiterWorld, make_rule: Callable[[LimiterWorld, random.Random], LimiterRule], seed: int
    ) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.clock = WorldClock()
        self.endpoint = WorldEndpoint(world, self.clock, random.Random(seed + 1000))
        self.endpoint.answer = self._answered
        self.endpoint.first_token = self._first_token
        self.rule = make_rule(world, random.Random(seed + 2000))
        self.breaker = CircuitBreaker(BreakerSettings(canary_s=10), 0.0)
        self.callers = [WorldCaller() for _ in range(world.clients)]
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

    def run(self) -> LimiterOutcome:
        """Run the simulation and return the result of the limiter."""
        world = self.world
        self.clock.at(0.0, self._watch)
        self.clock.at(0.0, self._pump)
        self.clock.run(world.duration_s)
        self.endpoint.measure()
        after = [limit for at, limit, _ in self.trace if at >= world.warm_up_s]
        last_change = world.slots[-1][0]
        return LimiterOutcome(
            goodput=self._goodput(),
            refused=self.refused / max(1, self.sent),
            p50_s=statistics.median(self.latencies or [math.inf]),
            retries=self.failed / max(1, self.sent),
            reached_90_s=self._busy_from(0.0),
            recovered_s=self._busy_from(last_change) - last_change if last_change else 0.0,
            low=min(after),
            high=max(after),
        )

    def _busy_from(self, since: float) -> float:
        """Return the first time after `since` at which 90 % of the slots were busy."""
        if self.world.tokens_per_minute or self.world.local_calls_per_s:
            return 0.0  # slots are not the limit
        for at, _, running in self.trace:
            slots = [slots for begins, slots in self.world.slots if begins <= at][-1]
            if at > since and running >= 0.9 * min(slots, self.world.max_in_flight):
                return at
        return math.inf

    def _goodput(self) -> float:
        world = self.world
        if world.tokens_per_minute:
            seconds = world.duration_s - world.warm_up_s
            return self.endpoint.admitted_tokens / (
                world.tokens_per_minute / 60 * (1 - world.shared) * seconds
            )
        if world.local_calls_per_s:
            return len(self.latencies) / (world.local_calls_per_s * (world.duration_s - world.warm_up_s))
        return self.endpoint.work / self.endpoint.possible

    def _watch(self, _: None) -> None:
        self.trace.append((self.clock.now, self.rule.limit(), self.endpoint.running))
        self.clock.at(self.clock.now + 1.0, self._watch)

    # ---- the dispatcher

    def _pump(self, _: None = None) -> None:
        """Send while the limiter permits it, and schedule the time at which it may permit more."""
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
    def _set_share(update: tuple[WorldCaller, float, int]) -> None:
        caller, share, backlog = update
        caller.share, caller.backlog = share, backlog

    # ---- the callers

    def _tokens(self) -> int:
        if self.world.uniform:
            return self.rng.randint(*self.world.uniform)
        drawn = int(self.rng.lognormvariate(self._mu, self.world.sigma))
        return max(1, min(self.world.max_tokens, drawn))

    def _send(self, start: tuple[int, Any, Any, bool]) -> WorldRequest:
        number, permit, leave, streams = start
        now, world = self.clock.now, self.world
        request = WorldRequest(permit, leave, now, self._tokens(), number, streams and world.streams)
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

    def _arrive(self, request: WorldRequest) -> None:
        back = self.clock.now + self.world.round_trip_s / 2
        if request.is_reset:
            self.clock.at(back, self._end, (request, self._fail, None))
            return
        refusal = self.endpoint.arrive(request)
        if refusal:
            self.clock.at(back, self._end, (request, self._refuse, refusal))

    def _answered(self, request: WorldRequest) -> None:
        now, world = self.clock.now, self.world
        at = now + world.round_trip_s / 2
        if world.local_calls_per_s:
            self.machine_free_at = at = max(at, self.machine_free_at) + 1 / world.local_calls_per_s
        self.clock.at(at, self._end, (request, self._succeed, None))

    def _first_token(self, request: WorldRequest) -> None:
        self.clock.at(self.clock.now + self.world.round_trip_s / 2, self._stream, (request, 1))
        self.clock.at(self.clock.now + 0.5, self._more_tokens, request)

    def _more_tokens(self, request: WorldRequest) -> None:
        made = self.endpoint.streamed(request)
        if made < request.tokens and not request.abandoned:
            self.clock.at(self.clock.now + self.world.round_trip_s / 2, self._stream, (request, made))
            self.clock.at(self.clock.now + 0.5, self._more_tokens, request)

    def _stream(self, news: tuple[WorldRequest, int]) -> None:
        request, made = news
        if request.leave and request.leave.canary and not request.abandoned:
            self.breaker.on_success(
                request.leave, self.clock.now
            )  # a first token shows that the endpoint works
            request.leave = None
        if request.permit is not None and not request.abandoned:
            self.rule.streamed(request.permit, self.clock.now, made)

    def _end(self, end: tuple[WorldRequest, Callable[[WorldRequest, Any], None], Any]) -> None:
        """End a request at its client. Its slot is free at once; the dispatcher knows after `lag_s`."""
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

    # ---- results at the dispatcher

    def _report(
        self, news: tuple[WorldRequest, Callable[[WorldRequest, Any], None], Any, WorldRequest | None]
    ) -> None:
        request, what, detail, started = news
        if request.permit is None:  # its client ended before it could report it
            return
        if started is not None:
            now = self.clock.now
            started.permit = self.rule.adopt(now, self.estimate, streams=started.streams)
        what(request, detail)
        self._pump()

    def _succeed(self, request: WorldRequest, _: None) -> None:
        now, world = self.clock.now, self.world
        if now > world.warm_up_s:
            self.latencies.append(now - request.sent_at)
        if request.leave:
            self.breaker.on_success(request.leave, now)
        self.rule.success(request.permit, now, request.tokens, world.prompt, request.headers)
        self.ready += 1

    def _refuse(self, request: WorldRequest, refusal: tuple[float, Refusal, RateHeaders | None]) -> None:
        now = self.clock.now
        self.refused += 1
        if request.leave:
            self.breaker.on_cancelled(request.leave, now)
        wait_s, kind, headers = refusal
        if self.rule.refused(request.permit, now, wait_s, kind, headers):
            self.clock.at(now + 3 + 3 * self.rng.random(), self._again_in_slot, request)
        else:
            self.clock.at(now + wait_s * (1 + 0.5 * self.rng.random()), self._again)

    def _fail(self, request: WorldRequest, _: None) -> None:
        self.failed += 1
        if request.leave:
            self.breaker.on_failure(request.leave, self.clock.now)
        self.rule.failed(request.permit, self.clock.now)
        self.clock.at(self.clock.now + 0.5 + self.rng.random(), self._again)

    def _again(self, _: None) -> None:
        self.ready += 1
        self._pump()

    def _again_in_slot(self, request: WorldRequest) -> None:
        self.callers[request.client].in_flight += 1
        permit = self.rule.adopt(self.clock.now, self.world.prompt, streams=False)
        self._send((request.client, permit, None, False))

    def _kill(self, _: None) -> None:
        """End a client. Its requests run on unused, and the dispatcher learns of it a second later."""
        caller = self.callers[0]
        caller.is_alive = False
        caller.share, caller.backlog = 0, 0
        lost = list(caller.requests)
        for request in lost:
            request.abandoned = True
        self.clock.at(self.clock.now + 1.0, self._mourn, lost)

    def _mourn(self, lost: list[WorldRequest]) -> None:
        for request in lost:
            if request.permit is not None:
                self.rule.failed(request.permit, self.clock.now)
            self.ready += 1
        self._pump()
