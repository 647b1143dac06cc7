"""The price of an endpoint: what a request and tokens of each kind cost.

Rule 1: cached and cache write tokens without a price have the price of input, reasoning tokens without a
    price that of output, and those that a cache stores for an hour that of cache writes.
Rule 2: a tier applies to all tokens of a request whose input is larger than its bound.
Rule 3: an estimate has no discount: it takes the highest price of input and of output.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from actors.core.messages.values import TokenCounts, Usage

_PER_USD = 1e6  # prices are per million tokens


class TokenRates(Struct, frozen=True):
    """US dollars per million tokens of each kind. See rule 1 for None."""

    input_usd_per_mtok: float = 0.0
    output_usd_per_mtok: float = 0.0
    cached_input_usd_per_mtok: float | None = None
    cache_write_usd_per_mtok: float | None = None
    reasoning_usd_per_mtok: float | None = None
    cache_write_hour_usd_per_mtok: float | None = None

    @property
    def highest_input(self) -> float:
        """The highest price of input tokens: no cache serves one, and each is stored if that costs more."""
        stored = (self.cache_write_usd_per_mtok or 0.0, self.cache_write_hour_usd_per_mtok or 0.0)
        return max(self.input_usd_per_mtok, *stored)

    @property
    def highest_output(self) -> float:
        """The price of output tokens, whether or not they are reasoning."""
        return max(self.output_usd_per_mtok, self.reasoning_usd_per_mtok or 0.0)

    @property
    def is_free(self) -> bool:
        """Whether no token costs anything."""
        stored = (self.cache_write_usd_per_mtok, self.cache_write_hour_usd_per_mtok)
        others = (self.cached_input_usd_per_mtok, self.reasoning_usd_per_mtok, *stored)
        return not (self.input_usd_per_mtok or self.output_usd_per_mtok or any(others))


class PriceTier(TokenRates, frozen=True, kw_only=True):
    """The rates of requests with more than `above_input_tokens` input tokens."""

    above_input_tokens: int


class Price(TokenRates, frozen=True):
    """The rates of an endpoint. `tiers` are in order of their bounds. `request_usd`: of each answer."""

    tiers: tuple[PriceTier, ...] = ()
    request_usd: float = 0.0

    @property
    def is_free(self) -> bool:
        """Whether no request and no token costs anything."""
        return not self.request_usd and super().is_free

    def usage(self, counts: TokenCounts) -> Usage:
        """Return the usage of these tokens, with their cost. Counts that are not reported are 0."""
        read, written = counts.input or 0, counts.output or 0
        cached = min(counts.cached, read)
        stored = min(counts.cache_write, read - cached)
        reasoning = min(counts.reasoning, written)
        rates = self._rates(read) if self.tiers else self
        usd = (read - cached - stored) * rates.input_usd_per_mtok
        usd += (written - reasoning) * rates.output_usd_per_mtok
        usd += cached * _known(rates.cached_input_usd_per_mtok, rates.input_usd_per_mtok)
        write = _known(rates.cache_write_usd_per_mtok, rates.input_usd_per_mtok)
        hour = min(counts.cache_write_hour, stored)
        usd += (stored - hour) * write + hour * _known(rates.cache_write_hour_usd_per_mtok, write)
        usd += reasoning * _known(rates.reasoning_usd_per_mtok, rates.output_usd_per_mtok)
        usd = usd / _PER_USD + counts.requests * self.request_usd
        return Usage(read, written, usd, cached, stored, reasoning)

    def without_hours(self) -> Price:
        """Return this price for requests that let a cache store nothing for an hour."""
        tiers = tuple(replace(tier, cache_write_hour_usd_per_mtok=None) for tier in self.tiers)
        return replace(self, cache_write_hour_usd_per_mtok=None, tiers=tiers)

    def estimate(self, input_tokens: int, output_tokens: int) -> Usage:
        """Return the usage of a request before it is made, by rule 3."""
        rates = self._rates(input_tokens) if self.tiers else self
        usd = input_tokens * rates.highest_input + output_tokens * rates.highest_output
        return Usage(input_tokens, output_tokens, usd / _PER_USD + self.request_usd)

    def highest_rates(self, input_tokens: int = 0) -> tuple[float, float]:
        """Return the highest prices of input and of output in requests with up to `input_tokens`."""
        reached = list(self._reached(input_tokens))
        return max(rates.highest_input for rates in reached), max(rates.highest_output for rates in reached)

    def _rates(self, input_tokens: int) -> TokenRates:
        *_, last = self._reached(input_tokens)
        return last

    def _reached(self, input_tokens: int) -> Iterator[TokenRates]:
        yield self
        for tier in self.tiers:
            if input_tokens > tier.above_input_tokens:
                yield tier


def _known(own: float | None, other: float) -> float:
    return other if own is None else own
