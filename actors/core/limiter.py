"""How many attempts may be in flight at one endpoint, learned from what becomes of them.

Rule 1: an attempt starts only if every bound allows it: the limit, the known rates, and no pause.
Rule 2: time and randomness are arguments; `tick` says when time alone will change something.
Rule 3: a refusal is information about the moment its attempt was sent, not about the moment it came back.
"""

from __future__ import annotations

import enum
import math
import random
from dataclasses import dataclass

from actors.core.errors import InvariantError
from actors.core.limiter_pace import Pace
from actors.core.messages import RateHeaders, Refusal

_UNMEASURED = 64  # the ramp may go this far before any answer has come
_LEAD = 1.6  # then the limit may be this many times what an answered attempt has seen in flight
_RAMP_S = 1.4  # the ramp doubles the limit in this time, sooner where answers are quick
_LONGEST_PAUSE_S = 60.0
import os

MARGIN = 0.995
DIS = float(os.environ.get("DIS", ".1"))
IMAX = float(os.environ.get("IMAX", "16"))
_WASTE = float(os.environ.get("WASTE", "0.02"))  # of the attempts, probing may have refused


class Mode(enum.StrEnum):
    """What the limiter is doing about the limit."""

    RAMP = "ramp"  # growing fast, towards a level that it knows or the maximum
    STEADY = "steady"  # a bound was met: a small probe now and then


@dataclass(frozen=True, slots=True)
class LimiterSettings:
    """What is known of an endpoint beforehand. Rates are per minute, None where nobody told."""

    max_in_flight: int
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    start: int = 16

    def __post_init__(self) -> None:
        if self.max_in_flight < 1 or self.start < 1:
            raise ValueError("max_in_flight and start must be at least 1")
        for rate in (self.requests_per_minute, self.tokens_per_minute):
            if rate is not None and not 0 < rate < math.inf:
                raise ValueError("a rate must be positive and finite, or None")


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to one attempt. Given back by exactly one of the `on_*` methods that end it."""

    id: int
    sent_at: float
    in_flight: int
    tokens: int
    epoch: int
    sample: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now. Ask again at `until`, or where it is None, when an attempt has ended; `why` names the bound."""

    until: float | None
    why: str


@dataclass(frozen=True, slots=True)
class LimiterStatistics:
    """A snapshot. `buckets` is what is left of each known rate now."""

    limit: int
    in_flight: int
    mode: Mode
    paused_until: float | None
    buckets: dict[str, float]
    last_cut_at: float | None
    last_cut_why: str | None
    succeeded: int
    refused: int
    failed: int


