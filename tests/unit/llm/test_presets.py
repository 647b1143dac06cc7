"""The presets are complete data, and name dialects that exist."""

from __future__ import annotations

import re

import pytest
from genai_prices.data_snapshot import get_snapshot
from yarl import URL

from actors.llm.dialects.registry import dialect_names
from actors.llm.endpoint import EndpointSettings
from actors.llm.presets import prefixed, presets

REFERENCE = re.compile(r"\$\{(\w+)(?::-(\w+))?\}")


@pytest.mark.parametrize("preset", presets().values(), ids=lambda preset: preset.name)
def test_a_preset_is_complete(preset):
    names = [preset.dialect, *(rule.keys.get("dialect", preset.dialect) for rule in preset.models)]
    assert set(names) <= {*dialect_names()}
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", preset.date)
    assert preset.source
    assert preset.base_url or preset.base_url_env
    assert preset.prices is None or preset.prices in {each.id for each in get_snapshot().providers}


@pytest.mark.parametrize("preset", presets().values(), ids=lambda preset: preset.name)
@pytest.mark.parametrize("model", ["m", "gpt-5-mini", "o3-pro"])
def test_the_keys_of_a_preset_are_keys_of_an_endpoint(preset, model):
    keys = preset.endpoint_keys(model, {})
    keys["api_key"] = REFERENCE.sub("k", keys["api_key"])
    keys["base_url"] = REFERENCE.sub("x", keys["base_url"]).replace(
        "x", "http://h", keys["base_url"][0] == "$"
    )
    made = EndpointSettings(name="e", model=model, **keys)
    assert URL(made.base_url).host


@pytest.mark.parametrize(
    ("preset", "model", "keys"),
    [
        ("openai", "gpt-5-mini", ("chat", "max_completion_tokens", "developer", True)),
        ("openai", "gpt-5.1-2026-01-01", ("chat", "max_completion_tokens", "developer", True)),
        ("openai", "gpt-5-chat-latest", ("chat", None, None, False)),
        ("openai", "gpt-4o", ("chat", None, None, False)),
        ("openai", "o4-mini", ("chat", "max_completion_tokens", "developer", True)),
        ("openai", "gpt-5.1-codex", ("responses", "max_completion_tokens", "developer", True)),
        ("azure", "gpt-5-mini", ("azure", "max_completion_tokens", "developer", True)),
        ("openrouter", "openai/gpt-5-mini", ("chat", None, None, False)),
    ],
)
def test_a_model_has_the_keys_of_its_family(preset, model, keys):
    found = presets()[preset].endpoint_keys(model, {})
    refuses = {"temperature", "stop"} <= {*found.get("refuses", ())}
    assert (found["dialect"], found.get("max_tokens_as"), found.get("system_as"), refuses) == keys


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("global", "aiplatform.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
        ("", "${GOOGLE_CLOUD_LOCATION}-aiplatform.googleapis.com"),
    ],
)
def test_a_region_may_have_a_url_of_its_own(location, host):
    url = presets()["vertex"].endpoint_keys("m", {"GOOGLE_CLOUD_LOCATION": location})["base_url"]
    assert url.startswith(f"https://{host}/v1/projects/${{GOOGLE_CLOUD_PROJECT}}/locations/")
    assert url.endswith("/publishers/google")


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("gpt-5-mini", "openai:gpt-5-mini"),
        ("claude-opus-5-5", "anthropic:claude-opus-5-5"),
        ("gemini-3-pro", "gemini:gemini-3-pro"),
        ("o3", "openai:o3"),
        ("own", None),
    ],
)
def test_the_prefix_of_a_known_name_is_suggested(model, named):
    assert prefixed(model) == named


def test_variables_that_are_set_replace_the_url_and_add_the_query():
    env = {"GOOGLE_API_KEY": "k", "OPENAI_API_VERSION": "v"}
    assert presets()["gemini"].endpoint_keys("m", env)["api_key"] == "${GOOGLE_API_KEY}"
    assert presets()["gemini"].missing_key(env) is None
    assert presets()["gemini"].missing_key({}) == "GEMINI_API_KEY"
    assert presets()["vllm"].missing_key({}) is None
    assert presets()["azure"].endpoint_keys("m", env)["query"] == {"api-version": "${OPENAI_API_VERSION}"}
    assert (
        presets()["openai"].endpoint_keys("m", {"OPENAI_BASE_URL": "u"})["base_url"] == "${OPENAI_BASE_URL}"
    )
