"""A table is mapped at an endpoint of each dialect, and every answer is paid for once."""

from __future__ import annotations

import json

import pytest

import headrace
from actors.llm.dialects.registry import dialect_names

ROWS = 20
PATHS = {"anthropic": "", "azure": "", "bedrock": "", "cohere": "", "gemini": "/v1beta"}  # others: /v1


@pytest.mark.parametrize("dialect", dialect_names())
async def test_a_table_is_complete_and_each_row_is_billed_once(place, start_llm_here, dialect):
    one = await start_llm_here("--cached-share", "0.5", "--reasoning-tokens", "7")
    url = one.base + PATHS.get(dialect, "/v1")
    keys = {"name": "main", "model": "m", "dialect": dialect, "base_url": url, "api_key": "sk-test"}
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
