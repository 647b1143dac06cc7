"""Whether to try again, and when.

Rule 1: every bound is finite: tries, the share of work that may be repeated, the wait.
Rule 2: a refusal cost the endpoint nothing and says only "not now". It uses up no try and leaves the retry
budget alone; otherwise an outage, or a limiter that is finding its limit, would fail calls.
Rule 3: waits are spread by full jitter. Calls that failed together must not come back together.
Rule 4: nobody is asked again before the time it named.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import enum
import math
import random
import re

from msgspec import Struct

from actors.core.errors import Failure, FailureKind, InvariantError
from actors.core.limits.rolling_count import RollingCount

LONGEST_RETRY_AFTER_S = 3600.0  # what asks for more is broken, or will not answer within any deadline here

_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)
_LONGEST_HEADER = 64  # a date takes 29 characters; what is longer is not worth parsing


class RetrySettings(Struct, frozen=True):
    """How patient to be.

    attempts: tries of one call in all, the first included. base_s, cap_s: the wait before the nth retry is
    up to ``min(cap_s, base_s * 2 ** (n - 1))`` seconds. budget: retries allowed per first attempt over the
    last ten seconds, above one retry a second that is always allowed. Raises ValueError for values out of
    range.
    """

    attempts: int = 6
    base_s: float = 0.5
    cap_s: float = 30.0
    budget: float = 0.2

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError("retry: attempts must be at least 1")
        if not (0 < self.base_s <= self.cap_s < math.inf and 0 <= self.budget < math.inf):
            raise ValueError("retry: 0 < base_s <= cap_s and budget >= 0 are needed")


class Retry(Struct, frozen=True):
    """Try again in `after_s` seconds. `note` tells where the other side's wish was not taken literally."""

    after_s: float
    note: str | None = None


class GiveUpReason(enum.StrEnum):
    """Why a call is not tried again."""

    FINAL = "final"  # a failure of this kind does not pass
    ATTEMPTS = "attempts"  # tried as often as allowed
    BUDGET = "retry_budget"  # too much of the recent work was retries already: an outage, not bad luck


class GiveUp(Struct, frozen=True):
    """Do not try again."""

    reason: GiveUpReason


class RetryBudgetStatistics(Struct, frozen=True):
    """A retry budget at one moment. Counts cover the budget's window; `denied` counts from the start."""

    first_attempts: int
    retries: int
    available: float
    denied: int


class RetryBudget:
    """Retries may be `ratio` of the first attempts of the last `ttl_s` seconds, and `min_per_s` besides.

    When an endpoint fails altogether, every call wants its retries and would multiply the load by
    ``attempts``; this bounds the factor by ``1 + ratio``. After the retry budget of Twitter's Finagle (its
    users' guide, "Retry Budget"), with exact counts. Deposits and withdrawals both age out of the window.
    """

    __slots__ = ("_denied", "_first", "_floor", "_ratio", "_retries")

    def __init__(self, ratio: float, min_per_s: float = 1.0, ttl_s: float = 10.0) -> None:
        if not (0 <= ratio < math.inf and 0 <= min_per_s < math.inf):
            raise ValueError(f"a retry budget needs finite shares, not {ratio} and {min_per_s}")
        self._ratio = ratio
        self._floor = min_per_s * ttl_s
        self._first = RollingCount(ttl_s)
        self._retries = RollingCount(ttl_s)
        self._denied = 0

    def deposit(self, now: float) -> None:
        """Count a first attempt."""
        self._first.add(now)

    def try_withdraw(self, now: float) -> bool:
        """Count a retry, or return False where the budget has none left."""
        if self._available(now) < 1:
            self._denied += 1
            return False
        self._retries.add(now)
        return True

    def statistics(self, now: float) -> RetryBudgetStatistics:
        """Return a snapshot."""
        return RetryBudgetStatistics(
            self._first.total(now), self._retries.total(now), max(0.0, self._available(now)), self._denied
        )

    def _available(self, now: float) -> float:
        earned = self._floor + self._ratio * self._first.total(now)
        # 0.29 * 100 is a hair under 29: without this hair an exact share would be one retry short.
        return earned + 1e-9 - self._retries.total(now)


class RetryStatistics(Struct, frozen=True):
    """What a policy has decided so far, and its budget now."""

    retries: int
    gave_up: int
    budget: RetryBudgetStatistics


