"""Budgets: a rate per minute for an endpoint, and a ceiling for a run.

Rule 1: the estimated cost of a call is reserved before it is sent, and settled with the actual cost when it
ends. If calls were charged only at their end, all calls in flight together could exceed the budget.
Rule 2: no call waits forever. A cost above the capacity of a bucket is admitted when the bucket is full.
Rule 3: a refund returns no more than was reserved, and never raises a budget above its unused level.
"""

from __future__ import annotations

import math

from msgspec import Struct

from actors.core.errors import InvariantError

_PICO = 10**12  # money is counted in whole picodollars: sums of floats drift, and a ceiling must not


def _amount(value: float) -> float:
    if not 0 <= value < math.inf:
        raise ValueError(f"an amount must be finite and not negative, not {value}")
    return value


class RateStatistics(Struct, frozen=True):
    """A snapshot of a rate bucket, in its own unit (requests or tokens)."""

    per_minute: float
    available: float  # can be reserved now; negative while a cost above the burst is paid off
    charged: float  # since the start
    refunded: float  # since the start


class RateBucket:
    """Limits requests or tokens per minute, spread evenly: the generic cell rate algorithm (ITU-T I.371).

    The state is one float, the theoretical arrival time: the time at which all reserved costs will have been
    earned. A cost is admitted if that time, including the cost, is at most `burst_s` in the future.

    The bucket earns ``per_minute`` in ``60 + burst_s`` seconds. A window of 60 s holds at most the earnings
    of a minute and one full burst. It therefore never exceeds ``per_minute``, wherever the endpoint's minutes
    begin (net of refunds, and except for the part of a single cost above the burst). The bucket forgoes
    ``burst_s / 60`` of the budget: with one second, 98.4 % is usable. A longer burst tolerates later wake-ups
    and forgoes more; a shorter one loses the earnings of a late wake-up.

    Times are in seconds on a monotonic clock. Raises ValueError for a rate or burst that is not positive.
    """

    __slots__ = ("_arrival", "_burst_s", "_charged", "_per_minute", "_rate", "_refunded")

    def __init__(self, per_minute: float, *, burst_s: float = 1.0, now: float) -> None:
        if not (0 < per_minute < math.inf and 0 < burst_s < math.inf):
            raise ValueError(f"rate bucket: rate {per_minute} and burst {burst_s} must be > 0 and finite")
        self._per_minute = per_minute
        self._burst_s = burst_s
        self._rate = per_minute / (60.0 + burst_s)  # per second
        self._arrival = now
        self._charged = 0.0
        self._refunded = 0.0

    def next_at(self, now: float, cost: float) -> float:
        """Return when `cost` will be admitted, `now` if at once. Raises ValueError for a negative cost."""
        # A cost above the burst never fits: it is admitted when the bucket is full, and paid off afterwards.
        needed_s = min(_amount(cost) / self._rate, self._burst_s)
        return max(now, self._arrival + needed_s - self._burst_s)

    def reserve(self, now: float, cost: float) -> bool:
        """Reserve `cost` if it is admitted now, else return False."""
        if self.next_at(now, cost) > now:
            return False
        self._arrival = max(now, self._arrival) + cost / self._rate
        self._charged += cost
        return True

    def settle(self, estimate: float, actual: float) -> None:
        """Replace a reserved `estimate` by the actual cost. An excess delays later calls."""
        difference = _amount(actual) - _amount(estimate)
        self._arrival += difference / self._rate
        self._charged += max(0.0, difference)
        self._refunded += max(0.0, -difference)

    def refund(self, cost: float) -> None:
        """Return a reservation whose call cost nothing."""
        self.settle(cost, 0.0)

    def forgive(self, now: float, longest_s: float) -> None:
        """Drop the part of the reserved costs that takes longer than `longest_s` to earn."""
        self._arrival = min(self._arrival, now + longest_s)

    def correct(self, now: float, remaining: float) -> None:
        """Reduce the available amount to `remaining`, the endpoint's report; others may use the endpoint too.

        A larger `remaining` changes nothing: the header is older than the calls in flight, and the bucket
        refills anyway. A wrong header therefore costs at most `burst_s` of waiting. Negative values (some
        endpoints send -1 for "unknown") and NaN change nothing.
        """
        if remaining >= 0:
            self._arrival = max(self._arrival, now + self._burst_s - remaining / self._rate)

    def statistics(self, now: float) -> RateStatistics:
        """Return a snapshot."""
        available = (self._burst_s - max(0.0, self._arrival - now)) * self._rate
        return RateStatistics(self._per_minute, available, self._charged, self._refunded)

    def check_invariants(self) -> None:
        """Raise InvariantError if the bucket's state is impossible."""
        if not math.isfinite(self._arrival):
            raise InvariantError(f"rate bucket: arrival time {self._arrival}")

    def __repr__(self) -> str:
        return f"<RateBucket {self._per_minute:g}/min, earned at {self._arrival:.3f}>"


class Cost(Struct, frozen=True):
    """Money in US dollars, and tokens."""

    usd: float = 0.0
    tokens: int = 0

    def __post_init__(self) -> None:
        _amount(self.usd)
        _amount(self.tokens)


class CeilingStatistics(Struct, frozen=True):
    """A snapshot of a ceiling. A limit is None if there is none. `open` counts unsettled reservations."""

    limit_usd: float | None
    limit_tokens: int | None
    spent: Cost
    reserved: Cost
    open: int


