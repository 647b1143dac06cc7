"""One `map` job at six providers, each with its own dialect, prices and ledger; one ends in the middle."""

from __future__ import annotations

import csv
import json
from decimal import Decimal

import pytest

ROWS = 500
MIDDLE = 30  # answers of the endpoint that ends, when it does
# By dialect: the path of `base_url`, more keys of the endpoint, the share of the input that a cache serves,
# the tokens of reasoning, and the prices of a million tokens: input, cached input, output, reasoning.
PROVIDERS = {
    "chat": ("/v1", {}, 0.0, 0, (2, 1, 8, 8)),
    "responses": ("/v1", {}, 0.5, 11, (3, 0.3, 12, 12)),
    "anthropic": ("", {}, 0.25, 0, (5, 0.5, 25, 25)),
    "gemini": ("/v1beta", {}, 0.4, 7, (1.25, 0.125, 10, 7.5)),
    "bedrock": ("", {"api_key": "key-of-bedrock"}, 0.75, 0, (4, 0.4, 20, 20)),
    "azure": ("", {"query": {"api-version": "2026-01-01"}}, 0.5, 5, (2.5, 1.25, 9, 11)),
}
NAMES = ("input", "cached_input", "output", "reasoning")


def endpoint(dialect, base):
    path, keys, _, _, prices = PROVIDERS[dialect]
    price = {f"{name}_usd_per_mtok": usd for name, usd in zip(NAMES, prices, strict=True)}
    named = {"name": dialect, "dialect": dialect, "base_url": base + path, "model": f"model-of-{dialect}"}
    return {**named, "price": price, "start_in_flight": 4, "max_in_flight": 4, **keys}


def dollars(dialect, sums):
    """Return what the answers in a ledger cost, by hand."""
    of_input, of_cached, of_output, of_reasoning = (Decimal(str(usd)) for usd in PROVIDERS[dialect][4])
    return (
        (sums.input_tokens - sums.cached_tokens) * of_input
        + sums.cached_tokens * of_cached
        + (sums.output_tokens - sums.reasoning_tokens) * of_output
        + sums.reasoning_tokens * of_reasoning
    ) / 10**6


@pytest.mark.parametrize(
    ("ends", "fault"),
    [("anthropic", {"kind": "status", "status": 529}), ("bedrock", {"kind": "hang"})],
    ids=["refuses", "hangs"],
)
async def test_500_rows_are_complete_and_the_books_equal_six_ledgers(driver, start_llm_here, ends, fault):
    servers = {
        dialect: await start_llm_here(
            *("--latency-s", "0.03", "--seed", str(number), "--cached-share", str(share)),
            *("--reasoning-tokens", str(reasoning)),
        )
        for number, (dialect, (_, _, share, reasoning, _)) in enumerate(PROVIDERS.items())
    }
    endpoints = [endpoint(dialect, server.base) for dialect, server in servers.items()]
    (driver.directory / "six.yaml").write_text(json.dumps({"llm": {"endpoints": endpoints, "timeout_s": 2}}))
    with (driver.directory / "rows.csv").open("w") as file:
        csv.writer(file).writerows([["text"], *([f"row {number}"] for number in range(ROWS))])

    columns = ("-c", "mood: good | bad", "-c", "score: 0..1")
    run = await driver.start(
        *("map", "rows.csv", "Classify: {text}", *columns),
        *("--config", "six.yaml", "-o", "out.csv", "--yes", "--json"),
    )
    await servers[ends].until(lambda stats: stats["billed"] >= MIDDLE)
    await servers[ends].control(faults=[fault])
    ended = await driver.finished(run, 0.0)

    assert ended.code == 0, ended.stderr
    with (driver.directory / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == [f"row {number}" for number in range(ROWS)]
    assert all(row["mood"] in {"good", "bad"} and not row["_error"] for row in rows)
    summary = ended.summary()
    sums = {dialect: (await server.ledger()).sums() for dialect, server in servers.items()}
    lines = {line["endpoint"]: line for line in summary["receipt"]}
    assert {dialect: (lines[dialect]["calls"], lines[dialect]["tokens"]) for dialect in lines} == {
        dialect: (
            each.billed,
            {
                "input": each.input_tokens,
                "output": each.output_tokens,
                "cached": each.cached_tokens,
                "cache_write": 0,
                "reasoning": each.reasoning_tokens,
            },
        )
        for dialect, each in sums.items()
    }
    for dialect, each in sums.items():
        assert lines[dialect]["cost_usd"] == pytest.approx(float(dollars(dialect, each)), abs=1e-9)
    total = sum(dollars(dialect, each) for dialect, each in sums.items())
    assert summary["cost_usd"] == pytest.approx(float(total), abs=1e-9)
    assert sum(each.billed for each in sums.values()) == summary["calls"]["billed"] == ROWS
    assert sums[ends].billed < min(each.billed for dialect, each in sums.items() if dialect != ends)
    assert sums[ends].requests > sums[ends].billed  # it was asked after it had ended