class AdaptiveLimiter:
    """The limit of one endpoint. See the module's rules."""

    def __init__(self, settings: LimiterSettings, *, now: float, rng: random.Random) -> None:
        self.settings = settings
        self._rng = rng
        self._limit = float(min(settings.start, settings.max_in_flight))
        self._in_flight: set[int] = set()
        self._next_id = 0
        self._mode = Mode.RAMP
        self._target = float(settings.max_in_flight)
        self._carried = 0
        self._fastest = 0.7
        self._grown_at = now
        self._paused_until = now
        self._last_cut: tuple[float, str] | None = None
        self._succeeded = self._refused = self._failed = 0
        self._pace = Pace(now)
        self._refused_at = -math.inf
        # doubt: after a cut
        self._epoch = 0
        self._doubt = False
        self._unconfirmed = 0
        self._trial_at = now
        self._streak = 0
        self._quiet = 0.25
        # probes
        self._credit = 1.0
        self._step = 1.0
        self._interval = 1.0
        self._probe_at = now
        self._probing = False
        self._filled_at: float | None = None
        self._base = self._goal = self._limit
        self._agreed = self._limit

    # ---- admission

    def try_acquire(self, now: float, *, tokens: int) -> Permit | Wait:
        """Return a permit to start one attempt of about `tokens` tokens, or what to wait for."""
        self._advance(now)
        if now < self._paused_until:
            return Wait(self._paused_until, "pause")
        if len(self._in_flight) >= int(self._limit):
            return Wait(None, "limit")
        if self._doubt and self._unconfirmed >= max(1, int(self._limit * 0.02)):
            return Wait(self._trial_at + self._quiet, "trial")
        return self.adopt(now, tokens=tokens)

    def adopt(self, now: float, *, tokens: int) -> Permit:
        """Return a permit for an attempt that was started already, whatever the bounds say."""
        self._next_id += 1
        self._in_flight.add(self._next_id)
        if self._doubt:
            if not self._unconfirmed:
                self._trial_at = now
            self._unconfirmed += 1
        sample = self._pace.meter.on_sent(self._next_id, now, len(self._in_flight))
        return Permit(self._next_id, now, len(self._in_flight), tokens, self._epoch, sample)

    def _release(self, permit: Permit) -> None:
        if permit.id not in self._in_flight:
            raise InvariantError(f"permit {permit.id} is not in flight")
        self._in_flight.remove(permit.id)

    # ---- what becomes of an attempt

    def on_success(
        self,
        permit: Permit,
        now: float,
        *,
        input_tokens: int,
        output_tokens: int,
        headers: RateHeaders | None = None,
    ) -> None:
        """The attempt was answered."""
        self._release(permit)
        self._succeeded += 1
        self._pace.meter.on_answer(permit.id, now, output_tokens)
        self._credit = min(10.0, self._credit + _WASTE)
        self._fastest = min(self._fastest, now - permit.sent_at)
        if permit.epoch == self._epoch:
            self._carried = max(self._carried, permit.in_flight)
            if self._doubt:
                self._confirm(now)
        self._advance(now)

    def on_refused(
        self,
        permit: Permit,
        now: float,
        *,
        retry_after: float | None = None,
        kind: Refusal = Refusal.UNKNOWN,
        headers: RateHeaders | None = None,
    ) -> None:
        """The endpoint turned the attempt away."""
        self._release(permit)
        self._refused += 1
        self._pace.meter.on_lost(permit.id)
        self._credit = max(-1.0, self._credit - 1.0)
        if kind in (Refusal.REQUESTS, Refusal.TOKENS):
            self._paused_until = max(self._paused_until, now + min(retry_after or 1.0, 60.0))
            return
        self._refused_at = now
        self._quiet = min(1.0, max(0.2, 4 * (now - permit.sent_at)))
        if permit.epoch == self._epoch:
            self._cut(permit, now, retry_after, kind)

    def _cut(self, permit: Permit, now: float, retry_after: float | None, kind: Refusal) -> None:
        self._epoch += 1
        self._streak = self._streak + 1 if self._doubt else 1
        known = min(permit.in_flight - 1.0, float(len(self._in_flight)))
        margin = MARGIN
        level = (
            max(known * margin, self._base)
            if self._probing
            else known
            if self._mode is Mode.RAMP
            else known * margin
        )
        self._limit = max(1.0, min(self._limit, level, known))
        self._mode = Mode.STEADY
        self._doubt, self._unconfirmed = True, 0
        self._carried = 0
        self._step = 1.0
        self._probing = False
        if self._streak >= 2:
            pause = min(self._quiet * 2 ** (self._streak - 1), 2.0, max(retry_after or 0.25, 0.25))
            self._paused_until = max(self._paused_until, now + pause)
        self._last_cut = (now, str(kind))
        self._pace.reset(now)

    def _confirm(self, now: float) -> None:
        if abs(self._limit - self._agreed) > DIS * self._agreed:
            self._interval = 1.0
        else:
            self._interval = min(IMAX, 2 * self._interval)
        self._agreed = self._limit
        self._probe_at = now + self._interval * self._rng.uniform(0.5, 1.0)
        if self._streak >= 2:
            self._target = self._limit
            self._limit = max(1.0, min(self._limit, len(self._in_flight) + 1.0))
            self._mode = Mode.RAMP
            self._grown_at = now
        self._doubt, self._streak = False, 0

    def on_failure(self, permit: Permit, now: float) -> None:
        """The attempt timed out, was reset, or met an error of the server: no word about capacity."""
        self._release(permit)
        self._failed += 1
        self._pace.meter.on_lost(permit.id)
        self._forget(permit, now)

    def on_cancelled(self, permit: Permit, now: float) -> None:
        """The attempt was given up by this side: frees the permit and teaches nothing."""
        self._release(permit)
        self._pace.meter.on_lost(permit.id)
        self._forget(permit, now)

    def _forget(self, permit: Permit, now: float) -> None:
        if self._doubt and permit.epoch == self._epoch:
            self._unconfirmed -= 1
            self._trial_at = now

    def on_tokens(self, permit: Permit, now: float, *, tokens: int) -> None:
        """The attempt has streamed `tokens` output tokens so far."""
        if self._pace.meter.on_tokens(permit.id, now, tokens) and permit.epoch == self._epoch:
            self._carried = max(self._carried, permit.in_flight)

    def backlog(self, now: float) -> int:
        """Return how many attempts beyond the permits may wait at the clients."""
        if self._doubt or now < self._paused_until:
            return 0
        return int(self._limit / 8)

    # ---- time

    def tick(self, now: float) -> float | None:
        """Let time pass. Return when to be called next, None if only an attempt's end changes anything."""
        self._advance(now)
        if not self._in_flight:
            return None
        if now < self._paused_until:
            return self._paused_until
        if self._doubt:
            return self._trial_at + self._quiet if self._unconfirmed else None
        if self._mode is Mode.RAMP:
            return now + 0.02
        if self._probing:
            if self._limit < self._goal:
                return now + 0.02
            return None if self._filled_at is None else self._filled_at + self._quiet
        return max(now + 0.02, self._probe_at)

    def _is_saturated(self) -> bool:
        return len(self._in_flight) >= max(1.0, 0.9 * (int(self._limit) - 1))

    def _advance(self, now: float) -> None:
        if now < self._paused_until:
            self._grown_at = now
            return
        if self._doubt:
            if not self._unconfirmed or now < self._trial_at + self._quiet:
                return
            self._confirm(now)
        is_refusing = now - self._refused_at < 60
        limit = self._pace.advise(
            now,
            self._limit,
            len(self._in_flight),
            most=self._limit if is_refusing else float(self.settings.max_in_flight),
            may_try=self._mode is Mode.STEADY and not self._probing,
        )
        self._limit = limit
        if self._mode is Mode.RAMP:
            self._ramp(now)
        elif not self._pace.is_busy and is_refusing:
            self._probe(now)

    def _ramp(self, now: float) -> None:
        dt = now - self._grown_at
        if dt < 0.01:
            return
        self._grown_at = now
        if not self._is_saturated():
            return
        doubling = max(0.1, min(_RAMP_S, 2 * self._fastest))
        most = min(self._target, max(_UNMEASURED, _LEAD * self._carried))
        if self._limit < most:
            self._limit = min(most, self._limit * 2.0 ** (min(dt, 0.1) / doubling))
        if self._limit >= self._target or self._pace.slowdown > 1.5:
            self._mode = Mode.STEADY
            self._target = float(self.settings.max_in_flight)

    def _probe(self, now: float) -> None:
        if self._probing:
            if self._limit < self._goal:
                dt = min(now - self._grown_at, 0.1)
                if len(self._in_flight) >= int(self._limit) - 1:
                    self._limit = min(self._goal, self._limit + max(self._step, 1) * dt / self._quiet)
                self._grown_at = now
                self._filled_at = None
            elif self._filled_at is None:
                if len(self._in_flight) >= int(self._limit):
                    self._filled_at = now
            elif now >= self._filled_at + self._quiet:
                self._probing = False
                self._step = min(3 * self._step, max(1.0, self._limit / 4))
                self._probe_at = now
        elif (
            now >= self._probe_at
            and self._credit >= 1
            and self._is_saturated()
            and self._limit < self.settings.max_in_flight
        ):
            self._base = self._limit
            self._goal = min(float(self.settings.max_in_flight), self._limit + self._step)
            self._limit = min(self._goal, self._limit + 1)
            self._grown_at = now
            self._probing, self._filled_at = True, None

    def statistics(self) -> LimiterStatistics:
        """Return a snapshot for people, metrics and tests."""
        at, why = self._last_cut or (None, None)
        return LimiterStatistics(
            int(self._limit),
            len(self._in_flight),
            self._mode,
            self._paused_until,
            {},
            at,
            why,
            self._succeeded,
            self._refused,
            self._failed,
        )

    def check_invariants(self) -> None:
        """Raise `InvariantError` if a rule that must always hold does not."""
        if not 1 <= self._limit <= self.settings.max_in_flight:
            raise InvariantError(f"limit {self._limit} is outside 1..{self.settings.max_in_flight}")