class RetryPolicy:
    """Decides on each failure whether its call is tried again. Never waits itself.

    The wait is exponential back-off with full jitter (AWS Architecture Blog, "Exponential Backoff And
    Jitter"), added to what the other side asked for, so that all who were told the same time still spread.
    """

    __slots__ = ("_budget", "_gave_up", "_retries", "_settings")

    def __init__(self, settings: RetrySettings) -> None:
        self._settings = settings
        self._budget = RetryBudget(settings.budget)
        self._retries = 0
        self._gave_up = 0

    def on_first_attempt(self, now: float) -> None:
        """Note that a new call is tried: retries are a share of these."""
        self._budget.deposit(now)

    def next(
        self, attempt: int, failure: Failure, rng: random.Random, now: float, *, times: int = 0
    ) -> Retry | GiveUp:
        """Return what to do after `failure`; a `Retry` that is returned has been counted.

        `attempt` counts the failures of the call that are held against the same bound, this one included.
        The wait grows with `times`, all its failures, where those are more. Refusals have no bound. An
        unusable answer is asked for again under a bound of its own, so it is final here. Raises ValueError
        for an attempt below 1.
        """
        if attempt < 1:
            raise ValueError(f"attempts count from 1, not {attempt}")
        reason = self._reason_to_stop(attempt, failure.kind, now)
        if reason is not None:
            self._gave_up += 1
            return GiveUp(reason)
        return self.wait(max(attempt, times), failure, rng)

    def wait(self, times: int, failure: Failure, rng: random.Random) -> Retry:
        """Return how long a call waits after it has failed so many `times` in a row, without any bound."""
        self._retries += 1
        floor_s, note = _sane(failure.retry_after_s)
        return Retry(floor_s + rng.uniform(0.0, self._ceiling_s(times)), note)

    def statistics(self, now: float) -> RetryStatistics:
        """Return a snapshot."""
        return RetryStatistics(self._retries, self._gave_up, self._budget.statistics(now))

    def check_invariants(self, now: float) -> None:
        """Raise InvariantError where more was withdrawn than decided."""
        withdrawn = self._budget.statistics(now).retries
        if withdrawn > self._retries:
            raise InvariantError(f"retry: {withdrawn} withdrawn, {self._retries} decided")

    def _reason_to_stop(self, attempt: int, kind: FailureKind, now: float) -> GiveUpReason | None:
        if kind is FailureKind.REFUSED:
            return None
        if kind not in (FailureKind.TRANSIENT, FailureKind.IN_DOUBT):
            return GiveUpReason.FINAL
        if attempt >= self._settings.attempts:
            return GiveUpReason.ATTEMPTS
        return None if self._budget.try_withdraw(now) else GiveUpReason.BUDGET

    def _ceiling_s(self, attempt: int) -> float:
        # Beyond 2 ** 60 any base is over the cap; without the bound the power overflows a float at 1024.
        return min(self._settings.cap_s, self._settings.base_s * 2.0 ** min(attempt - 1, 60))


def parse_retry_after(value: str, *, wall_now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110, 10.2.3), None where it makes no sense.

    Takes seconds, also with decimals, and an HTTP-date, which is measured against `wall_now` (seconds since
    the epoch). What is past or negative is 0; what is over an hour is an hour.
    """
    text = value.strip()
    if len(text) > _LONGEST_HEADER:
        return None
    if _DECIMAL.fullmatch(text):
        return min(max(float(text), 0.0), LONGEST_RETRY_AFTER_S)
    try:
        date = email.utils.parsedate_to_datetime(text)
        # A date without a zone would be read as this host's local time; HTTP knows only GMT.
        date = date if date.tzinfo else date.replace(tzinfo=dt.UTC)
        seconds = date.timestamp() - wall_now
    except (ValueError, OverflowError):  # not a date, or one outside the calendar
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S)


def _sane(retry_after_s: float | None) -> tuple[float, str | None]:
    """Return the wish within its bounds, and a note where it had to be changed."""
    if retry_after_s is None or 0.0 <= retry_after_s <= LONGEST_RETRY_AFTER_S:
        return retry_after_s or 0.0, None
    # NaN compares false with everything: it falls through to "no wish" instead of poisoning a timer.
    used_s = LONGEST_RETRY_AFTER_S if retry_after_s > LONGEST_RETRY_AFTER_S else 0.0
    return used_s, f"asked to wait {retry_after_s} s; taken as {used_s:g} s"
