"""Keeps to the rates of an endpoint that are configured or stated in the headers of its answers.

Rule 1: a known rate is kept, not probed. Its bucket is charged with the estimate when an attempt is sent and
settled with the actual cost when it ends.
Rule 2: the ledger is ours. A header is stamped when its attempt was let in and read when it ends; believing
it in full makes the rate swing with the latency as its period.
"""

from __future__ import annotations

from actors.core.limits.budget import RateBucket
from actors.core.messages.attempts import RateHeaders

# Rates are per minute, so a minute ends every wait. Without this, one absurd usage would be a debt of days.
_LONGEST_WAIT_S = 60.0


class _Rate:
    """One rate: its bucket, once it is known."""

    def __init__(self, per_minute: float | None, now: float) -> None:
        self._configured = per_minute
        self._per_minute = 0.0
        self.bucket: RateBucket | None = None
        if per_minute is not None:
            self._use(per_minute, now)

    def _use(self, per_minute: float, now: float) -> None:
        self._per_minute = per_minute
        self.bucket = RateBucket(per_minute, now=now)

    def charge(self, now: float, cost: float) -> None:
        if self.bucket is not None and not self.bucket.reserve(now, cost):
            self.bucket.settle(0, cost)  # a client has started it already: later attempts wait for it

    def settle(self, estimate: float, actual: float) -> None:
        if self.bucket is not None:
            self.bucket.settle(estimate, actual)

    def learn(self, now: float, limit: int | None, remaining: int | None) -> None:
        if limit is not None and limit > 0:
            per_minute = min(limit, self._configured or limit)
            if per_minute != self._per_minute:
                self._use(per_minute, now)
        if self.bucket is not None and remaining is not None:
            self.bucket.correct(now, remaining)


class Rates:
    """Requests and tokens a minute, and the pause that an endpoint asked for."""

    def __init__(self, requests: float | None, tokens: float | None, now: float) -> None:
        self._requests = _Rate(requests, now)
        self._tokens = _Rate(tokens, now)

    def next_at(self, now: float, tokens: int) -> float:
        """Return when an attempt of about `tokens` tokens may go, `now` if at once."""
        at = now
        for rate, cost in ((self._requests, 1), (self._tokens, tokens)):
            if rate.bucket is not None:
                rate.bucket.forgive(now, _LONGEST_WAIT_S)
                at = max(at, rate.bucket.next_at(now, cost))
        return at

    def charge(self, now: float, tokens: int) -> None:
        """Take an attempt that is sent into account, whether or not there is room for it."""
        self._requests.charge(now, 1)
        self._tokens.charge(now, tokens)

    def settle(self, estimate: int, actual: int) -> None:
        """Replace the estimated tokens of an attempt by what it took."""
        self._tokens.settle(estimate, actual)

    def refund(self, tokens: int) -> None:
        """Give back what an attempt did not use at all."""
        self._requests.settle(1, 0)
        self._tokens.settle(tokens, 0)

    def learn(self, now: float, headers: RateHeaders) -> None:
        """Adopt a rate that the endpoint states, and its statement that less is left."""
        self._requests.learn(now, headers.limit_requests, headers.remaining_requests)
        self._tokens.learn(now, headers.limit_tokens, headers.remaining_tokens)

    def available(self, now: float) -> dict[str, float]:
        """Return what is left of each known rate now."""
        rates = {"requests": self._requests.bucket, "tokens": self._tokens.bucket}
        return {
            name: bucket.statistics(now).available for name, bucket in rates.items() if bucket is not None
        }

    def check_invariants(self) -> None:
        """Raise `InvariantError` if a bucket's state is impossible."""
        for rate in (self._requests, self._tokens):
            if rate.bucket is not None:
                rate.bucket.check_invariants()
