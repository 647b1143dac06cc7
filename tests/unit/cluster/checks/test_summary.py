from __future__ import annotations

import pytest

from actors.llm.dialects.gemini import GeminiDialect
from cluster.checks.summary import summary_lines
from cluster.config.model import HeadraceConfig, load

SMALL = {
    "sources": [{"name": "wire", "kind": "simulated"}],
    "evaluate": {"prompt": "Rate {text}", "output": {"quality": {"type": "number", "min": 0, "max": 1}}},
    "dimensions": [{"name": "quality", "field": "quality", "synthesize": "x"}],
}
SECRET = "s3cr3t-t0ken"  # noqa: S105 - a made-up one


def lines(**sections) -> list[str]:
    return summary_lines(HeadraceConfig.model_validate(SMALL | sections))


def test_calls_are_counted_where_they_can_be():
    counted = lines(tasks={"kind": "range", "count": 1000})
    assert "tasks: 1,000, keys begin with 'task-'" in counted
    assert "calls: 5 a task (4 items, 1 for findings), 5,000 in all" in counted
    listed = lines(tasks={"kind": "inline", "tasks": ["a", "b"]})
    assert "tasks: 2, listed in the configuration" in listed
    assert "calls: 5 a task (4 items, 1 for findings), 10 in all" in listed


def test_calls_of_tasks_in_a_file_are_told_for_one_task():
    told = lines(tasks={"kind": "file", "path": "tasks.jsonl"})
    assert "tasks: read from tasks.jsonl" in told
    assert "calls: 5 a task (4 items, 1 for findings)" in told


def test_calls_are_not_counted_where_a_source_decides_on_them():
    told = lines(sources=[*SMALL["sources"], {"name": "notes", "kind": "files", "path": "{key}.md"}])
    assert "tasks: none, they come over HTTP or from --tasks" in told
    assert "sources: wire (simulated), notes (files)" in told
    assert "calls: one for each item of a task (how many is known once fetched), and 1 for findings" in told


def test_what_a_preset_sets_is_told_with_the_variable_of_the_key(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(
        'llm: {endpoints: [{name: fast, model: "openai:gpt-5-mini"}]}\n'
        'evaluate: {prompt: "{text}", output: {x: {type: string}}}\n'
    )
    told = summary_lines(load(path, env={"OPENAI_API_KEY": SECRET}))
    (line,) = [line for line in told if line.startswith("endpoint fast: ")]
    assert line.startswith("endpoint fast: preset openai of 2026-")
    assert "dialect chat, POST https://api.openai.com/v1/chat/completions, key ${OPENAI_API_KEY}" in line
    assert "max_tokens_as max_completion_tokens, system_as developer" in line
    assert "refuses temperature top_p stop and 5 more" in line


def test_a_simulator_and_an_endpoint_are_told_apart():
    assert "endpoint: a simulated model, started for the run (0.3 s an answer)" in lines()
    endpoint = {"name": "main", "base_url": "http://h/v1", "model": "sim", "api_key": SECRET}
    told = lines(llm={"endpoints": [endpoint]})
    assert "endpoint: main, model sim at http://h/v1, at most 1,000 in flight, no price" in told
    assert any(line.startswith("cost: unknown; no price is known for main (model sim)") for line in told)
    assert not any(SECRET in line for line in told)


@pytest.mark.parametrize(
    ("keys", "price"),
    [
        ({"base_url": "https://api.openai.com/v1"}, "listed at $0.25 in and $2 out per million tokens"),
        ({"price": {"input_usd_per_mtok": 1.5}}, "$1.5 in and $0 out per million tokens"),
        ({"price": {}}, "free"),
    ],
)
def test_the_price_of_an_endpoint_is_told_with_its_origin(keys, price):
    endpoint = {"name": "main", "base_url": "http://h/v1", "model": "gpt-5-mini", **keys}
    told = lines(llm={"endpoints": [endpoint]})
    assert any(line.endswith(f"at most 1,000 in flight, {price}") for line in told)
    assert not any(line.startswith("cost:") for line in told)


@pytest.mark.parametrize(
    ("limits", "budget"),
    [
        ({}, "none set"),
        ({"budget_usd": 5}, "5 USD"),
        ({"budget_usd": 0.5, "budget_tokens": 10**6}, "0.5 USD and 1,000,000 tokens"),
    ],
)
def test_the_budget_is_told(limits, budget):
    assert f"budget: {budget}" in lines(limits=limits)


def test_the_place_of_a_store_is_told_unless_it_may_hold_a_password():
    assert "store: sqlite at s.db, keep auto" in lines(store={"kind": "sqlite", "path": "s.db"})
    assert "store: postgres, keep calls" in lines(store={"kind": "postgres", "url": SECRET, "keep": "calls"})


def test_a_configuration_without_sources_is_described_with_its_steps():
    steps = [
        {
            "name": "triage",
            "endpoint": "fast",
            "prompt": "{text}",
            "output": {"label": "a | b", "sure": "0..1"},
        },
        {"name": "verdict", "when": "sure < 0.5", "prompt": "{text}", "output": {"why": "str"}},
    ]
    endpoint = {"name": "fast", "base_url": "http://h/v1", "model": "m"}
    config = HeadraceConfig.model_validate(
        {
            "tasks": {"kind": "file", "path": "a.csv"},
            "evaluate": steps,
            "llm": {"endpoints": [endpoint]},
            "output": {"format": ["csv", "parquet"]},
        }
    )
    told = summary_lines(config, 500)
    assert "tasks: 500, read from a.csv" in told
    assert "sources: none, each task is its own item" in told
    assert "step triage: label, sure, at fast" in told
    assert "step verdict: why, asked if sure < 0.5" in told
    assert "calls: at most 2 a task (1 item, 2 steps), at most 1,000 in all" in told
    assert "output: items as csv and parquet in runs" in told


def test_a_task_without_sources_is_one_call():
    told = summary_lines(HeadraceConfig.model_validate({"evaluate": SMALL["evaluate"]}))
    assert "calls: 1 a task (1 item)" in told
    assert "dimensions: none" in told


def test_a_step_with_files_names_the_endpoints_that_take_only_texts(monkeypatch):
    monkeypatch.setattr(GeminiDialect, "attaches", frozenset())
    endpoints = [
        {"name": name, "base_url": f"http://{name}/v1", "model": "m", "dialect": dialect}
        for name, dialect in (("a", "chat"), ("g", "gemini"))
    ]
    step = {"name": "look", "prompt": "{text}", "attach": "path", "output": {"x": {"type": "string"}}}

    def told(**more):
        config = lines(llm={"endpoints": endpoints}, evaluate=step | more, dimensions=[])
        return [line for line in config if "only texts" in line]

    (line,) = told()
    assert line.startswith("step look: an image or a PDF document fails its item at g (dialect gemini), ")
    assert told(endpoint="a") == told(attach=()) == []


def test_an_endpoint_of_vectors_is_described_with_their_url(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(
        'llm: {endpoints: [{name: v, model: "openai:text-embedding-3-small"}]}\n'
        'evaluate: {kind: embedding, input: "{text}", endpoint: v}\n'
    )
    told = summary_lines(load(path, env={"OPENAI_API_KEY": SECRET}))
    (line,) = [line for line in told if line.startswith("endpoint v: ")]
    assert "POST https://api.openai.com/v1/embeddings" in line
