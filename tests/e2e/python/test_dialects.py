"""A table is mapped at an endpoint of each dialect, and every answer is paid for once."""

from __future__ import annotations

import json

import pytest

import headrace

ROWS = 20
# The keys of an endpoint at the simulator by dialect; `base` is its URL without a path.
ENDPOINTS = {
    "anthropic": {"base_url": "{base}", "params": {"reasoning_effort": "low"}},
    "bedrock": {"base_url": "{base}", "api_key": "key", "params": {"reasoning_effort": "low"}},
    "chat": {"base_url": "{base}/v1", "params": {"reasoning_effort": "low"}},
    "gemini": {"base_url": "{base}/v1beta", "params": {"reasoning_effort": "low"}},
    "responses": {"base_url": "{base}/v1", "params": {"reasoning_effort": "low"}},
}


@pytest.mark.parametrize("dialect", ENDPOINTS)
async def test_a_table_is_complete_and_each_row_is_billed_once(place, start_llm_here, dialect):
    one = await start_llm_here("--cached-share", "0.5", "--reasoning-tokens", "7")
    keys = {"name": "main", "model": "m", "dialect": dialect, **ENDPOINTS[dialect]}
    keys["base_url"] = keys["base_url"].format(base=one.base)
    (place / "one.yaml").write_text(json.dumps({"llm": {"endpoints": [keys]}}))
    rows = [{"text": f"row {number}"} for number in range(ROWS)]

    made = await headrace.amap(
        rows, "Classify: {text}", {"mood": "good | bad", "score": "0..1"}, config="one.yaml"
    )

    assert [row["text"] for row in made] == [row["text"] for row in rows]
    assert [row["_error"] for row in made] == [None] * ROWS
    assert all(row["mood"] in {"good", "bad"} and 0 <= row["score"] <= 1 for row in made)
    entries = (await one.ledger()).entries
    assert sum(entry.billed for entry in entries) == ROWS
    assert {entry.status for entry in entries} == {200}
