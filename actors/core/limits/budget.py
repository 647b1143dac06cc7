"""How much may still be spent: a rate per minute, a ceiling per run.

Rule 1: what a call will take is reserved before it is sent, from an estimate, and settled with the truth
when it ends. Charging only at the end lets everything in flight overshoot together.
Rule 2: nothing waits for ever. A cost larger than a bucket can hold is let through when the bucket is full.
Rule 3: only what is refunded comes back; a refund never makes more room than an unused budget has.
"""

from __future__ import annotations

import math

from msgspec import Struct

from actors.core.errors import InvariantError

_PICO = 10**12  # money is counted in whole picodollars: sums of floats drift, and a ceiling must not


def _amount(value: float) -> float:
    if not 0 <= value < math.inf:
        raise ValueError(f"an amount is finite and not negative, unlike {value}")
    return value


class RateStatistics(Struct, frozen=True):
    """A rate bucket at one moment, in the bucket's own unit (requests or tokens)."""

    per_minute: float
    available: float  # could be reserved now; negative while a cost larger than the burst is paid off
    charged: float  # in all
    refunded: float  # in all


class RateBucket:
    """So many requests or tokens a minute, spread evenly: the generic cell rate algorithm (ITU-T I.371).

    The state is one float, the theoretical arrival time: when all that was reserved will have been earned.
    A cost is admitted while that time, the cost included, lies at most `burst_s` ahead.

    The bucket earns ``per_minute`` in ``60 + burst_s`` seconds. A window of a minute can hold a minute's
    earnings and one full burst, so no window of 60 s exceeds ``per_minute`` (net of refunds, and but for the
    part of a single cost above the burst), however the endpoint cuts its minutes. The price is
    ``burst_s / 60`` of the budget: with one second, 98.4 % is usable. A longer burst forgives later wake-ups
    and wastes more; a shorter one loses what a late wake-up missed.

    Times are seconds on a monotonic clock. Raises ValueError for a rate or burst that is not positive.
    """

    __slots__ = ("_arrival", "_burst_s", "_charged", "_per_minute", "_rate", "_refunded")

    def __init__(self, per_minute: float, *, burst_s: float = 1.0, now: float) -> None:
        if not (0 < per_minute < math.inf and 0 < burst_s < math.inf):
            raise ValueError(f"a rate bucket needs a positive rate and burst, not {per_minute} and {burst_s}")
        self._per_minute = per_minute
        self._burst_s = burst_s
        self._rate = per_minute / (60.0 + burst_s)  # a second
        self._arrival = now
        self._charged = 0.0
        self._refunded = 0.0

    def next_at(self, now: float, cost: float) -> float:
        """Return when `cost` would be admitted, `now` if at once. Raises ValueError for a negative cost."""
        # A cost above the burst would never fit; it goes when the bucket is full and is paid off afterwards.
        needed_s = min(_amount(cost) / self._rate, self._burst_s)
        return max(now, self._arrival + needed_s - self._burst_s)

    def reserve(self, now: float, cost: float) -> bool:
        """Take `cost` if it is admitted now, else return False and take nothing."""
        if self.next_at(now, cost) > now:
            return False
        self._arrival = max(now, self._arrival) + cost / self._rate
        self._charged += cost
        return True

    def settle(self, estimate: float, actual: float) -> None:
        """Replace a reserved `estimate` by what the call took; an excess is a debt for later calls."""
        difference = _amount(actual) - _amount(estimate)
        self._arrival += difference / self._rate
        self._charged += max(0.0, difference)
        self._refunded += max(0.0, -difference)

    def refund(self, cost: float) -> None:
        """Give back a reservation that took nothing."""
        self.settle(cost, 0.0)

    def forgive(self, now: float, longest_s: float) -> None:
        """Drop the part of a debt that takes longer than `longest_s` to earn."""
        self._arrival = min(self._arrival, now + longest_s)

    def correct(self, now: float, remaining: float) -> None:
        """Believe the endpoint when it says that less is left than this bucket thinks; others use it too.

        Never the other way round: the header is older than what is in flight, and the bucket refills by
        itself. A wrong header therefore costs at most `burst_s` of waiting. Negative values and NaN are
        not amounts (some endpoints send -1 for "unknown") and change nothing.
        """
        if remaining >= 0:
            self._arrival = max(self._arrival, now + self._burst_s - remaining / self._rate)

    def statistics(self, now: float) -> RateStatistics:
        """Return a snapshot."""
        available = (self._burst_s - max(0.0, self._arrival - now)) * self._rate
        return RateStatistics(self._per_minute, available, self._charged, self._refunded)

    def check_invariants(self) -> None:
        """Raise InvariantError where the bucket's state is impossible."""
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
    """A ceiling at one moment. None: no limit. `open` counts reservations not settled yet."""

    limit_usd: float | None
    limit_tokens: int | None
    spent: Cost
    reserved: Cost
    open: int


