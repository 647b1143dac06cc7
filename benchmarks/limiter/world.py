"""A discrete-event simulation of a model endpoint, which measures a limiter in seconds.

Rule 1: nothing sleeps or reads a clock. Time is a heap of events; random numbers come from seeded generators.
Rule 2: a limiter sees what a caller sees: its sends, answers, refusals, headers and streamed tokens.
Rule 3: goodput is the endpoint's work on usable calls, as a share of the most that it could do.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.core.messages.attempts import RateHeaders, Refusal


@dataclass(frozen=True, slots=True)
class LimiterWorld:
    """An endpoint and its callers. Times are seconds, `slots` is (from time, slots) in order."""

    slots: tuple[tuple[float, int], ...] = ((0.0, 1_000_000),)
    line: int = 0  # this many wait for a slot; more are refused
    contention: float = math.inf  # a token takes token_s * (1 + running / contention)
    foreign_every_s: float = 0.0  # others use 0-50 % of the slots; the mean time between changes
    tokens_per_minute: float = 0.0
    shared: float = 0.0  # others use this share of the tokens
    bucket_s: float = 60.0  # seconds of the token rate that the bucket holds
    tells_rates: bool = True  # headers contain rates, and refusals give the reason
    duration_s: float = 300.0
    warm_up_s: float = 60.0
    tasks: int = 1000
    max_in_flight: int = 1000
    start: int = 16  # the configured first limit
    mean_tokens: float = 200.0
    sigma: float = 0.8
    uniform: tuple[int, int] | None = None  # fewest and most tokens of an answer, instead of lognormal
    prompt: int = 300
    max_tokens: int = 4000
    first_token_s: float = 0.3
    token_s: float = 0.02
    round_trip_s: float = 0.06
    retry_after_s: float = 1.0
    timeout_s: float = 60.0
    hangs: float = 0.0
    resets: float = 0.0
    outage: tuple[float, float] = (0.0, 0.0)  # from, to: every answer is a server error
    clients: int = 1
    lag_s: float = 0.0  # between a client and the dispatcher, one way
    kill_at: float = 0.0
    streams: bool = True
    uneven: float = 0.0  # sigma of the lognormal time of a token, which differs between answers
    local_calls_per_s: float = 0.0  # throughput of the callers' machine; 0: unlimited


@dataclass(slots=True, eq=False)
class WorldRequest:
    """One HTTP request in progress."""

    permit: Any
    leave: Any  # from the circuit breaker
    sent_at: float
    tokens: int
    client: int
    streams: bool
    abandoned: bool = False  # no client waits for it
    is_reset: bool = False
    started_at: float = -1.0
    virtual_start: float = 0.0
    token_s: float = 0.0
    headers: RateHeaders | None = None
    reserved: int = 0


class WorldClock:
    """The time of the simulation, as a heap of events."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[..., object], Any]] = []
        self._count = 0

    def at(self, time: float, action: Callable[..., object], argument: Any = None) -> None:
        """Schedule `action(argument)` at `time`."""
        self._count += 1
        heapq.heappush(self._events, (max(time, self.now), self._count, action, argument))

    def run(self, until: float) -> None:
        """Run the events until `until`."""
        events = self._events
        while events and events[0][0] <= until:
            self.now, _, action, argument = heapq.heappop(events)
            action(argument)
        self.now = until


