"""Decides whether a failed call is retried, and when.

Rule 1: every bound is finite: the number of tries, the share of retries, the wait.
Rule 2: a refusal costs the endpoint nothing and is temporary. It counts neither as a try nor against the
retry budget: otherwise an outage, or a limiter that searches for its limit, would fail calls.
Rule 3: waits have full jitter, so that calls that failed together do not return together.
Rule 4: a retry is never made before the time that the other side asked for.
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

LONGEST_RETRY_AFTER_S = 3600.0  # a longer wait is an error, or exceeds every deadline here

_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)
_LONGEST_HEADER = 64  # characters; a date has 29


class RetrySettings(Struct, frozen=True):
    """The bounds on retries.

    attempts: the number of tries of one call, including the first. base_s, cap_s: the wait before the nth
    retry is up to ``min(cap_s, base_s * 2 ** (n - 1))`` seconds. budget: the retries allowed per first
    attempt of the last ten seconds, in addition to one retry per second. Raises ValueError for values out of
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
    """Retry in `after_s` seconds. `note` explains a wait that differs from the one asked for."""

    after_s: float
    note: str | None = None


class GiveUpReason(enum.StrEnum):
    """Why a call is not retried."""

    FINAL = "final"  # a failure of this kind is not temporary
    ATTEMPTS = "attempts"  # the number of tries is used up
    BUDGET = "retry_budget"  # the share of retries is used up, which indicates an outage


class GiveUp(Struct, frozen=True):
    """Do not retry."""

    reason: GiveUpReason


class RetryBudgetStatistics(Struct, frozen=True):
    """A snapshot of a retry budget. Counts cover its window; `denied` counts from the start."""

    first_attempts: int
    retries: int
    available: float
    denied: int


class RetryBudget:
    """Allows retries for `ratio` of the first attempts of the last `ttl_s` seconds, plus `min_per_s`.

    When an endpoint fails completely, the retries of all calls would multiply the load by ``attempts``. The
    budget bounds the factor by ``1 + ratio``. Deposits and withdrawals both leave the window when they are
    older than `ttl_s`. Source: the user's guide of Twitter's Finagle, "Retry Budget"; the counts here are
    exact.
    """

    __slots__ = ("_denied", "_first", "_floor", "_ratio", "_retries")

    def __init__(self, ratio: float, min_per_s: float = 1.0, ttl_s: float = 10.0) -> None:
        if not (0 <= ratio < math.inf and 0 <= min_per_s < math.inf):
            raise ValueError(f"retry budget: ratio {ratio} and min_per_s {min_per_s} must be finite and >= 0")
        self._ratio = ratio
        self._floor = min_per_s * ttl_s
        self._first = RollingCount(ttl_s)
        self._retries = RollingCount(ttl_s)
        self._denied = 0

    def deposit(self, now: float) -> None:
        """Count a first attempt."""
        self._first.add(now)

    def try_withdraw(self, now: float) -> bool:
        """Count a retry, or return False if the budget is used up."""
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
        # 0.29 * 100 is slightly below 29: without the addend an exact share would be one retry short.
        return earned + 1e-9 - self._retries.total(now)


class RetryStatistics(Struct, frozen=True):
    """A snapshot: the decisions since the start, and the budget now."""

    retries: int
    gave_up: int
    budget: RetryBudgetStatistics


class RetryPolicy:
    """Decides after each failure whether to retry its call. It does not wait.

    The wait is exponential back-off with full jitter (AWS Architecture Blog, "Exponential Backoff And
    Jitter"). It is added to the wait that the other side asked for, so that calls with the same one spread.
    """

    __slots__ = ("_budget", "_gave_up", "_retries", "_settings")

    def __init__(self, settings: RetrySettings) -> None:
        self._settings = settings
        self._budget = RetryBudget(settings.budget)
        self._retries = 0
        self._gave_up = 0

    def on_first_attempt(self, now: float) -> None:
        """Count the first attempt at a call, which raises the retry budget."""
        self._budget.deposit(now)

    def next(
        self, attempt: int, failure: Failure, rng: random.Random, now: float, *, times: int = 0
    ) -> Retry | GiveUp:
        """Return whether to retry after `failure`, and count the retry.

        `attempt` is the number of the call's failures that count against the same bound, including this one.
        The wait grows with `times`, the number of all its failures, if that is larger. Refusals have no
        bound. An unusable answer has a bound outside of this policy and is final here. Raises ValueError for
        an attempt below 1.
        """
        if attempt < 1:
            raise ValueError(f"attempts count from 1, not {attempt}")
        reason = self._reason_to_stop(attempt, failure.kind, now)
        if reason is not None:
            self._gave_up += 1
            return GiveUp(reason)
        return self.wait(max(attempt, times), failure, rng)

    def wait(self, times: int, failure: Failure, rng: random.Random) -> Retry:
        """Count a retry, and return its wait after a call has failed `times` times in a row."""
        self._retries += 1
        floor_s, note = _sane(failure.retry_after_s)
        return Retry(floor_s + rng.uniform(0.0, self._ceiling_s(times)), note)

    def statistics(self, now: float) -> RetryStatistics:
        """Return a snapshot."""
        return RetryStatistics(self._retries, self._gave_up, self._budget.statistics(now))

    def check_invariants(self, now: float) -> None:
        """Raise InvariantError if more retries were withdrawn than decided."""
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
        # Without the bound the power overflows a float at 1024. Beyond 2 ** 60 every wait exceeds the cap.
        return min(self._settings.cap_s, self._settings.base_s * 2.0 ** min(attempt - 1, 60))


def parse_retry_after(value: str, *, wall_now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110, 10.2.3), None if it is invalid.

    Accepts seconds, also with decimals, and an HTTP-date, which is compared with `wall_now` (seconds since
    the epoch). The result is clamped to the range from 0 to an hour.
    """
    text = value.strip()
    if len(text) > _LONGEST_HEADER:
        return None
    if _DECIMAL.fullmatch(text):
        return min(max(float(text), 0.0), LONGEST_RETRY_AFTER_S)
    try:
        date = email.utils.parsedate_to_datetime(text)
        # A date without a zone would be read as local time; HTTP dates are in GMT.
        date = date if date.tzinfo else date.replace(tzinfo=dt.UTC)
        seconds = date.timestamp() - wall_now
    except (ValueError, OverflowError):  # not a date, or one outside the calendar
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S)


def _sane(retry_after_s: float | None) -> tuple[float, str | None]:
    """Return `retry_after_s` within its bounds, and a note if it was changed."""
    if retry_after_s is None or 0.0 <= retry_after_s <= LONGEST_RETRY_AFTER_S:
        return retry_after_s or 0.0, None
    # NaN compares false with every number and becomes 0; in a timer it would never expire.
    used_s = LONGEST_RETRY_AFTER_S if retry_after_s > LONGEST_RETRY_AFTER_S else 0.0
    return used_s, f"asked to wait {retry_after_s} s; taken as {used_s:g} s"
