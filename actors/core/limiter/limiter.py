"""Learns how many attempts may be in flight at one endpoint from how its attempts end.

An endpoint does not state its capacity, and its capacity moves. Three bounds are learned separately:
what it refuses (`limiter_bound`), what it slows down at without refusing (`limiter_pace`), and the rates per
minute it is paid for (`limiter_rates`).

Rule 1: an attempt starts only if every bound allows it. A limit on concurrency and a rate are never traded.
Rule 2: a failure that is not a refusal says nothing about capacity. It never cuts; the breaker handles it.
Rule 3: time and randomness are arguments. `tick` returns when time alone changes something.
"""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Mapping

from msgspec import Struct

from actors.core.errors import InvariantError
from actors.core.limiter.knee import Pace
from actors.core.limiter.rates import Rates
from actors.core.limiter.refusal_bound import LimitMode, RefusalBound
from actors.core.messages.attempts import RateHeaders, Refusal

_BACKLOG_S = 0.1  # about the round trip that a client saves by starting its next attempt itself
_WINDOW_S = 2.0  # an endpoint that asks for a wait this long counts requests in windows
_LONGEST_WINDOW_S = 60.0  # rates are per minute


class LimiterSettings(Struct, frozen=True):
    """What is configured of an endpoint. A rate of None is unknown; `start` is the first limit."""

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


class Permit(Struct, frozen=True):
    """The right to make one attempt. Exactly one of the `on_` methods that report an end returns it.

    `in_flight` counts the attempts at its start, this one included. `sample`: have its tokens streamed, and
    report them to `on_tokens`, the first as soon as they come; where that is not possible nothing is lost but
    speed.
    """

    id: int
    sent_at: float
    in_flight: int
    tokens: int
    epoch: int
    sample: bool


class Reason(enum.StrEnum):
    """The bound that holds an attempt back."""

    LIMIT = "limit"
    PAUSE = "pause"
    CANARY = "canary"  # after a cut, until an attempt is admitted
    RATE = "rate"


class Wait(Struct, frozen=True):
    """Not now. Ask again at `until`; where it is None, when an attempt has ended or `tick` says so."""

    until: float | None
    why: Reason


class LimiterStatistics(Struct, frozen=True):
    """A snapshot. `buckets` is what is left of each known rate; `slowdown`, what calls take over the best."""

    limit: int
    in_flight: int
    mode: LimitMode
    paused_until: float | None
    buckets: Mapping[str, float]
    last_cut_at: float | None
    last_cut_why: str | None
    succeeded: int
    refused: int
    failed: int
    slowdown: float