class WorldEndpoint:
    """The endpoint: slots, a queue or refusals, a batch that slows as it grows, a token bucket."""

    def __init__(self, world: LimiterWorld, clock: WorldClock, rng: random.Random) -> None:
        self.world, self.clock, self.rng = world, clock, rng
        self.base = self.slots = world.slots[0][1]
        self.running = 0
        self.waiting: deque[WorldRequest] = deque()
        self.full = world.tokens_per_minute * world.bucket_s / 60
        self.level = self.full
        self.level_at = 0.0
        self.admitted_tokens = 0.0
        self.work = self.possible = 0.0
        self._measured_at = 0.0
        self._virtual = 0.0
        self._decoding: list[tuple[float, int, WorldRequest]] = []
        self._version = 0
        self._count = 0
        for time, slots in world.slots[1:]:
            clock.at(time, self._resize, slots)
        if world.foreign_every_s:
            clock.at(0.0, self._foreign)
        self.answer: Callable[[WorldRequest], None]  # the callers set both
        self.first_token: Callable[[WorldRequest], None]

    # ---- capacity

    def _resize(self, slots: int) -> None:
        self.measure()
        self.base = self.slots = slots

    def _foreign(self, _: None) -> None:
        self.measure()
        self.slots = round(self.base * (1 - 0.5 * self.rng.random()))
        self.clock.at(self.clock.now + self.rng.expovariate(1 / self.world.foreign_every_s), self._foreign)

    def speed(self, running: int) -> float:
        """Return the tokens a second of each request, if `running` run."""
        return 1.0 / (self.world.token_s * (1.0 + running / self.world.contention))

    def measure(self) -> None:
        """Update the integrals of work done and work possible."""
        now = self.clock.now
        step = now - self._measured_at
        if step <= 0:
            return
        self._measured_at = now
        speed = self.speed(self.running)
        self._virtual += speed * step
        if now > self.world.warm_up_s and not self.world.outage[0] < now <= self.world.outage[1]:
            self.work += min(self.running, self.slots) * speed * step
            self.possible += self.slots * self.speed(self.slots) * step

    # ---- requests

    def arrive(self, request: WorldRequest) -> tuple[float, Refusal, RateHeaders | None] | None:
        """Admit a request and return None, or return the refusal: (Retry-After, reason, headers)."""
        world = self.world
        if world.tokens_per_minute:
            refusal = self._reserve(request)
            if refusal:
                return refusal
        if self.running < self.slots:
            self._start(request)
        elif len(self.waiting) < world.line:
            self.waiting.append(request)
        else:
            return world.retry_after_s, Refusal.UNKNOWN, None
        return None

    def _reserve(self, request: WorldRequest) -> tuple[float, Refusal, RateHeaders | None] | None:
        world = self.world
        rate = world.tokens_per_minute / 60
        self._refill()
        need = world.prompt + world.max_tokens
        let_in = self.level >= need
        if let_in:
            self.level -= need
            request.reserved = need
        headers = RateHeaders(
            limit_tokens=int(world.tokens_per_minute),
            remaining_tokens=max(0, int(self.level)),
            reset_tokens_s=(self.full - self.level) / rate,
        )
        request.headers = headers if world.tells_rates else None
        if let_in:
            return None
        kind = Refusal.TOKENS if world.tells_rates else Refusal.UNKNOWN
        return world.retry_after_s, kind, request.headers

    def _refill(self) -> None:
        rate = self.world.tokens_per_minute / 60 * (1 - self.world.shared)
        self.level = min(self.full, self.level + rate * (self.clock.now - self.level_at))
        self.level_at = self.clock.now

    def _start(self, request: WorldRequest) -> None:
        self.measure()
        self.running += 1
        request.started_at = self.clock.now
        if math.isinf(self.world.contention):
            request.token_s = self.world.token_s
            if self.world.uneven:
                request.token_s *= self.rng.lognormvariate(0.0, self.world.uneven)
            took = self.world.first_token_s + request.tokens * request.token_s
            self.clock.at(self.clock.now + took, self._finish, request)
            if request.streams:
                self.clock.at(self.clock.now + self.world.first_token_s, self.first_token, request)
        else:
            self.clock.at(self.clock.now + self.world.first_token_s, self._decode, request)
            self._reschedule()

    def _decode(self, request: WorldRequest) -> None:
        self.measure()
        request.virtual_start = self._virtual
        if request.streams:
            self.first_token(request)
        self._count += 1
        heapq.heappush(self._decoding, (self._virtual + request.tokens, self._count, request))
        self._reschedule()

    def _reschedule(self) -> None:
        self._version += 1
        if self._decoding:
            wait = (self._decoding[0][0] - self._virtual) / self.speed(self.running)
            self.clock.at(self.clock.now + wait, self._decoded, self._version)

    def _decoded(self, version: int) -> None:
        if version != self._version:
            return
        self.measure()
        while self._decoding and self._decoding[0][0] <= self._virtual + 1e-6:
            self._finish(heapq.heappop(self._decoding)[2])
        self._reschedule()

    def _finish(self, request: WorldRequest) -> None:
        self.measure()
        self.running -= 1
        if request.reserved:
            self._refill()
            used = self.world.prompt + request.tokens
            self.level = min(self.full, self.level + request.reserved - used)
            if self.clock.now > self.world.warm_up_s:
                self.admitted_tokens += used
        if self.waiting and self.running < self.slots:
            self._start(self.waiting.popleft())
        self.answer(request)

    def streamed(self, request: WorldRequest) -> int:
        """Return the number of tokens that a request has produced."""
        if math.isinf(self.world.contention):
            made = (self.clock.now - request.started_at - self.world.first_token_s) / request.token_s
        else:
            self.measure()
            made = self._virtual - request.virtual_start if request.virtual_start else 0.0
        return max(0, min(request.tokens, int(made + 1e-6)))
