"""What tokens cost: each kind at its price, each request in its tier, an estimate without a discount."""

from __future__ import annotations

import pytest

from actors.core.limits.price import Price, PriceTier
from actors.core.messages.values import TokenCounts, Usage

LARGE = PriceTier(4.0, 16.0, 0.4, 5.0, 20.0, above_input_tokens=1_000)
PRICE = Price(2.0, 8.0, 0.2, 2.5, 10.0, tiers=(LARGE,))


@pytest.mark.parametrize(
    ("price", "counts", "microdollars"),
    [
        (Price(1.0, 4.0), TokenCounts(500_000, 250_000), 1_500_000),
        (Price(), TokenCounts(10, 20), 0),
        # 300 of 800 input tokens are plain, 400 cached, 100 stored; 40 of 50 output tokens are reasoning.
        (PRICE, TokenCounts(800, 50, 400, 100, 40), 300 * 2 + 400 * 0.2 + 100 * 2.5 + 10 * 8 + 40 * 10),
        # Above the bound every token of the request costs the rates of the tier; at the bound none does.
        (PRICE, TokenCounts(1_000, 10), 1_000 * 2 + 10 * 8),
        (PRICE, TokenCounts(1_001, 10, 501), 500 * 4 + 501 * 0.4 + 10 * 16),
        # A kind without a price of its own costs what the kind costs that contains it. A price of 0 is one.
        (Price(2.0, 8.0), TokenCounts(800, 50, 400, 100, 40), 800 * 2 + 50 * 8),
        (Price(2.0, 8.0, 0.0), TokenCounts(800, 0, 400), 400 * 2),
        # An endpoint may report nonsense: a part is at most the whole.
        (PRICE, TokenCounts(100, 10, 900, 900, 900), 100 * 0.2 + 10 * 10),
        (PRICE, TokenCounts(None, None, 5, 5, 5), 0),
    ],
)
def test_each_kind_of_token_costs_its_price(price, counts, microdollars):
    assert price.usage(counts).cost_usd == pytest.approx(microdollars / 1e6, rel=1e-12)


def test_a_usage_has_the_counts_of_its_kinds():
    assert PRICE.usage(TokenCounts(800, 50, 400, 100, 40)) == Usage(800, 50, 0.00141, 400, 100, 40)
    assert PRICE.usage(TokenCounts(100, 10, 90, 90, 90)).fields[3:] == (90, 10, 10)


@pytest.mark.parametrize(
    ("tokens", "microdollars"),
    [(800, 800 * 2.5 + 50 * 10), (1_001, 1_001 * 5 + 50 * 20)],
    ids=["base", "tier"],
)
def test_an_estimate_is_an_upper_bound_without_a_discount(tokens, microdollars):
    estimate = PRICE.estimate(tokens, 50)
    assert estimate == Usage(tokens, 50, pytest.approx(microdollars / 1e6))
    for cached in (0, tokens // 2):
        for stored in (0, tokens - cached):
            used = PRICE.usage(TokenCounts(tokens, 50, cached, stored, 25))
            assert used.cost_usd <= estimate.cost_usd


def test_what_a_cache_stores_for_an_hour_has_a_price_of_its_own():
    price = Price(1.0, 2.0, cache_write_usd_per_mtok=1.25, cache_write_hour_usd_per_mtok=2.0)
    million = 1_000_000
    counts = TokenCounts(4 * million, 0, cache_write=3 * million, cache_write_hour=2 * million)
    assert price.usage(counts).cost_usd == 1.0 + 1.25 + 2 * 2.0
    assert Price(1.0, 2.0, cache_write_usd_per_mtok=1.25).usage(counts).cost_usd == 1.0 + 3 * 1.25
    assert (price.highest_input, price.without_hours().highest_input) == (2.0, 1.25)


def test_a_fee_is_charged_for_each_request_that_is_billed():
    price = Price(input_usd_per_mtok=1.0, request_usd=0.5)
    assert price.usage(TokenCounts(1_000_000, 0, requests=3.0)).cost_usd == 2.5
    assert price.estimate(1_000_000, 0).cost_usd == 1.5
    assert (price.is_free, Price(request_usd=0.5).is_free, Price().is_free) == (False, False, True)


def test_the_highest_rates_are_those_of_the_tiers_that_the_input_reaches():
    assert PRICE.highest_rates(1_000) == (2.5, 10.0)
    assert PRICE.highest_rates(1_001) == (5.0, 20.0)