class Ceiling:
    """What a run may cost in all, however many calls are in flight.

    Spent and reserved together stay within the limits as long as each estimate is an upper bound of what
    the call takes. An attempt whose fate is unknown is settled with its estimate: it may have been billed.
    A resumed run begins with what was spent before, which may be beyond a limit that was lowered since.
    """

    __slots__ = ("_limit_pico", "_limit_tokens", "_open", "_overrun", "_reserved", "_spent")

    def __init__(self, limit_usd: float | None, limit_tokens: int | None, *, spent: Cost = Cost()) -> None:
        self._limit_pico = None if limit_usd is None else _pico(limit_usd)
        self._limit_tokens = None if limit_tokens is None else int(_amount(limit_tokens))
        self._spent = (_pico(spent.usd), spent.tokens)
        self._reserved = (0, 0)
        self._open = 0
        # How far truths have gone beyond their estimates or the limit; zero while the estimates are bounds.
        self._overrun = (self._beyond(self._limit_pico, 0), self._beyond(self._limit_tokens, 1))

    def reserve(self, estimate: Cost) -> bool:
        """Set `estimate` aside, or return False and set nothing aside where it does not fit now."""
        wanted = _integers(estimate)
        if not self._fits(wanted, self._reserved):
            return False
        self._reserved = _add(self._reserved, wanted)
        self._open += 1
        return True

    def hold(self, estimate: Cost) -> None:
        """Set `estimate` aside for what is under way already, whether or not it fits."""
        self._reserved = _add(self._reserved, _integers(estimate))
        self._open += 1
        self._allow_overrun()

    def could_ever_fit(self, estimate: Cost) -> bool:
        """Return whether `estimate` would fit if all that is reserved were given back.

        Where not, waiting is in vain: the call has to end with `FailureKind.BUDGET`.
        """
        return self._fits(_integers(estimate), (0, 0))

    def settle(self, reservation: Cost, actual: Cost) -> None:
        """Replace what was reserved by what the call took; an excess counts as spent, beyond the limit too.

        Raises InvariantError, and changes nothing, where less than `reservation` is reserved.
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
        """Give back a reservation that took nothing."""
        self.settle(reservation, Cost())

    def spend(self, cost: Cost) -> None:
        """Count what was spent without a reservation, beyond the limit too."""
        self._spent = _add(self._spent, _integers(cost))
        self._allow_overrun()

    def _allow_overrun(self) -> None:
        """Note how far what is taken is beyond the limits, which is no defect of the estimates."""
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
        """Raise InvariantError where more is spent and reserved than the limits and overruns explain."""
        for limit, part in ((self._limit_pico, 0), (self._limit_tokens, 1)):
            taken = self._spent[part] + self._reserved[part]
            if limit is not None and taken > limit + self._overrun[part]:
                raise InvariantError(f"ceiling: {taken} taken of {limit}, overrun {self._overrun[part]}")
        if self._open == 0 and self._reserved != (0, 0):
            raise InvariantError(f"ceiling: {self._reserved} reserved by nobody")

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
