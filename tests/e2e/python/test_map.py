"""A table is mapped from Python, on the local engine with the simulated model."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Literal

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web
from pydantic import BaseModel

import headrace
from simulators.dialects.embeddings import vector_of
from tests.e2e.support.scripted_server import completion

ROOT = Path(__file__).resolve().parents[3]
PROMPT = "Classify: {text}"
COLUMNS = {"mood": "positive | neutral | negative", "score": "0..1"}
QUICK = "llm: {simulator: {latency_s: 0.001}}\n"


@pytest.fixture
def here(place):
    """Return a working directory with fast.yaml, which names a fast simulated model."""
    (place / "fast.yaml").write_text(QUICK)
    return place


def test_five_lines_map_a_pandas_frame(here):
    frame = pd.DataFrame({"text": ["b", "a", None, "b"], "n": [3, 1, 2, 3]}, index=["x", "x", "y", "z"])
    made = headrace.map(frame, PROMPT, COLUMNS, config="fast.yaml")
    pd.testing.assert_frame_equal(made[["text", "n"]], frame)
    assert [str(dtype) for dtype in made.dtypes[2:]] == ["category", "Float64", "string"]
    assert list(made.columns[2:]) == ["mood", "score", "_error"]
    assert made["_error"].isna().tolist() == [True, True, False, True]
    assert made["_error"].iloc[2] == "null in text"
    assert made["score"].isna().tolist() == [False, False, True, False]
    assert made["mood"].iloc[0] == made["mood"].iloc[3], "equal prompts have one answer"


async def test_vectors_are_a_column_of_lists_in_a_table_of_any_kind(here):
    rows = [{"text": "a"}, {"text": "b"}]
    options = {"config": "fast.yaml", "params": {"dimensions": 4}, "embed": "text"}
    frame = await headrace.amap(pl.DataFrame(rows), **options)
    records = await headrace.amap(rows, **options)
    assert frame.columns == ["text", "embedding", "_error"]
    assert frame.schema["embedding"] == pl.List(pl.Float32)
    found = [row["embedding"] for row in records]
    assert found == [pytest.approx(vector_of(row["text"], 4), rel=1e-6) for row in rows]
    assert frame["embedding"].to_list() == [pytest.approx(each, rel=1e-6) for each in found]
    with pytest.raises(headrace.errors.ConfigError, match="leave out prompt, columns"):
        await headrace.amap(rows, PROMPT, COLUMNS, embed="text")
    with pytest.raises(headrace.errors.ConfigError, match=r"embed.*\{mood\}"):
        await headrace.amap(rows, embed="{mood}", config="fast.yaml")


async def test_tables_of_other_kinds_are_mapped_beside_a_running_event_loop(here):
    class Mood(BaseModel):
        mood: Literal["positive", "neutral", "negative"]
        score: float

    rows = [{"text": "a"}, {"text": "b"}]
    options = {"config": "fast.yaml"}
    polars, arrow, records = await asyncio.gather(
        headrace.amap(pl.DataFrame(rows), PROMPT, Mood, **options),
        headrace.amap(pa.Table.from_pylist(rows), f"Arrow. {PROMPT}", Mood, **options),
        headrace.amap(iter(rows), f"Records. {PROMPT}", Mood, **options),
    )
    assert polars.schema["mood"] == pl.Enum(["positive", "neutral", "negative"])
    assert arrow.schema.field("score").type == pa.float64()
    assert [list(row) for row in records] == [["text", "mood", "score", "_error"]] * 2


async def test_a_call_that_blocks_works_within_a_running_event_loop(here):
    made = headrace.map([{"text": "a"}], PROMPT, COLUMNS, config="fast.yaml")
    assert made[0]["_error"] is None


def test_a_file_becomes_a_table_or_another_file(here):
    pd.DataFrame({"text": ["a", "b", "c"]}).to_csv("rows.csv", index=False)
    made = headrace.map("rows.csv", PROMPT, COLUMNS, config="fast.yaml", limit=2)
    assert made.column_names == ["text", "mood", "score", "_error"]
    assert made.num_rows == 2
    written = headrace.map("rows.csv", PROMPT, COLUMNS, config="fast.yaml", output="out.parquet")
    assert written == Path("out.parquet")
    assert pq.read_table(written).num_rows == 3


def test_some_rows_of_a_table_are_asked_and_only_these_are_returned(here):
    frame = pd.DataFrame({"text": list("abcdefgh")}, index=range(10, 18))
    first = headrace.map(frame, PROMPT, COLUMNS, config="fast.yaml", limit=2)
    assert first.index.tolist() == [10, 11]
    drawn = headrace.map(frame, PROMPT, COLUMNS, config="fast.yaml", sample=3, output="out.csv")
    assert len(drawn) == 3
    assert drawn["text"].tolist() == [frame["text"][label] for label in drawn.index]
    assert pd.read_csv("out.csv")["text"].tolist() == drawn["text"].tolist(), "the table is written, too"


def test_a_table_without_rows_gets_its_columns_and_asks_nothing(here):
    frame = pd.DataFrame({"text": []})
    made = headrace.map(frame, PROMPT, COLUMNS, config="fast.yaml", output="out.csv")
    assert pd.read_csv("out.csv").columns.tolist() == made.columns.tolist()
    assert [str(dtype) for dtype in made.dtypes[1:]] == ["category", "Float64", "string"]
    assert made["mood"].cat.categories.tolist() == ["positive", "neutral", "negative"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": "Classify: {txt}"}, "txt"),
        ({"columns": {"score": "0-1"}}, "did you mean 'score: 0..1'?"),
        ({"columns": {"text": "str"}}, "text"),
        ({"model": "gpt"}, "nothing says where this model is served"),
        ({"table": ["a"]}, 'write [{"text": each} for each in texts]'),
        ({"prompt": ""}, "the prompt is a text"),
        ({"prompt": None}, "the prompt is a text"),
        ({"errors": "ignore"}, "errors is 'keep' or 'raise'"),
        ({"limit": 0}, "limit is a number of rows, at least 1"),
        ({"limit": 1, "sample": 1}, "limit and sample exclude each other"),
        ({"output": "out.xyz"}, "out.xyz"),
        ({"budget": 1.0, "base_url": "http://127.0.0.1:9/v1", "model": "m"}, "price"),
        ({"table": [{"key": "a", "text": "x"}, {"key": "a", "text": "y"}]}, "keys must be unique"),
        ({"deadline": "soon"}, "write 45m, 4h, 2d or 06:00"),
    ],
    ids=str,
)
def test_mistakes_are_errors_before_anything_is_asked(here, change, message):
    call = {"table": [{"text": "a"}], "prompt": PROMPT, "columns": COLUMNS, "model": "sim", **change}
    with pytest.raises(headrace.errors.ConfigError) as caught:
        headrace.map(**call)
    assert message in str(caught.value)
    assert not (here / ".headrace" / "state.db").exists()


async def test_a_failed_row_is_kept_or_raised(here, server):
    async def answer(request):
        text = "no JSON" if b"bad" in await request.read() else '{"score": 0.5}'
        return web.Response(body=completion(text))

    server.behaviour = answer
    frame = pd.DataFrame({"text": ["good", "bad", "fine"]})
    call = (frame, PROMPT, {"score": "0..1"})
    endpoint = {"model": "m", "base_url": server.url, "api_key": "sk-1"}
    made = await headrace.amap(*call, **endpoint)
    assert made["score"].fillna(-1).tolist() == [0.5, -1, 0.5]
    assert made["_error"].isna().tolist() == [True, False, True]
    with pytest.raises(headrace.errors.MapStoppedError, match="retry_failed=True continues"):
        await headrace.amap(*call, **endpoint, errors="raise", fresh=True)
    assert "sk-1" not in (here / ".headrace" / "state.db").read_bytes().decode(errors="replace")


SCRIPT = """\
import headrace
rows = [{"text": str(number)} for number in range(40)]
try:
    headrace.map(rows, "Classify: {text}", {"score": "0..1"}, config="slow.yaml")
