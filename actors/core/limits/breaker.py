"""A circuit breaker: it stops calls to a peer that keeps failing and detects its recovery.

Rule 1: `_TRANSITIONS` defines all changes of state. Any other event raises and changes nothing.
Rule 2: calls sent before the last change of state say nothing about the present state. A thousand calls may
be in flight when the breaker opens, and their late results must neither close nor reopen it. Each permit
therefore carries the generation in which it was issued.
Rule 3: after the breaker has opened, one call at a time, the canary, tests the peer. A canary without a
result in time makes room for the next one. An answer to a canary closes the breaker whenever it arrives.

Rule 4: the calls in flight bound the failures before the breaker opens. A peer that resets each connection at
once would otherwise fail thousands of calls within the shortest streak, while answers to earlier calls still
arrive.

Source: Nygard, "Release It!", 2nd edition, chapter 5.
"""

from __future__ import annotations

import enum
import math

from msgspec import Struct

from actors.core.errors import InvalidTransitionError, InvariantError
from actors.core.limits.rolling_count import RollingCount

# More failures than calls in flight. If all calls in flight fail at once, a restart of the peer may be the
# cause. If 40 % of the calls fail at once and the answers to the others are slow, two thirds of the calls in
# flight have a failed predecessor.
_LEAST_BURST = 24


class BreakerState(enum.StrEnum):
    """The state of a breaker."""

    CLOSED = "closed"  # calls are allowed
    OPEN = "open"  # calls are not allowed
    HALF_OPEN = "half_open"  # only the canary is in flight


class _BreakerEvent(enum.StrEnum):
    TRIPPED = "tripped"  # too many failures
    PROBED = "probed"  # the canary is sent
    RECOVERED = "recovered"  # the canary succeeded
    FAILED = "failed"  # the canary failed, or had no result in time
    RETURNED = "returned"  # the canary ended without a result that concerns the peer


_TRANSITIONS = {
    (BreakerState.CLOSED, _BreakerEvent.TRIPPED): BreakerState.OPEN,
    (BreakerState.OPEN, _BreakerEvent.PROBED): BreakerState.HALF_OPEN,
    (BreakerState.OPEN, _BreakerEvent.RECOVERED): BreakerState.CLOSED,  # by a late canary
    (BreakerState.HALF_OPEN, _BreakerEvent.RECOVERED): BreakerState.CLOSED,
    (BreakerState.HALF_OPEN, _BreakerEvent.FAILED): BreakerState.OPEN,
    (BreakerState.HALF_OPEN, _BreakerEvent.RETURNED): BreakerState.OPEN,
}


class BreakerSettings(Struct, frozen=True):
    """Defines when a breaker opens, and for how long.

    It opens after `failures` failures in a row that last at least `streak_s` seconds. It opens when the share
    of successes among at least `results` results of the last `window_s` seconds is below `success_rate`. And
    it opens after a burst: 24 failures and one per call in flight, while no call that was sent after the
    first one succeeds. It stays open for `open_s` seconds, doubled after each failed canary up to
    `longest_open_s`. A canary without a result for `canary_s` seconds has failed. Raises ValueError for
    values out of range.
    """

    failures: int = 5
    streak_s: float = 0.25
    success_rate: float = 0.5
    results: int = 10
    window_s: float = 10.0
    open_s: float = 1.0
    longest_open_s: float = 30.0
    canary_s: float = 10.0

    def __post_init__(self) -> None:
        if self.failures < 1 or self.results < 1 or not 0 <= self.success_rate <= 1:
            raise ValueError("breaker: failures and results are at least 1, success_rate is within [0, 1]")
        if not 0 < self.open_s <= self.longest_open_s < math.inf:
            raise ValueError("breaker: 0 < open_s <= longest_open_s is needed")
        if not (0 <= self.streak_s < math.inf and 0 < self.canary_s < math.inf):
            raise ValueError("breaker: streak_s and canary_s are finite, and canary_s is positive")


