"""The capacity of a simulated endpoint: slots, queue, rates. Pure; ``now`` is in seconds.

The limits are independent, and 0 switches each off:

* ``slots``: beyond it all requests get slower, as on a processor that is fully used;
* ``contention``: each request in flight slows down all of them, as in continuous batching; this many double
  the time;
* ``knee``: beyond it requests wait, first in, first out;
* ``cap``: beyond it requests are refused;
* ``hold``: while it is set, admitted requests wait, so that a test can look at what is in flight;
* requests and tokens a minute: token buckets. Admission reserves the estimate that real endpoints use
  (prompt + max_tokens); the end of the request corrects it.

Rule 1: a refused request takes no slot and no part of a rate.
Rule 2: each admitted request calls `EndpointCapacity.finish` exactly once.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]


class RefusalReason(enum.StrEnum):
    """Why a request was refused; also the ``type`` of the error in the response."""

    CONCURRENCY = "concurrency"
    REQUESTS = "requests"
    TOKENS = "tokens"


class CapacityLimits(msgspec.Struct, frozen=True):
    """The limits of an endpoint; 0 means none. The descriptions are the help texts of the command line."""

    slots: Annotated[Count, Meta(description="beyond this many in flight all get slower; 0: never")] = 0
    contention: Annotated[Count, Meta(description="this many in flight double the latency; 0: never")] = 0
    knee: Annotated[Count, Meta(description="beyond this many in flight requests wait; 0: never")] = 0
    cap: Annotated[Count, Meta(description="beyond this many in flight requests are refused; 0: never")] = 0
    hold: Annotated[Count, Meta(description="1: admitted requests wait until POST /control sets 0")] = 0
    requests_per_minute: Annotated[Count, Meta(description="rate of requests; 0: no limit")] = 0
    tokens_per_minute: Annotated[Count, Meta(description="rate of tokens; 0: no limit")] = 0
    retry_after_s: Annotated[Seconds, Meta(description="Retry-After of a refusal by cap")] = 1.0
    burst_s: Annotated[Seconds, Meta(description="seconds of a rate that may be used at once")] = 60.0


@dataclass(frozen=True, slots=True)
class Admitted:
    """The request is admitted. `starts` is False if it has to wait first."""

    starts: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """The request is refused. `retry_after_s` is None if no wait helps."""

    reason: RefusalReason
    retry_after_s: float | None


@dataclass(frozen=True, slots=True)
class RateLevel:
    """A rate a minute, what remains of it now, and the seconds until all of it is available."""

    limit: int
    remaining: int
    reset_s: float


class Bucket:
    """A token bucket that holds `burst_s` seconds of the rate `per_minute` and starts full."""

    def __init__(self, per_minute: int, burst_s: float, now: float) -> None:
        self.per_minute = per_minute
        self.capacity = max(1.0, per_minute * burst_s / 60.0)
        self._rate = per_minute / 60.0
        self._level = self.capacity
        self._updated = now

    def level(self, now: float) -> float:
        """Return what may be taken now; negative if more was used than had been reserved."""
        elapsed = max(0.0, now - self._updated)
        self._level = min(self.capacity, self._level + elapsed * self._rate)
        self._updated = max(self._updated, now)
        return self._level

    def wait_s(self, amount: float, now: float) -> float:
        """Return the seconds until `amount` can be taken, infinity if it never can."""
        if amount > self.capacity:
            return math.inf
        return max(0.0, amount - self.level(now)) / self._rate

    def take(self, amount: float, now: float) -> None:
        """Take `amount`, which may be negative or exceed the level."""
        self._level = min(self.capacity, self.level(now) - amount)

    def full_in_s(self, now: float) -> float:
        """Return the seconds until the bucket is full again."""
        return (self.capacity - self.level(now)) / self._rate


class EndpointCapacity:
    """Counts running and waiting requests, and admits or refuses new ones."""

    def __init__(self, limits: CapacityLimits, now: float) -> None:
        self._limits = limits
        self._running = 0
        self._waiting = 0
        self._requests = _bucket(None, limits.requests_per_minute, limits.burst_s, now)
        self._tokens = _bucket(None, limits.tokens_per_minute, limits.burst_s, now)

    def __repr__(self) -> str:
        return f"<EndpointCapacity {self._running} running, {self._waiting} waiting>"

    @property
    def in_flight(self) -> int:
        """The number of admitted requests that have not finished, including waiting ones."""
        return self._running + self._waiting

    @property
    def limits(self) -> CapacityLimits:
        """The limits in force."""
        return self._limits

    def admit(self, tokens: int, now: float) -> Admitted | Refused:
        """Admit a request that may use up to `tokens`, or refuse it."""
        limits = self._limits
        if limits.cap and self.in_flight >= limits.cap:
            return Refused(RefusalReason.CONCURRENCY, limits.retry_after_s)
        for bucket, amount, reason in (
            (self._requests, 1, RefusalReason.REQUESTS),
            (self._tokens, tokens, RefusalReason.TOKENS),
        ):
            wait = bucket.wait_s(amount, now) if bucket is not None else 0.0
            if wait > 0.0:
                return Refused(reason, wait if math.isfinite(wait) else None)
        if self._requests is not None:
            self._requests.take(1, now)
        if self._tokens is not None:
            self._tokens.take(tokens, now)
        if not self._room():
            self._waiting += 1
            return Admitted(starts=False)
        self._running += 1
        return Admitted(starts=True)

    def slow_down(self) -> float:
        """Return how many times as long work takes now as on an idle endpoint."""
        slots, contention = self._limits.slots, self._limits.contention
        factor = 1.0 + self._running / contention if contention else 1.0
        return factor * (1.0 + max(0, self._running - slots) / slots) if slots else factor

    def finish(self, reserved: int, used: int, now: float) -> int:
        """End a running request, correct its tokens, and return how many waiting ones start."""
        self._running -= 1
        if self._tokens is not None:
            self._tokens.take(used - reserved, now)
        return self._start_waiting()

    def change(self, limits: CapacityLimits, now: float) -> int:
        """Apply `limits` to requests from now on, and return how many waiting ones start.

        Admitted requests stay admitted. A rate that changes keeps the level of its bucket, up to the capacity
        of the new one.
        """
        self._requests = _bucket(self._requests, limits.requests_per_minute, limits.burst_s, now)
        self._tokens = _bucket(self._tokens, limits.tokens_per_minute, limits.burst_s, now)
        self._limits = limits
        return self._start_waiting()

    def rates(self, now: float) -> dict[str, RateLevel]:
        """Return the levels of the rates that are set, by ``requests`` and ``tokens``."""
        return {
            name: RateLevel(bucket.per_minute, max(0, math.floor(bucket.level(now))), bucket.full_in_s(now))
            for name, bucket in (("requests", self._requests), ("tokens", self._tokens))
            if bucket is not None
        }

    def check_invariants(self) -> None:
        """Raise `AssertionError` if the counts contradict each other."""
        if self._running < 0 or self._waiting < 0:
            raise AssertionError(f"a count is below zero: {self!r}")
        if self._waiting and self._room():
            raise AssertionError(f"a request waits although there is room: {self!r}")

    def _room(self) -> float:
        """Return how many more requests may run."""
        if self._limits.hold:
            return 0
        knee = self._limits.knee
        return max(0, knee - self._running) if knee else math.inf

    def _start_waiting(self) -> int:
        starting = int(min(self._waiting, self._room()))
        self._waiting -= starting
        self._running += starting
        return starting


def duration(seconds: float) -> str:
    """Return `seconds` as the x-ratelimit headers write them: ``20ms``, ``1.5s``, ``6m0s``."""
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:g}s"
    return f"{minutes}m{text}" if minutes else text


def _bucket(old: Bucket | None, per_minute: int, burst_s: float, now: float) -> Bucket | None:
    if not per_minute:
        return None
    bucket = Bucket(per_minute, burst_s, now)
    if old is not None:
        bucket.take(bucket.capacity - min(bucket.capacity, old.level(now)), now)
    return bucket
