"""How much an endpoint can take at once and a minute: slots, queue, rates. Pure; ``now`` is in seconds.

Independent bounds, each off at 0:

* ``slots``: beyond it everything gets slower, as where requests share a processor that is fully used;
* ``contention``: everything gets slower with every request that runs, as under continuous batching, where a
  step's time grows with the requests that share it: twice as slow at so many in flight;
* ``knee``: beyond it requests wait, first in, first out;
* ``cap``: beyond it requests are refused at once;
* ``hold``: while it is set, whoever is let in waits, and a test can look at what is in flight;
* requests and tokens a minute: token buckets. Tokens are reserved at admission by the estimate that real
  endpoints use (prompt + max_tokens), and settled with the truth at the end.

Rule 1: a refused request takes nothing, neither a slot nor a part of a rate.
Rule 2: whoever was admitted gives back exactly once, by `Capacity.finish`.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, fields


class Reason(enum.StrEnum):
    """Why a request was refused; also the ``type`` of the error that says so."""

    CONCURRENCY = "concurrency"
    REQUESTS = "requests"
    TOKENS = "tokens"


@dataclass(frozen=True, slots=True)
class Limits:
    """What an endpoint is able to take; 0 means no such bound.

    `burst_s` sizes the buckets: how many seconds of a rate may be taken at once. `retry_after_s` is what a
    request beyond `cap` is told.
    """

    slots: int = 0
    contention: int = 0
    knee: int = 0
    cap: int = 0
    hold: int = 0
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    retry_after_s: float = 1.0
    burst_s: float = 60.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{item.name} must be a number from 0 up, not {value}")


@dataclass(frozen=True, slots=True)
class Admitted:
    """The request is in. `starts` is False where it first has to wait for its turn."""

    starts: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """The request is out. `retry_after_s` is None where no wait would help."""

    reason: Reason
    retry_after_s: float | None


class Bucket:
    """A token bucket: fills at `per_minute` up to `burst_s` seconds' worth, and begins full."""

    def __init__(self, per_minute: int, burst_s: float, now: float) -> None:
        self.per_minute = per_minute
        self.capacity = max(1.0, per_minute * burst_s / 60.0)
        self._rate = per_minute / 60.0
        self._level = self.capacity
        self._updated = now

    def level(self, now: float) -> float:
        """Return what may be taken now; negative after more was used than had been reserved."""
        elapsed = max(0.0, now - self._updated)
        self._level = min(self.capacity, self._level + elapsed * self._rate)
        self._updated = max(self._updated, now)
        return self._level

    def wait_s(self, amount: float, now: float) -> float:
        """Return the seconds until `amount` can be taken: 0 for at once, infinity for never."""
        if amount > self.capacity:
            return math.inf
        return max(0.0, amount - self.level(now)) / self._rate

    def take(self, amount: float, now: float) -> None:
        """Take `amount`, which may be negative (giving back) or more than there is (a debt)."""
        self._level = min(self.capacity, self.level(now) - amount)

    def full_in_s(self, now: float) -> float:
        """Return the seconds until the bucket is full again."""
        return (self.capacity - self.level(now)) / self._rate


class Capacity:
    """Counts what runs and what waits, and says yes or no to what comes."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._running = 0
        self._waiting = 0
        self._requests = _bucket(None, limits.requests_per_minute, limits.burst_s, now)
        self._tokens = _bucket(None, limits.tokens_per_minute, limits.burst_s, now)

    def __repr__(self) -> str:
        return f"<Capacity {self._running} running, {self._waiting} waiting>"

    @property
    def in_flight(self) -> int:
        """How many were admitted and have not finished, waiting ones included."""
        return self._running + self._waiting

    @property
    def limits(self) -> Limits:
        """The bounds in force."""
        return self._limits

    def admit(self, tokens: int, now: float) -> Admitted | Refused:
        """Let a request in that may use up to `tokens`, or say why not."""
        limits = self._limits
        if limits.cap and self.in_flight >= limits.cap:
            return Refused(Reason.CONCURRENCY, limits.retry_after_s)
        for bucket, amount, reason in (
            (self._requests, 1, Reason.REQUESTS),
            (self._tokens, tokens, Reason.TOKENS),
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
        """Return by what factor work takes longer now than on an idle endpoint."""
        slots, contention = self._limits.slots, self._limits.contention
        factor = 1.0 + self._running / contention if contention else 1.0
        return factor * (1.0 + max(0, self._running - slots) / slots) if slots else factor

    def finish(self, reserved: int, used: int, now: float) -> int:
        """End one that was running, settle its tokens, and return how many waiting ones start instead."""
        self._running -= 1
        if self._tokens is not None:
            self._tokens.take(used - reserved, now)
        return self._start_waiting()

    def change(self, limits: Limits, now: float) -> int:
        """Put `limits` in force for what comes, and return how many waiting ones start because of it.

        What was admitted stays admitted, even beyond a smaller cap. A rate that changes keeps its bucket's
        level, as far as the new bucket holds it.
        """
        self._requests = _bucket(self._requests, limits.requests_per_minute, limits.burst_s, now)
        self._tokens = _bucket(self._tokens, limits.tokens_per_minute, limits.burst_s, now)
        self._limits = limits
        return self._start_waiting()

    def rate_headers(self, now: float) -> dict[str, str]:
        """Return the x-ratelimit headers of an answer given now; empty where no rate is set."""
        headers: dict[str, str] = {}
        for name, bucket in (("requests", self._requests), ("tokens", self._tokens)):
            if bucket is not None:
                headers[f"x-ratelimit-limit-{name}"] = str(bucket.per_minute)
                headers[f"x-ratelimit-remaining-{name}"] = str(max(0, math.floor(bucket.level(now))))
                headers[f"x-ratelimit-reset-{name}"] = duration(bucket.full_in_s(now))
        return headers

    def check_invariants(self) -> None:
        """Raise `AssertionError` where the counts contradict each other."""
        if self._running < 0 or self._waiting < 0:
            raise AssertionError(f"a count is below zero: {self!r}")
        if self._waiting and self._room():
            raise AssertionError(f"one waits though there is room: {self!r}")

    def _room(self) -> float:
        """Return how many more may run."""
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
    """Return `seconds` the way such headers write it: ``20ms``, ``1.5s``, ``6m0s``."""
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