except KeyboardInterrupt:
    print("interrupted")
"""


async def test_ctrl_c_keeps_the_answers_and_the_same_call_pays_for_none_of_them_again(here):
    ledger = here / "ledger.jsonl"
    slow = f"llm: {{simulator: {{latency_s: 0.4, sigma: 0, cap: 2, ledger: {ledger}}}}}\n"
    (here / "slow.yaml").write_text(slow)
    env, pipe = {**os.environ, "PYTHONPATH": str(ROOT)}, asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRIPT, stdout=pipe, stderr=pipe, env=env
    )
    try:
        async with asyncio.timeout(60):
            while not ledger.exists() or ledger.read_bytes().count(b"\n") < 3:
                await asyncio.sleep(0.05)
        os.kill(running.pid, signal.SIGINT)
        out, err = await asyncio.wait_for(running.communicate(), 60)
    finally:
        if running.returncode is None:
            running.kill()
    assert (out, err) == (b"interrupted\n", b"")
    (here / "slow.yaml").write_text(slow.replace("0.4", "0.001").replace("cap: 2, ", ""))
    rows = [{"text": str(number)} for number in range(40)]
    made = await headrace.amap(rows, PROMPT, {"score": "0..1"}, config="slow.yaml")
    assert [row["_error"] for row in made] == [None] * 40
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    answered = Counter(entry["body"] for entry in entries if entry["phase"] == "sent")
    assert len(answered) == 40
    assert answered.total() <= 42, "two were in flight when it stopped"


async def test_the_files_of_a_column_are_sent_with_the_prompt_and_one_that_is_missing_fails_its_row(
    here, server
):
    png = b"\x89PNG\r\n\x1a\n"
    (here / "photos").mkdir()
    (here / "photos" / "a.png").write_bytes(png)
    (here / "photos" / "b.txt").write_text("a text")
    server.answer(completion('{"mood": "neutral"}'))
    rows = [{"photo": "photos/a.png"}, {"photo": "photos/b.txt"}, {"photo": "photos/none"}, {"photo": None}]

    made = await headrace.amap(
        rows,
        "What is this?",
        {"mood": "positive | neutral | negative"},
        attach=["photo"],
        model="m",
        base_url=server.url,
    )

    assert [row["mood"] for row in made] == ["neutral", "neutral", None, "neutral"]
    assert "attachment photos/none: No such file" in made[2]["_error"]
    asked = [
        json.loads(body)["messages"][-1]["content"] for path, _, body in server.requests if "chat" in path
    ]
    assert len(asked) == 3
    [picture] = [each for each in asked if isinstance(each, list)]
    assert picture[0] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    assert "What is this?" in picture[1]["text"]
    assert any("[b.txt]\na text" in each for each in asked if isinstance(each, str))
