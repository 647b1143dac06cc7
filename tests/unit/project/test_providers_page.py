"""The table of docs/providers.md agrees with the presets and their dialects."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from actors.llm.dialects.registry import dialect_of
from actors.llm.endpoint import EndpointSettings
from actors.llm.fields import FieldSpec
from actors.llm.forms import AnswerForm
from actors.llm.presets import presets

PAGE = (Path(__file__).parents[3] / "docs" / "providers.md").read_text(encoding="utf-8")
FRONT = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
LINES = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| `")]
ROWS = [(prefix, cells) for cells in LINES for prefix in re.findall(r"`(.*?)`", cells[0])]
URLS = {
    "vertex": "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/l",
    "azure": "https://a.openai.azure.com",
}
WORDS = {"yes": {True}, "no": {False}, "by model": {True, False}}
MODELS = ("gpt-4o", "anthropic.claude-haiku-4-5", "amazon.nova-lite-v1:0")


def test_every_preset_has_a_row_and_every_row_a_preset():
    assert sorted(prefix for prefix, _ in ROWS) == sorted(presets())


def test_the_front_page_counts_the_presets_besides_the_two_that_it_names():
    assert f"{len(presets()) - 2} other [providers and servers](docs/providers.md)" in FRONT


def test_every_variable_of_a_preset_is_named():
    named = {name for one in presets().values() for name in (*one.key_env, *one.base_url_env)}
    named |= {name for one in presets().values() for name in one.query_env.values()}
    assert [name for name in sorted(named) if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize(("prefix", "cells"), ROWS, ids=[prefix for prefix, _ in ROWS])
def test_a_row_says_what_the_preset_and_its_dialect_do(prefix, cells):
    _, dialects, members, in_words, price, rates = cells
    preset = presets()[prefix]
    assert f"`{preset.dialect}`" in dialects
    url = URLS.get(prefix, (preset.base_url or "").replace("${AWS_REGION}", "us-east-1"))
    used = [
        dialect_of(EndpointSettings(name="e", base_url=url, model=model, dialect=preset.dialect))
        for model in MODELS
    ]
    assert {dialect.describes_output for dialect in used} == WORDS[in_words.strip()]
    for model in re.findall(rf"\b{prefix}:([\w./:-]+)", PAGE):
        named = EndpointSettings(name="e", base_url=url, model=model, preset=prefix)
        named.look_up_price()
        is_listed = price.strip().startswith("yes") and not ("not of rankings" in price and "rerank" in model)
        assert is_listed == (named.known_price is not None)
    if "`" not in members:
        return  # it has no chat completions
    fields = TypeAdapter(dict[str, FieldSpec]).validate_python({"label": {"type": "string"}})
    body = used[1].prepare(AnswerForm("f", fields, 9)).body("Why?", None)
    (first, *_) = re.findall(r"`([\w.]+)`", members)
    assert all(f'"{name}"'.encode() in body for name in first.split("."))
    for name in re.findall(r"`([\w-]+)\*`", rates):
        header = f"{name}requests-remaining" if "anthropic" in name else f"{name}remaining-requests"
        assert used[0].rate_headers({header: "9"}) is not None