class Ceiling:
    """Bounds the total cost of a run, including its calls in flight.

    The sum of spent and reserved stays within the limits as long as each estimate is an upper bound of the
    actual cost. An attempt whose result is unknown is settled with its estimate, because it may be billed.
    A resumed run begins with its earlier cost, which may exceed a limit that was lowered since.
    """

    __slots__ = ("_limit_pico", "_limit_tokens", "_open", "_overrun", "_reserved", "_spent")

    def __init__(self, limit_usd: float | None, limit_tokens: int | None, *, spent: Cost = Cost()) -> None:
        self._limit_pico = None if limit_usd is None else _pico(limit_usd)
        self._limit_tokens = None if limit_tokens is None else int(_amount(limit_tokens))
        self._spent = (_pico(spent.usd), spent.tokens)
        self._reserved = (0, 0)
        self._open = 0
        # How far actual costs exceed their estimates or the limit; zero while the estimates are upper bounds.
        self._overrun = (self._beyond(self._limit_pico, 0), self._beyond(self._limit_tokens, 1))

    def reserve(self, estimate: Cost) -> bool:
        """Reserve `estimate`, or return False and reserve nothing if it does not fit now."""
        wanted = _integers(estimate)
        if not self._fits(wanted, self._reserved):
            return False
        self._reserved = _add(self._reserved, wanted)
        self._open += 1
        return True

    def hold(self, estimate: Cost) -> None:
        """Reserve `estimate` for a call that is already in flight, whether or not it fits."""
        self._reserved = _add(self._reserved, _integers(estimate))
        self._open += 1
        self._allow_overrun()

    def could_ever_fit(self, estimate: Cost) -> bool:
        """Return whether `estimate` would fit if all reservations were refunded.

        If not, waiting cannot help: the call must end with `FailureKind.BUDGET`.
        """
        return self._fits(_integers(estimate), (0, 0))

    def settle(self, reservation: Cost, actual: Cost) -> None:
        """Replace a reservation by the actual cost. An excess counts as spent, even beyond the limit.

        Raises InvariantError, and changes nothing, if less than `reservation` is reserved.
        """
        held, took = _integers(reservation), _integers(actual)
        left = (self._reserved[0] - held[0], self._reserved[1] - held[1])
        if self._open == 0 or left[0] < 0 or left[1] < 0:
            raise InvariantError(f"ceiling: settled {reservation}, which was never reserved")
        self._reserved = left
        self._open -= 1
        self._spent = _add(self._spent, took)
        self._overrun = _add(self._overrun, (max(0, took[0] - held[0]), max(0, took[1] - held[1])))

    def refund(self, reservation: Cost) -> None:
        """Return a reservation whose call cost nothing."""
        self.settle(reservation, Cost())

    def spend(self, cost: Cost) -> None:
        """Count a cost that was not reserved, even beyond the limit."""
        self._spent = _add(self._spent, _integers(cost))
        self._allow_overrun()

    def _allow_overrun(self) -> None:
        """Record how far the sum is beyond the limits, which is not a defect of the estimates."""
        taken = _add(self._spent, self._reserved)
        limits = (self._limit_pico, self._limit_tokens)
        beyond = [
            0 if limit is None else max(0, part - limit) for part, limit in zip(taken, limits, strict=True)
        ]
        self._overrun = (max(self._overrun[0], beyond[0]), max(self._overrun[1], beyond[1]))

    def statistics(self) -> CeilingStatistics:
        """Return a snapshot."""
        return CeilingStatistics(
            None if self._limit_pico is None else self._limit_pico / _PICO,
            self._limit_tokens,
            Cost(self._spent[0] / _PICO, self._spent[1]),
            Cost(self._reserved[0] / _PICO, self._reserved[1]),
            self._open,
        )

    def check_invariants(self) -> None:
        """Raise InvariantError if more is spent and reserved than the limits and overruns explain."""
        for limit, part in ((self._limit_pico, 0), (self._limit_tokens, 1)):
            taken = self._spent[part] + self._reserved[part]
            if limit is not None and taken > limit + self._overrun[part]:
                raise InvariantError(f"ceiling: {taken} taken of {limit}, overrun {self._overrun[part]}")
        if self._open == 0 and self._reserved != (0, 0):
            raise InvariantError(f"ceiling: {self._reserved} reserved without an open reservation")

    def _fits(self, wanted: tuple[int, int], besides: tuple[int, int]) -> bool:
        pico, tokens = _add(_add(self._spent, besides), wanted)
        return (self._limit_pico is None or pico <= self._limit_pico) and (
            self._limit_tokens is None or tokens <= self._limit_tokens
        )

    def _beyond(self, limit: int | None, part: int) -> int:
        return 0 if limit is None else max(0, self._spent[part] - limit)

    def __repr__(self) -> str:
        return f"<Ceiling {self.statistics()}>"


def _pico(usd: float) -> int:
    return round(_amount(usd) * _PICO)


def _integers(cost: Cost) -> tuple[int, int]:
    return round(cost.usd * _PICO), cost.tokens


def _add(left: tuple[int, int], right: tuple[int, int]) -> tuple[int, int]:
    return left[0] + right[0], left[1] + right[1]