class AdaptiveLimiter:
    """The limiter of one endpoint. All times are seconds on one monotonic clock."""

    __slots__ = (
        "_bound",
        "_failed",
        "_last_cut",
        "_latency_s",
        "_most",
        "_next_id",
        "_now",
        "_open",
        "_pace",
        "_paused_until",
        "_rates",
        "_refused",
        "_succeeded",
        "_tokens",
    )

    def __init__(self, settings: LimiterSettings, *, now: float, rng: random.Random) -> None:
        self._most = settings.max_in_flight
        self._bound = RefusalBound(settings.start, settings.max_in_flight, now=now, rng=rng)
        self._pace = Pace(now)
        self._rates = Rates(settings.requests_per_minute, settings.tokens_per_minute, now)
        self._open: set[int] = set()
        self._next_id = 0
        self._now = now
        self._paused_until: float | None = None
        self._last_cut: tuple[float, str] | None = None
        self._succeeded = self._refused = self._failed = 0
        self._latency_s = 0.0
        self._tokens = 1  # of the last attempt sent

    @property
    def limit(self) -> int:
        """How many attempts may be in flight."""
        return int(self._bound.limit)

    @property
    def is_steady(self) -> bool:
        """Whether the limit is held, so that it does no harm if not all of it is used."""
        return self._bound.mode is LimitMode.STEADY

    @property
    def in_flight(self) -> int:
        """How many permits are out."""
        return len(self._open)

    @property
    def cuts(self) -> int:
        """How often refusals have cut the limit."""
        return self._bound.epoch

    @property
    def paused_until(self) -> float | None:
        """Until when nothing may start; it may lie in the past."""
        return self._paused_until

    # ---- starting

    def wants_stream(self, now: float) -> bool:
        """Tell whether an attempt handed over now should have its tokens streamed, whenever it starts."""
        return self._pace.meter.wants(now)

    def try_acquire(self, now: float, *, tokens: int, streams: bool = True) -> Permit | Wait:
        """Return a permit to start one attempt of about `tokens` tokens in all, or what to wait for.

        `streams`: its tokens can be streamed.
        """
        self._advance(now)
        if self._paused_until is not None and now < self._paused_until:
            return Wait(self._paused_until, Reason.PAUSE)
        in_flight = len(self._open)
        if in_flight >= int(self._bound.limit):
            return Wait(None, Reason.LIMIT)
        if not self._bound.may_send(in_flight):
            return Wait(self._bound.next_at(now, len(self._open)), Reason.CANARY)
        at = self._rates.next_at(now, tokens)
        if at > now:
            return Wait(at, Reason.RATE)
        return self.adopt(now, tokens=tokens, streams=streams)

    def adopt(self, now: float, *, tokens: int, streams: bool = True) -> Permit:
        """Return a permit for an attempt that a client started from its backlog, whatever the bounds say."""
        self._next_id += 1
        self._open.add(self._next_id)
        in_flight = len(self._open)
        self._tokens = tokens
        self._rates.charge(now, tokens)
        self._bound.sent(now)
        sample = self._pace.meter.on_sent(self._next_id, now, in_flight, streams=streams)
        return Permit(self._next_id, now, in_flight, tokens, self._bound.epoch, sample)

    def backlog(self, now: float) -> int:
        """Return how many attempts beyond the permits may wait at the clients, so that no slot is idle.

        About 100 ms worth of answers and at least a few, so that each client can have one; at most a quarter
        of the limit. None while something but the limit binds: what waits at a client goes out regardless.
        """
        if self._bound.mode is LimitMode.RECOVERY or (
            self._paused_until is not None and now < self._paused_until
        ):
            return 0
        if not self._latency_s or self._rates.next_at(now, self._tokens) > now:
            return 0
        answers = _BACKLOG_S * len(self._open) / self._latency_s  # Little's law
        return min(max(8, math.ceil(answers)), int(self._bound.limit) // 4)

    # ---- ends of attempts

    def on_tokens(self, permit: Permit, at: float, *, tokens: int) -> None:
        """Learn that by `at` an attempt had streamed `tokens` output tokens. Once in half a second will do.

        Anything else that grows with the tokens will do, too; for that, and for `at`, see `on_success`: it is
        the permit's time and what passed since the start, where that was measured elsewhere.
        """
        if self._pace.meter.on_tokens(permit.id, at, tokens):
            self._bound.began(permit.epoch, permit.in_flight)

    def on_success(
        self,
        permit: Permit,
        now: float,
        *,
        input_tokens: int,
        output_tokens: int,
        headers: RateHeaders | None = None,
        streamed: int = 0,
        took_s: float | None = None,
    ) -> None:
        """Learn that an attempt was answered, whether or not the answer fits.

        `streamed` is what `on_tokens` was told of it in all, where that was not a count of tokens. `took_s`
        is what the attempt took as measured where it was made. What passes between that and the permit, both
        ways, is our own: taken for the endpoint's, a busy machine of ours would look like an endpoint that
        slows down, and less would be sent to it.
        """
        self._end(permit)
        self._succeeded += 1
        held_s = now - permit.sent_at
        self._latency_s += (held_s - self._latency_s) / min(self._succeeded, 50)
        took_s = held_s if took_s is None else took_s
        self._rates.settle(permit.tokens, input_tokens + output_tokens)
        if headers is not None:
            self._rates.learn(now, headers)
        self._pace.meter.on_answer(permit.id, permit.sent_at + took_s, output_tokens, streamed, took_s)
        self._bound.answered(now, permit.epoch, permit.in_flight, took_s=took_s, in_flight=len(self._open))

    def on_refused(
        self,
        permit: Permit,
        now: float,
        *,
        retry_after: float | None = None,
        kind: Refusal = Refusal.UNKNOWN,
        headers: RateHeaders | None = None,
    ) -> None:
        """Learn that the endpoint refused an attempt; `retry_after` is its Retry-After in seconds.

        The retry of that call keeps to it. It holds for all calls only where it can mean nothing
        else: a rate that is used up for the window, or refusals one after the other.
        """
        self._end(permit)
        self._refused += 1
        self._rates.refund(permit.tokens)
        if headers is not None:
            self._rates.learn(now, headers)
        self._pace.meter.on_lost(permit.id)
        retry_after_s = max(0.0, retry_after or 0.0)
        epoch = self._bound.epoch
        pause_s = self._bound.refused(
            now,
            permit.epoch,
            permit.in_flight,
            took_s=now - permit.sent_at,
            in_flight=len(self._open),
            retry_after_s=retry_after_s,
        )
        if kind in (Refusal.REQUESTS, Refusal.TOKENS) and retry_after_s >= _WINDOW_S:
            pause_s = max(pause_s, min(retry_after_s, _LONGEST_WINDOW_S))
        if pause_s:
            self._paused_until = max(self._paused_until or now, now + pause_s)
        if self._bound.epoch != epoch:
            self._last_cut = (now, kind.value)
            self._pace.reset(now)

    def on_rejected(self, permit: Permit, now: float, *, headers: RateHeaders | None = None) -> None:
        """Learn that an attempt was rejected for its content, before the model did any work.

        It counts as a request and says nothing about capacity. Counted as an answer, a quick error would be
        the best delay ever measured, and every answer would seem slow.
        """
        self._end(permit)
        self._rates.settle(permit.tokens, 0)
        if headers is not None:
            self._rates.learn(now, headers)
        self._pace.meter.on_lost(permit.id)
        self._bound.lost(now, permit.epoch)

    def on_failure(self, permit: Permit, now: float) -> None:
        """Learn that an attempt timed out, was reset, or met a server's error; it may have been billed."""
        self._end(permit)
        self._failed += 1
        self._pace.meter.on_lost(permit.id)
        self._bound.lost(now, permit.epoch)

    def on_cancelled(self, permit: Permit, now: float) -> None:
        """Take back a permit that was not used, or not to its end. Its tokens are refunded."""
        self._end(permit)
        self._rates.refund(permit.tokens)
        self._pace.meter.on_lost(permit.id)
        self._bound.lost(now, permit.epoch)

    # ---- time

    def tick(self, now: float) -> float | None:
        """Let time pass. Return when to call next, None if only a start or an end changes anything."""
        self._advance(now)
        if not self._open:
            return None
        if self._paused_until is not None and now < self._paused_until:
            return self._paused_until
        return self._bound.next_at(now, len(self._open))

    def statistics(self) -> LimiterStatistics:
        """Return a snapshot as of the last call that passed a time."""
        at, why = self._last_cut or (None, None)
        return LimiterStatistics(
            limit=int(self._bound.limit),
            in_flight=len(self._open),
            mode=self._bound.mode,
            paused_until=self._paused_until,
            buckets=self._rates.available(self._now),
            last_cut_at=at,
            last_cut_why=why,
            succeeded=self._succeeded,
            refused=self._refused,
            failed=self._failed,
            slowdown=self._pace.slowdown,
        )

    def check_invariants(self) -> None:
        """Raise `InvariantError` if a rule that must always hold does not."""
        self._bound.check_invariants()
        self._rates.check_invariants()
        self._pace.meter.check_invariants(self._open)

    def __repr__(self) -> str:
        return f"<AdaptiveLimiter {self._bound.mode} {len(self._open)}/{int(self._bound.limit)}>"

    # ---- inside

    def _end(self, permit: Permit) -> None:
        if permit.id not in self._open:
            # Counting it twice would let one more attempt fly for ever.
            raise InvariantError(f"permit {permit.id} was given back already")
        self._open.remove(permit.id)

    def _advance(self, now: float) -> None:
        self._now = now
        if self._paused_until is not None and now < self._paused_until:
            return
        bound, pace = self._bound, self._pace
        if bound.mode is LimitMode.RAMP or bound.mode is LimitMode.STEADY:
            # Where the endpoint refuses, only a trial of a lower level is worth its cost.
            most = bound.limit if bound.is_refusing(now) else float(self._most)
            may_try = bound.mode is LimitMode.STEADY
            limit = pace.advise(now, bound.limit, len(self._open), most=most, may_try=may_try)
            if limit != bound.limit or (bound.is_opening() and pace.is_surely_too_slow):
                bound.move(limit)
        may_probe = not pace.is_busy and bound.is_refusing(now)
        bound.advance(now, len(self._open), may_probe=may_probe, may_open=not pace.is_too_slow)
