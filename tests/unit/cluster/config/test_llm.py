from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from cluster.config.llm import LLMSettings, LLMSimulatorSettings, RetryKeys
from simulators.llm import command_line

ENDPOINT = {"name": "m", "base_url": "http://h/v1", "model": "x"}


def problems(keys: dict) -> list[tuple[str, str]]:
    """Return the place and the message of all that is wrong with the section."""
    with pytest.raises(ValidationError) as caught:
        LLMSettings.model_validate(keys)
    return [(".".join(map(str, error["loc"])), error["msg"]) for error in caught.value.errors()]


# ---- endpoints -------------------------------------------------------------------------------------------


def test_without_endpoints_the_simulator_stands_in():
    assert LLMSettings().simulator == LLMSimulatorSettings()
    assert LLMSettings.model_validate({"endpoints": []}).simulator == LLMSimulatorSettings()
    assert LLMSettings.model_validate({"endpoints": [], "simulator": {"seed": 3}}).simulator.seed == 3


def test_beside_endpoints_there_is_no_simulator():
    assert LLMSettings.model_validate({"endpoints": [ENDPOINT]}).simulator is None


def test_endpoints_and_simulator_exclude_each_other():
    assert problems({"endpoints": [ENDPOINT], "simulator": {"seed": 3}}) == [
        ("simulator", "Value error, simulator and endpoints exclude each other; remove one")
    ]


def test_a_broken_endpoint_is_not_blamed_on_the_simulator():
    broken = {"name": "m", "base_url": "http://h/v1"}
    assert problems({"endpoints": [broken], "simulator": {"seed": 3}}) == [
        ("endpoints.0.model", "Field required")
    ]


def test_names_of_endpoints_are_unique():
    assert problems({"endpoints": [ENDPOINT, ENDPOINT]}) == [
        ("endpoints.1.name", "the name 'm' is taken by entry 0 already")
    ]


@pytest.mark.parametrize("dialect", ["chat", "bedrock"])
@pytest.mark.parametrize(
    "url", ["http://h/v 1", "http://h /v1", "http://h/é", "http://é.test", "http://h/\t"]
)
def test_a_url_that_cannot_be_sent_is_refused(dialect, url):
    [(where, why)] = problems({"endpoints": [ENDPOINT | {"dialect": dialect, "base_url": url}]})
    assert where == "endpoints.0.base_url"
    assert "must have no space and only ASCII characters" in why


@pytest.mark.parametrize(
    ("dialect", "way", "known"),
    [
        ("chat", "tool", "native and json"),
        ("anthropic", "json", "native and tool"),
        ("responses", "tool", "native"),
        ("azure", "json", ""),
        ("bedrock", "tool", ""),
    ],
)
def test_a_way_to_json_that_the_dialect_lacks_is_named_before_the_run(dialect, way, known):
    section = {"endpoints": [{**ENDPOINT, "dialect": dialect, "structured": way}]}
    if not known:
        assert LLMSettings.model_validate(section).endpoints[0].structured == way
        return
    said = f"{way} is unknown there: the dialect {dialect} has {known}"
    assert problems(section) == [("endpoints.0.structured", said)]


def test_the_keys_of_retry_become_the_settings_of_the_policy():
    settings = RetryKeys(attempts=3, base_s=1, cap_s=2, budget=0.5).settings()
    assert (settings.attempts, settings.base_s, settings.cap_s, settings.budget) == (3, 1, 2, 0.5)


# ---- the simulator ---------------------------------------------------------------------------------------


def test_the_simulators_command_line_is_understood_by_the_simulator():
    settings = LLMSimulatorSettings(
        seed=7, cap=5, requests_per_minute=60, ledger="l.jsonl", idempotency=False
    )
    options = command_line().parse_args(settings.arguments())
    assert (options.seed, options.cap, options.requests_per_minute, options.ledger) == (
        7,
        5,
        60,
        Path("l.jsonl"),
    )
    assert not options.idempotency
    assert command_line().parse_args(LLMSimulatorSettings().arguments()).idempotency


def test_the_simulator_does_not_tell_its_capacity():
    endpoint = LLMSimulatorSettings(cap=5, requests_per_minute=60, max_in_flight=9).endpoint(
        "http://127.0.0.1:1/v1"
    )
    assert (endpoint.max_in_flight, endpoint.requests_per_minute) == (9, None)


def test_a_price_is_known_if_every_endpoint_has_one_or_the_simulator_answers():
    priced = {**ENDPOINT, "name": "b", "price": {"input_usd_per_mtok": 0}}
    assert LLMSettings().is_priced
    assert LLMSettings.model_validate({"endpoints": [priced]}).is_priced
    assert not LLMSettings.model_validate({"endpoints": [priced, ENDPOINT]}).is_priced


def test_a_listed_price_is_recorded_with_the_version_of_its_list():
    listed = {**ENDPOINT, "name": "c", "base_url": "https://api.openai.com/v1", "model": "gpt-5-mini"}
    settings = LLMSettings.model_validate({"endpoints": [ENDPOINT, listed]})
    (name, price), *others = settings.listed_prices().items()
    assert (name, others) == ("c", [])
    assert price["source"].startswith("genai-prices ")
    assert (price["input_usd_per_mtok"], price["output_usd_per_mtok"]) == (0.25, 2.0)
