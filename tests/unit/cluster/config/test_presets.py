"""A model with a prefix becomes explicit keys, before a secret can reach what is stored."""

from __future__ import annotations

import pytest

from actors.llm.dialects.registry import dialect_of
from cluster.assembly.actor_settings import answer_forms, task_rules
from cluster.config.model import load, schema

ENV = {"OPENAI_API_KEY": "sk-of-openai", "MISTRAL_API_KEY": "sk-of-mistral", "MINE": "sk-of-mine"}
JOB = """\
llm: {endpoints: [{name: e, %s}]}
evaluate: {prompt: "{text}", output: {x: {type: string}}}
"""


@pytest.fixture
def loaded(tmp_path):
    def loaded(endpoint: str, env=ENV, *overrides: str):
        path = tmp_path / "job.yaml"
        path.write_text(JOB % endpoint)
        return load(path, overrides=overrides, env=env)

    return loaded


@pytest.mark.parametrize(
    ("endpoint", "model", "url", "key"),
    [
        ('model: "openai:gpt-5-mini"', "gpt-5-mini", "https://api.openai.com/v1", "sk-of-openai"),
        ('model: "openai:gpt-5-mini", base_url: "http://h/v1"', "gpt-5-mini", "http://h/v1", "sk-of-openai"),
        ('model: "openai:m", api_key: "${MINE}"', "m", "https://api.openai.com/v1", "sk-of-mine"),
        ('model: "openai:123"', "123", "https://api.openai.com/v1", "sk-of-openai"),
        ('model: "openai:ft:gpt-4o:me"', "ft:gpt-4o:me", "https://api.openai.com/v1", "sk-of-openai"),
        ("preset: openai, model: m", "m", "https://api.openai.com/v1", "sk-of-openai"),
        ('preset: ollama, model: "mistral:7b"', "mistral:7b", "http://localhost:11434/v1", "none"),
        ('preset: openai, model: "openai:m"', "m", "https://api.openai.com/v1", "sk-of-openai"),
        ('model: "mistral:7b", base_url: "http://h/v1"', "mistral:7b", "http://h/v1", "none"),
        ('model: "mistral:latest", base_url: "http://h/v1"', "mistral:latest", "http://h/v1", "none"),
        ('model: "llama3:8b", base_url: "http://h/v1"', "llama3:8b", "http://h/v1", "none"),
        (
            'model: "mistral:mistral-small", base_url: "http://h"',
            "mistral-small",
            "http://h",
            "sk-of-mistral",
        ),
    ],
)
def test_a_model_expands_and_explicit_keys_win(loaded, endpoint, model, url, key):
    (made,) = loaded(endpoint).llm.endpoints
    assert (made.model, made.base_url, made.api_key.get_secret_value()) == (model, url, key)


def test_quirks_expand_and_explicit_ones_win(loaded):
    made = loaded('model: "openai:gpt-5-mini", refuses: []').llm.endpoints[0]
    assert (made.max_tokens_as, made.system_as, made.refuses) == ("max_completion_tokens", "developer", ())


@pytest.mark.parametrize(
    ("endpoint", "override", "bound"),
    [
        ('model: "openai:gpt-5-mini"', "name=a", 4000),
        ('model: "openai:gpt-5-mini"', "evaluate.max_tokens=300", 300),
        ('model: "openai:gpt-5-mini", max_tokens: 900', "name=a", 900),
        ('model: "openai:gpt-4o"', "name=a", 200),
    ],
)
def test_a_model_that_reasons_has_a_larger_bound_unless_the_user_sets_one(loaded, endpoint, override, bound):
    config = loaded(endpoint, ENV, override)
    form = answer_forms(config)[0]
    rules = task_rules(config).steps[0]
    assert (form.max_tokens, rules.max_tokens, rules.parameters["max_tokens"]) == (bound, bound, bound)


def test_a_prefix_from_the_command_line_expands(loaded):
    made = loaded('model: m, base_url: "http://h"', ENV, "llm.endpoints.e.model=openai:gpt-4o").llm.endpoints[
        0
    ]
    assert (made.model, made.preset, made.base_url) == ("gpt-4o", "openai", "http://h")


def test_the_schema_for_editors_does_not_require_what_a_preset_sets():
    assert schema()["$defs"]["EndpointSettings"]["required"] == ["name", "model"]


def test_a_stored_configuration_has_the_reference_and_expands_to_itself(loaded, tmp_path):
    config = loaded('model: "openai:gpt-5-mini"')
    stored = config.stored()["llm"]["endpoints"][0]
    assert (stored["api_key"], stored["preset"], stored["model"]) == (
        "${OPENAI_API_KEY}",
        "openai",
        "gpt-5-mini",
    )
    assert "sk-of" not in str(config.stored())
    again = loaded(", ".join(f"{name}: {_yaml(value)}" for name, value in stored.items() if name != "name"))
    assert again.stored() == config.stored()


def _yaml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_yaml(each)}" for name, each in value.items()) + "}"
    return "null" if value is None else f'"{value}"' if isinstance(value, str) else str(value)


@pytest.mark.parametrize(
    ("endpoint", "in_words"),
    [
        ('model: "openai:gpt-5-mini"', False),
        ('model: "openai:gpt-5-mini", base_url: "http://gateway/v1"', True),
        ('model: "openai:gpt-5-mini", structured: json', True),
        ('model: "azure:gpt-5-mini", base_url: "https://mine.openai.azure.com"', False),
    ],
)
def test_the_host_decides_whether_the_fields_are_stated_in_words(loaded, endpoint, in_words):
    (made,) = loaded(endpoint, ENV | {"AZURE_OPENAI_API_KEY": "k"}).llm.endpoints
    assert dialect_of(made).describes_output is in_words