class BreakerPermit(Struct, frozen=True):
    """Permission for one call. Return it with exactly one of the breaker's ``on_`` methods.

    `number` counts the permits of a breaker. It is 0 for a call that is not a new one.
    """

    generation: int
    canary: bool
    number: int = 0


class BreakerStatistics(Struct, frozen=True):
    """A snapshot. `successes` and `failures` are those of the window; `opened` counts from the start."""

    state: BreakerState
    in_flight: int
    streak: int
    successes: int
    failures: int
    opened: int
    retry_at: float | None


class CircuitBreaker:
    """The breaker of one source or one endpoint. Times are in seconds on a monotonic clock.

    A refusal (429, "overloaded") shows that the peer works: report it with `on_cancelled`. The `on_` methods
    raise InvalidTransitionError, and change nothing, for a permit that was not issued or was returned before.
    """

    __slots__ = (
        "_bad",
        "_burst",
        "_burst_after",
        "_burst_out",
        "_deadline",
        "_generation",
        "_good",
        "_late",
        "_number",
        "_open_for_s",
        "_opened",
        "_out",
        "_settings",
        "_state",
        "_streak",
        "_streak_since",
    )

    def __init__(self, settings: BreakerSettings, now: float) -> None:
        self._settings = settings
        self._state = BreakerState.CLOSED
        self._generation = 1
        self._number = 0  # permits issued
        self._out = 0  # unreturned permits of this generation
        self._late = 0  # unreturned permits of earlier generations
        self._good = RollingCount(settings.window_s)
        self._bad = RollingCount(settings.window_s)
        self._streak = 0
        self._streak_since = now
        self._burst = 0  # failures; no call sent after the first of them has succeeded
        self._burst_after = 0  # the number of the last permit at the first of them
        self._burst_out = 0  # the most permits out since then
        self._opened = 0
        self._open_for_s = settings.open_s
        self._deadline = now  # open: when to send a canary; half open: when the canary counts as failed

    @property
    def state(self) -> BreakerState:
        """The state after the last event."""
        return self._state

    @property
    def opened(self) -> int:
        """How often the breaker has opened."""
        return self._opened

    def allow(self, now: float) -> BreakerPermit | None:
        """Return a permit for one call, or None if no call is allowed now."""
        if self._state is BreakerState.HALF_OPEN and now >= self._deadline:
            self._reopen(now, _BreakerEvent.FAILED)
        is_canary = self._state is BreakerState.OPEN and now >= self._deadline
        if is_canary:
            self._enter(_BreakerEvent.PROBED)
            self._deadline = now + self._settings.canary_s
        elif self._state is not BreakerState.CLOSED:
            return None
        self._out += 1
        self._burst_out = max(self._burst_out, self._out)
        self._number += 1
        return BreakerPermit(self._generation, is_canary, self._number)

    def adopt(self) -> BreakerPermit:
        """Return a permit for a call that is already in flight, in any state.

        The call is not a canary. Its result counts only if the breaker is closed now.
        """
        if self._state is BreakerState.CLOSED:
            self._out += 1
            return BreakerPermit(self._generation, canary=False)
        self._late += 1
        return BreakerPermit(self._generation - 1, canary=False)

    def retry_at(self, now: float) -> float | None:
        """Return the earliest time at which `allow` may return a permit, None if it may do so now."""
        if self._state is BreakerState.CLOSED or now >= self._deadline:
            return None
        return self._deadline

    def on_success(self, permit: BreakerPermit, now: float) -> None:
        """Record that the call was answered."""
        current = self._take_back(permit, "success")
        # Otherwise the breaker would never close for a peer that answers more slowly than `canary_s`.
        if permit.canary and self._state is not BreakerState.CLOSED:
            self._enter(_BreakerEvent.RECOVERED)
            self._open_for_s = self._settings.open_s
            self._good.clear()
            self._bad.clear()
        elif not current:
            return
        self._good.add(now)
        self._streak = 0
        if permit.number > self._burst_after:
            self._burst = 0

    def on_failure(self, permit: BreakerPermit, now: float) -> None:
        """Record that the call failed because of the peer, or had no result."""
        if not self._take_back(permit, "failure"):
            return
        if self._state is BreakerState.HALF_OPEN:
            self._reopen(now, _BreakerEvent.FAILED)
            return
        self._bad.add(now)
        if self._streak == 0:
            self._streak_since = now
        self._streak += 1
        if self._burst == 0:
            self._burst_after, self._burst_out = self._number, self._out + 1
        self._burst += 1
        if self._is_down(now):
            self._reopen(now, _BreakerEvent.TRIPPED)

    def on_cancelled(self, permit: BreakerPermit, now: float) -> None:
        """Record that the call's end says nothing about the peer. Another canary may be sent at once."""
        if self._take_back(permit, "cancelled") and self._state is BreakerState.HALF_OPEN:
            self._enter(_BreakerEvent.RETURNED)
            self._deadline = now

    def statistics(self, now: float) -> BreakerStatistics:
        """Return a snapshot."""
        return BreakerStatistics(
            self._state,
            self._out + self._late,
            self._streak,
            self._good.total(now),
            self._bad.total(now),
            self._opened,
            self.retry_at(now),
        )

    def check_invariants(self) -> None:
        """Raise InvariantError if the breaker's state is impossible."""
        possible = {
            BreakerState.CLOSED: self._out >= 0,
            BreakerState.OPEN: self._out == 0,
            BreakerState.HALF_OPEN: self._out == 1,
        }
        if not possible[self._state] or self._late < 0:
            raise InvariantError(f"breaker: {self._out} + {self._late} permits out when {self._state}")
        if not self._settings.open_s <= self._open_for_s <= self._settings.longest_open_s:
            raise InvariantError(f"breaker: open for {self._open_for_s} s")

    def _take_back(self, permit: BreakerPermit, event: str) -> bool:
        """Count `permit` as returned, and return whether its result counts."""
        current = permit.generation == self._generation
        if (self._out if current else self._late) == 0 or permit.generation > self._generation:
            raise InvalidTransitionError(
                "circuit breaker", self._state, f"{event} of a permit that is not out"
            )
        if current:
            self._out -= 1
        else:
            self._late -= 1
        return current

    def _is_down(self, now: float) -> bool:
        good, bad = self._good.total(now), self._bad.total(now)
        mostly_bad = good < self._settings.success_rate * (good + bad)
        if mostly_bad and good + bad >= self._settings.results:
            return True
        if self._burst >= _LEAST_BURST + self._burst_out:
            return True
        # If 30 % of 1,000 calls/s fail, five failures in a row occur by chance twice a second. So a streak
        # counts only if no call succeeded for a while, or if most calls fail anyway.
        lasting = now - self._streak_since >= self._settings.streak_s
        return self._streak >= self._settings.failures and (lasting or mostly_bad)

    def _reopen(self, now: float, event: _BreakerEvent) -> None:
        if event is _BreakerEvent.FAILED:
            self._open_for_s = min(2 * self._open_for_s, self._settings.longest_open_s)
        self._enter(event)
        self._opened += 1
        self._deadline = now + self._open_for_s

    def _enter(self, event: _BreakerEvent) -> None:
        """Change the state and begin a new generation. All unreturned permits become late."""
        state = _TRANSITIONS.get((self._state, event))
        if state is None:
            raise InvalidTransitionError("circuit breaker", self._state, event)
        self._state = state
        self._late += self._out
        self._out = 0
        self._generation += 1

    def __repr__(self) -> str:
        return (
            f"<CircuitBreaker {self._state}, {self._out + self._late} in flight, opened {self._opened} times>"
        )
