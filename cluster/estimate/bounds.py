"""Bounds what the open questions of a job cost and take, without a call.

The input is counted. The output lies between the shortest answer that the form allows and `max_tokens`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

from actors.core.estimate.duration import EndpointLoad
from actors.core.limits.price import Price
from actors.llm.endpoint import EndpointSettings
from cluster.config.llm import unpriced
from cluster.config.model import HeadraceConfig
from cluster.estimate.count import JobCount


@dataclass(frozen=True, slots=True)
class Amount:
    """Calls, tokens and US dollars."""

    calls: float = 0
    input_tokens: float = 0
    output_tokens: float = 0
    usd: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.usd + other.usd,
        )

    def times(self, factor: float) -> Amount:
        """Return this amount, multiplied."""
        return Amount(
            self.calls * factor, self.input_tokens * factor, self.output_tokens * factor, self.usd * factor
        )


class JobEndpoints:
    """The endpoints that a job asks: their prices and rates."""

    def __init__(self, config: HeadraceConfig) -> None:
        simulator = config.llm.simulator
        self.is_simulated = simulator is not None
        self._all = config.llm.endpoints if simulator is None else (simulator.endpoint("http://localhost"),)
        self.why_unpriced = unpriced(config.llm.endpoints) if config.llm.endpoints else None

    def of(self, names: Sequence[str]) -> tuple[EndpointSettings, ...]:
        """Return the endpoints with these names; all without names."""
        return tuple(one for one in self._all if not names or one.name in names)

    def cheapest(self, names: Sequence[str], amount: Amount) -> Amount:
        """Return `amount` with its cost at the cheapest of the endpoints with these names."""
        prices = [_price(one) for one in self.of(names)]
        rates = ((each.input_usd_per_mtok, each.output_usd_per_mtok, each.request_usd) for each in prices)
        return replace(amount, usd=min(_usd(amount, *each) for each in rates))

    def dearest(self, names: Sequence[str], amount: Amount, longest: float) -> Amount:
        """Return `amount` with its cost at the dearest of these endpoints, without a discount for a cache.

        `longest` is the number of input tokens of the longest question, which decides the tier of the price.
        """
        prices = [_price(one) for one in self.of(names)]
        rates = ((*each.highest_rates(math.ceil(longest)), each.request_usd) for each in prices)
        return replace(amount, usd=max(_usd(amount, *each) for each in rates))

    @property
    def input_price(self) -> float:
        """Return the mean price of an input token, in US dollars."""
        return sum(_price(one).input_usd_per_mtok for one in self._all) / len(self._all) / 1e6

    def loads(
        self, shares: Sequence[tuple[Sequence[str], Amount]], latency_s: float | None, in_flight: float | None
    ) -> list[EndpointLoad]:
        """Return the load of each endpoint, if the endpoints of a step share its calls equally.

        `in_flight` is the number of attempts in flight at all endpoints; None: what each allows at most.
        """
        loads = []
        for one in self._all:
            mine = [(amount, len(self.of(names))) for names, amount in shares if one in self.of(names)]
            loads.append(
                EndpointLoad(
                    calls=sum(amount.calls / among for amount, among in mine),
                    tokens=sum(
                        (amount.input_tokens + amount.output_tokens) / among for amount, among in mine
                    ),
                    requests_per_minute=one.requests_per_minute,
                    tokens_per_minute=one.tokens_per_minute,
                    in_flight=float(one.max_in_flight) if in_flight is None else in_flight / len(self._all),
                    latency_s=latency_s,
                )
            )
        return loads


def _price(endpoint: EndpointSettings) -> Price:
    return endpoint.known_price or Price()


def _usd(amount: Amount, input_usd_per_mtok: float, output_usd_per_mtok: float, request_usd: float) -> float:
    tokens = amount.input_tokens * input_usd_per_mtok + amount.output_tokens * output_usd_per_mtok
    return tokens / 1e6 + amount.calls * request_usd


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the most that the open questions of each step take, if no question is asked twice.

    step_endpoints: the names of the endpoints of each step.
    """

    endpoints: JobEndpoints
    step_endpoints: tuple[tuple[str, ...], ...]
    least_of: tuple[Amount, ...]
    most_of: tuple[Amount, ...]

    @classmethod
    def of(cls, config: HeadraceConfig, count: JobCount) -> Bounds:
        """Return the bounds of the job of `config`. Without steps, which sources decide, they are 0."""
        endpoints, least, most = JobEndpoints(config), [], []
        for fact, tally in zip(count.facts, count.tallies, strict=True):
            asked = tally.asked
            few = Amount(asked, tally.tokens, asked * fact.floor) if fact.is_certain else Amount()
            many = Amount(asked, tally.tokens + asked * fact.inserted, asked * fact.ceiling)
            least.append(endpoints.cheapest(fact.endpoints, few))
            most.append(endpoints.dearest(fact.endpoints, many, tally.longest + fact.inserted))
        return cls(endpoints, tuple(fact.endpoints for fact in count.facts), tuple(least), tuple(most))

    @property
    def least(self) -> Amount:
        """The least that all steps take."""
        return reduce(add, self.least_of, Amount())

    @property
    def most(self) -> Amount:
        """The most that all steps take."""
        return reduce(add, self.most_of, Amount())
