"""A run with steps of vectors and rankings at a simulated endpoint: its tables, its books, and its end."""

from __future__ import annotations

import csv
import json

import pytest
from pyarrow import parquet

from simulators.dialects.embeddings import vector_of

TEXTS = ["hello", "other", "hello", "last"]


async def test_vectors_are_columns_of_every_format_and_cost_their_input(driver, start_llm_here):
    one = await start_llm_here("--latency-s", "0.01")
    price = {"input_usd_per_mtok": 100, "output_usd_per_mtok": 1000}
    made, words, ranks = (
        {"name": name, "base_url": f"{one.base}/v1", "model": name, "price": price} for name in "vwr"
    )
    ranks["price"] = {"request_usd": 0.25}
    job = {
        "name": "vectors",
        "tasks": {"kind": "inline", "tasks": [{"key": f"{at}", "params": {"text": text, "near": [text, "-"]}}
                                              for at, text in enumerate(TEXTS)]},
        "llm": {"endpoints": [made, words, ranks]},
        "evaluate": [
            {"name": "vector", "kind": "embedding", "input": "{text}", "endpoint": "v", "dimensions": 8},
            {"name": "ranks", "kind": "rerank", "query": "{text}", "documents": "near", "endpoint": "r"},
            {"name": "mood", "prompt": "Rate {text}", "output": {"mood": "good | bad"}},
        ],
        "output": {"format": ["jsonl", "csv", "parquet"], "tables": ["items"]},
    }  # fmt: skip
    (driver.directory / "job.yaml").write_text(json.dumps(job))

    ended = await driver.finished(await driver.start("run", "job.yaml", "--json"), 0.0)

    assert ended.code == 0, ended.stderr
    summary = ended.summary()
    (folder,) = (driver.directory / "runs").iterdir()
    lines = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    table = parquet.read_table(folder / "items.parquet")
    with (folder / "items.csv").open() as file:
        cells = [json.loads(row["vector"]) for row in csv.DictReader(file)]
    assert str(table.schema.field("vector").type) == "list<element: float>"
    assert [line["text"] for line in lines] == TEXTS
    for line, cell, arrow in zip(lines, cells, table["vector"].to_pylist(), strict=True):
        assert line["vector"] == cell == pytest.approx(vector_of(line["text"], 8), rel=1e-6)
        assert arrow == pytest.approx(cell, rel=1e-7)
        assert line["ranks"] == [1.0, 0.0]
        assert line["mood"] in {"good", "bad"}
    entries = [entry for entry in (await one.ledger()).entries if entry.billed]
    of_vectors = [entry for entry in entries if not entry.output_tokens]
    assert (len(of_vectors), len(entries)) == (6, 9)
    (books,) = (each for each in summary["receipt"] if each["endpoint"] == "v")
    assert (books["step"], books["calls"], books["tokens"]["output"]) == ("vector", 3, 0)
    assert books["cost_usd"] == pytest.approx(books["tokens"]["input"] * 1e-4)
    (ranked,) = (each for each in summary["receipt"] if each["endpoint"] == "r")
    counted = books["tokens"]["input"] + ranked["tokens"]["input"]
    assert counted == sum(entry.input_tokens for entry in of_vectors)
    assert (ranked["calls"], ranked["cost_usd"]) == (3, pytest.approx(0.75))
