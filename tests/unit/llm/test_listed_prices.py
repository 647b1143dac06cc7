"""The prices that providers list are those of genai-prices, whose own calculation agrees with ours."""

from __future__ import annotations

import pickle
import subprocess
import sys

import genai_prices
import pytest

from actors.core.messages.values import TokenCounts
from actors.llm.endpoint import EndpointSettings
from actors.llm.listed_prices import listed_price

OPENAI = "https://api.openai.com/v1"
# Input tokens on both sides of a tier, with cached, cache write and reasoning tokens among them.
COUNTS = (TokenCounts(1_000, 100), TokenCounts(90_000, 700, 60_000, 20_000, 300), TokenCounts(300_000, 9, 7))


def by_genai_prices(provider, model, counts, context=None):
    kinds = {"cache_read_tokens": counts.cached, "cache_write_tokens": counts.cache_write}
    usage = genai_prices.Usage(
        input_tokens=counts.input,
        output_tokens=counts.output,
        output_reasoning_tokens=counts.reasoning,
        **{name: value for name, value in kinds.items() if value},
    )
    found = genai_prices.calc_price(usage, model, provider_id=provider, price_context=context)
    return float(found.total_price)


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize(
    ("provider", "model", "tier"),
    [
        ("openai", "gpt-5-mini", None),
        ("openai", "gpt-5-mini", "flex"),
        ("openai", "gpt-5-mini", "priority"),
        ("anthropic", "claude-opus-4-5", None),
        ("google", "gemini-2.5-pro", None),
        ("perplexity", "sonar-deep-research", None),
        ("aws", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", None),
    ],
)
def test_dollars_agree_with_the_calculation_of_genai_prices(provider, model, tier, counts):
    price = listed_price(provider, "https://somewhere.example", model, tier)
    context = None if tier is None else {"service_tier": tier}
    expected = by_genai_prices(provider, model, counts, context)
    assert price.usage(counts).cost_usd == pytest.approx(expected, rel=1e-12)
    assert price.estimate(counts.input, counts.output).cost_usd >= expected * (1 - 1e-12)


@pytest.mark.parametrize(
    ("provider", "url", "model", "tier", "is_known"),
    [
        (None, OPENAI, "gpt-5-mini", None, True),
        (None, OPENAI, "gpt-5-mini", "auto", True),
        ("groq", "https://gateway.example.com/v1", "llama-3.3-70b-versatile", None, True),
        (None, OPENAI, "gpt-5-mini", "turbo", False),
        (None, OPENAI, "a-model-that-is-none", None, False),
        (None, "https://gateway.example.com/v1", "gpt-5-mini", None, False),
        ("no-such-provider", OPENAI, "gpt-5-mini", None, False),
        ("perplexity", "https://api.perplexity.ai", "sonar", None, False),  # each request has a fee
        # A server of one's own costs what only its owner knows, whatever its preset and its model.
        ("openai", "http://127.0.0.1:8000/v1", "gpt-5-mini", None, False),
        ("openai", "http://[::1]:8000/v1", "gpt-5-mini", None, False),
        ("openai", "http://10.1.2.3/v1", "gpt-5-mini", None, False),
        ("openai", "http://localhost:8000/v1", "gpt-5-mini", None, False),
        ("openai", "http://vllm:8000/v1", "gpt-5-mini", None, False),
        ("openai", "http://vllm.team.svc.cluster.local/v1", "gpt-5-mini", None, False),
    ],
)
def test_a_price_that_is_not_certain_is_unknown(provider, url, model, tier, is_known):
    assert (listed_price(provider, url, model, tier) is not None) == is_known


def endpoint(**keys):
    settings = EndpointSettings(**{"name": "a", "base_url": OPENAI, "model": "gpt-5-mini", **keys})
    settings.look_up_price()
    return settings


def test_a_price_that_is_set_wins_over_the_listed_one():
    assert endpoint().known_price.input_usd_per_mtok == 0.25
    assert endpoint(params={"service_tier": "flex"}).known_price.input_usd_per_mtok == 0.125
    assert endpoint(price={"input_usd_per_mtok": 7}).known_price.input_usd_per_mtok == 7
    assert endpoint(preset="ollama").known_price is None


def test_a_step_has_the_price_of_its_service_tier_and_estimates_that_of_the_dearest():
    settings = endpoint()
    settings.look_up_price({"service_tier": "flex"}, {"service_tier": "priority"})
    params = ({}, {"service_tier": "flex"}, {"service_tier": "priority"})
    assert [settings.price_of(each).input_usd_per_mtok for each in params] == [0.25, 0.125, 0.45]
    assert settings.known_price.input_usd_per_mtok == 0.45
    settings.look_up_price({"service_tier": "turbo"})
    assert settings.known_price is None
    assert settings.unlisted_tiers == ["turbo"]
    assert settings.price_of({"service_tier": "turbo"}).is_free


def test_a_cache_of_an_hour_has_its_price_only_where_it_is_asked_for():
    url = "https://api.anthropic.com"
    hour = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    plain = endpoint(model="claude-sonnet-4-5", base_url=url)
    asked = endpoint(model="claude-sonnet-4-5", base_url=url, params=hour)
    assert [one.known_price.cache_write_usd_per_mtok for one in (plain, asked)] == [3.75, 3.75]
    assert [one.known_price.cache_write_hour_usd_per_mtok for one in (plain, asked)] == [None, 6.0]
    plain.look_up_price(hour)
    assert plain.price_of({}).highest_input == 6.0


def test_a_listed_price_is_not_part_of_the_configuration():
    without = EndpointSettings(name="a", base_url=OPENAI, model="gpt-5-mini")
    assert endpoint().model_dump(mode="json") == without.model_dump(mode="json")
    sent = pickle.loads(pickle.dumps(endpoint()))  # noqa: S301 - to an actor of another process
    assert sent.known_price == endpoint().known_price


def test_a_server_of_ones_own_does_not_load_the_package():
    code = (
        "import sys; from actors.llm.listed_prices import listed_price;"
        "listed_price(None, 'http://127.0.0.1:1/v1', 'm', None); assert 'genai_prices' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own program
