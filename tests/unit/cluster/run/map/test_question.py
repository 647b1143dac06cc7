"""What `map` asks becomes a complete configuration, and a mistake is named by the user's own words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.core.errors import ConfigError
from cluster.config.loading import loaded
from cluster.run.map.question import (
    MapQuestion,
    embedded,
    map_config,
    map_document,
    run_name,
    saved_document,
)

LABEL = {"label": {"type": "string", "choices": ["yes", "no"]}}
QUESTION = MapQuestion("Classify: {text}", LABEL, name="reviews", model="sim")
KEYS = {"OPENAI_API_KEY": "sk-of-openai", "HEADRACE_API_KEY": "sk-of-headrace", "MINE": "sk-of-mine"}


def problem_of(env=None, **changes) -> str:
    with pytest.raises(ConfigError) as caught:
        map_config(replace(QUESTION, **changes), env or {})
    return str(caught.value)


@pytest.mark.parametrize(
    "prompt",
    [
        "Classify: {text}",
        "line one: {text}\n\n  indented # no comment\nlast",
        " begins with a blank: {text}\nand ends with one ",
        "tab\tand \x1b escape {text}\nline",
        "${HOME} is no reference: {text}\n$${HOME}",
        "'single' \"double\" & * ! | > % @ {text}",
        "no",
        "1.5",
    ],
)
def test_the_users_words_are_literal(prompt, tmp_path):
    question = replace(QUESTION, prompt=prompt, system=prompt)
    config = map_config(question, {"HOME": "elsewhere"})
    assert (config.steps[0].prompt, config.steps[0].system) == (prompt, prompt)
    path = tmp_path / "job.yaml"
    path.write_text(map_document(question, {}), encoding="utf-8")
    assert loaded(path, env={"HOME": "elsewhere"}).steps == config.steps


def test_the_configuration_is_in_map_form_and_shares_answers_across_runs():
    config = map_config(QUESTION, {})
    assert (config.name, config.is_map, config.llm.cache) == ("map-reviews", True, True)
    assert config.llm.simulator is not None
    assert [*config.steps[0].output["label"].choices] == ["yes", "no"]


@pytest.mark.parametrize(
    ("more", "endpoint"),
    [
        ({}, ("simulator",)),
        ({"model": "openai:text-embedding-3-small"}, ("main",)),
        ({"model": "m", "base_url": "http://h/v1"}, ("main",)),
    ],
)
def test_vectors_are_asked_of_the_model_that_is_named(more, endpoint):
    question = replace(QUESTION, prompt=embedded("text"), output=None, embed="embedding", **more)
    (step,) = map_config(replace(question, params={"dimensions": 8}), KEYS).steps
    assert (step.kind, step.name, step.input, step.endpoint) == (
        "embedding",
        "embedding",
        "{text}",
        endpoint,
    )
    assert step.parameters == {"dimensions": 8}
    assert embedded("{title}. {text}") == "{title}. {text}"


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("my reviews (2)", "map-my-reviews-2"),
        ("...", "map-rows"),
        ("é", "map-rows"),
        ("a" * 99, "map-" + "a" * 48),
    ],
)
def test_a_run_is_named_after_its_input(stem, name):
    assert run_name(stem) == name


def test_the_bound_and_the_parameters_of_an_answer_are_those_of_the_step():
    step = map_config(
        replace(QUESTION, max_tokens=900, params={"temperature": 0, "stop": ["${A}"]}), {}
    ).steps[0]
    assert (step.max_tokens, step.params) == (900, {"temperature": 0, "stop": ["${A}"]})
    assert problem_of(max_tokens=0).startswith("--max-tokens: ")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("azure:gpt-4o", "-m azure:gpt-4o: environment variable AZURE_OPENAI_ENDPOINT is not set"),
        ("anthropic/claude-x", "write -m anthropic:claude-x,"),
        ("groq/llama", "write -m groq:llama,"),
        ("claude:claude-x", "did you mean anthropic:claude-x?"),
        ("google:gemini-x", "did you mean gemini:gemini-x?"),
    ],
)
def test_a_model_that_lacks_something_is_named_with_what_it_lacks(model, said):
    problem = problem_of({"AZURE_OPENAI_API_KEY": "k"}, model=model)
    assert said in problem
    assert "AZURE_OPENAI_API_KEY" not in problem


# ---- models ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "env", "endpoint"),
    [
        ({"model": "openai:gpt-x"}, KEYS, ("gpt-x", "https://api.openai.com/v1", "sk-of-openai")),
        (
            {"model": "openai:gpt-x"},
            {**KEYS, "OPENAI_BASE_URL": "http://proxy.test/v1"},
            ("gpt-x", "http://proxy.test/v1", "sk-of-openai"),
        ),
        ({"model": "m:7b", "base_url": "http://h.test"}, KEYS, ("m:7b", "http://h.test", "sk-of-headrace")),
        ({"model": "m", "base_url": "http://h.test"}, {}, ("m", "http://h.test", "none")),
        ({"model": "ollama:llama3:8b"}, KEYS, ("llama3:8b", "http://localhost:11434/v1", "none")),
        (
            {"model": "openai:x", "base_url": "http://h.test", "api_key_env": "MINE"},
            KEYS,
            ("x", "http://h.test", "sk-of-mine"),
        ),
        (
            {"model": "sim", "base_url": "http://h.test", "api_key_env": "MINE"},
            KEYS,
            ("sim", "http://h.test", "sk-of-mine"),
        ),
    ],
)
def test_a_model_names_its_endpoint_and_its_key(changes, env, endpoint):
    (made,) = map_config(replace(QUESTION, **changes), env).llm.endpoints
    assert (made.model, made.base_url, made.api_key.get_secret_value()) == endpoint
    assert "sk-" not in map_document(replace(QUESTION, **changes), env)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": None}, "no model is named; give -m sim"),
        ({"model": None, "base_url": "http://h.test"}, "needs the name of a model: -m NAME"),
        ({"model": "openia:gpt"}, "-m openia:gpt: unknown provider 'openia': did you mean openai:gpt?"),
        ({"model": "qqq:x"}, "-m qqq:x: unknown provider 'qqq': known: openai, azure, "),
        ({"model": "llama3:8b"}, "-m llama3:8b: unknown provider 'llama3': did you mean ollama:llama3:8b?"),
        ({"model": "groq:x"}, "-m groq:x: the environment variable GROQ_API_KEY is not set"),
        ({"model": "gpt-x"}, "write -m openai:gpt-x, or give --base-url URL"),
        ({"model": "simulator"}, "did you mean -m sim?"),
        ({"model": "openai:gpt"}, "the environment variable OPENAI_API_KEY is not set"),
        ({"api_key_env": "MY_KEY"}, "--api-key-env MY_KEY: this environment variable is not set"),
        ({"model": "m", "base_url": "h.test/v1"}, "--base-url: must be an http:// or https:// URL"),
        ({"prompt": ""}, "the prompt: "),
        ({"output": {"a b": {"type": "string"}}}, "-c a b: "),
        ({"output": {"a": {"type": "strin"}}}, "-c a: unknown kind (got strin,"),
        ({"budget_usd": -1.0}, "--budget: wrong value (got -1"),
        (
            {"overrides": ("llm.timeout=1",)},
            "--set llm.timeout: llm.timeout: unknown key; did you mean timeout_s?",
        ),
    ],
)
def test_a_mistake_is_named_by_what_the_user_gave(changes, words):
    assert words in problem_of(**changes)


@pytest.fixture
def shared(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: other\n"
        "sources: [{name: s, kind: simulated}]\n"
        "llm:\n"
        "  timeout_s: 7\n"
        "  endpoints:\n"
        '    - {name: fast, base_url: "http://fast.test/v1", model: small, api_key: "${MINE}"}\n'
        '    - {name: strong, base_url: "http://strong.test/v1", model: large, api_key: "${MINE}"}\n'
        "evaluate: {prompt: other, output: {x: {type: string}}}\n"
        "store: {kind: memory}\n"
        "telemetry: {log_format: json}\n"
    )
    return path


def test_a_configuration_lends_its_models_and_its_store(shared):
    config = map_config(replace(QUESTION, model=None, config=shared), KEYS)
    assert [endpoint.name for endpoint in config.llm.endpoints] == ["fast", "strong"]
    assert (config.name, config.is_map, config.store.kind, config.llm.timeout_s) == (
        "map-reviews",
        True,
        "memory",
        7,
    )
    assert config.steps[0].endpoints == ()
    assert config.telemetry.log_format == "json"


@pytest.mark.parametrize("model", ["strong", "large"])
def test_a_model_selects_an_endpoint_of_the_configuration(shared, model):
    assert map_config(replace(QUESTION, model=model, config=shared), KEYS).steps[0].endpoints == ("strong",)


def test_a_mistake_in_a_configuration_names_it(shared):
    assert "mine.yaml: llm.endpoints" not in problem_of(KEYS, config=shared, model="stron")
    assert "-m stron: the configuration has no such endpoint; did you mean strong?" in problem_of(
        KEYS, config=shared, model="stron"
    )
    assert f"{shared}: llm.endpoints.0.api_key" in problem_of(config=shared, model=None)
    shared.write_text("llm: [")
    assert f"{shared}:1:7: not valid YAML" in problem_of(config=shared, model=None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("llm: !!python/object/apply:os.system ['true']\n", "tags"),
        ("llm: " + "[" * 5000, "nested too deeply"),
        ("llm: {endpoints: [\n", ""),
        ("- llm\n", "no mapping"),
    ],
    ids=["tag", "depth", "open", "list"],
)
def test_a_broken_configuration_is_refused_with_its_place(tmp_path, text, problem):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    said = problem_of(config=path, model=None)
    assert said.startswith(f"{path}:")
    assert problem in said


@pytest.mark.parametrize(
    ("written", "is_refused"),
    [
        ("base_url: http://h.test/v1, api_key: hunter2x", True),
        ("base_url: 'http://u:pw@h.test/v1', api_key: none", True),
        ("base_url: http://h.test/v1, api_key: '${MINE}'", False),
        ("base_url: http://h.test/v1, api_key: none", False),
    ],
)
def test_a_saved_configuration_holds_no_secret(tmp_path, written, is_refused):
    path = tmp_path / "mine.yaml"
    path.write_text(f"llm: {{endpoints: [{{name: a, model: m, {written}}}]}}\n")
    question = replace(QUESTION, prompt="Is https://u:pw@h.test/?q={text} fine?", config=path, model=None)
    if is_refused:
        with pytest.raises(ConfigError, match=r"--save: llm\.endpoints\.0\.\w+ holds a secret") as caught:
            saved_document(question, KEYS)
        assert "hunter2x" not in str(caught.value)
    else:
        assert written.partition("api_key: ")[2].strip("'") in saved_document(question, KEYS)


def test_a_saved_configuration_holds_the_overrides(tmp_path):
    overrides = ("evaluate.params={temperature: 0}", "llm.timeout_s=7", "llm.endpoints.0.api_key=${MINE}")
    prompt = "one ${HOME} {text}\ntwo: '5'"
    question = replace(
        QUESTION, prompt=prompt, model="m", base_url="http://h.test/v1", overrides=overrides, system="5"
    )
    path = tmp_path / "job.yaml"
    path.write_text(saved_document(question, KEYS), encoding="utf-8")
    saved, asked = loaded(path, env=KEYS), map_config(question, KEYS)
    assert (saved.steps, saved.llm) == (asked.steps, asked.llm)
    secret = replace(question, overrides=("llm.endpoints.0.api_key=hunter2x",))
    with pytest.raises(ConfigError, match=r"--save: llm\.endpoints\.0\.api_key holds a secret"):
        saved_document(secret, KEYS)


def test_a_budget_without_a_price_names_the_flag_that_sets_it():
    said = problem_of(model="m", base_url="http://h.test/v1", budget_usd=5)
    assert said == (
        "--budget: no price is known for main (model m); set it in US dollars per million tokens, such as "
        "--set 'llm.endpoints.0.price={input_usd_per_mtok: 0.5, output_usd_per_mtok: 1.5}'"
    )
