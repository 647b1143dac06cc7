"""The examples run as their first lines say, from a copy of the folder, without a key and within seconds."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import ROOT

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def examples(driver) -> Path:
    copy: Path = driver.directory / "examples"
    shutil.copytree(ROOT / "examples", copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def result(driver, name: str) -> Path:
    """Return a result file of the only run."""
    (path,) = (driver.directory / "runs").glob(f"*/{name}")
    return path


async def test_product_reviews_get_columns(driver, examples):
    columns = ("-c", "sentiment: positive | neutral | negative", "-c", "score: 0..1")
    command = ("map", "examples/reviews.csv", "Classify: {text}", *columns, "-m", "sim", "-o", "out.parquet")
    ended = await driver(*command)
    assert ended.code == 0
    table = pq.read_table(driver.directory / "out.parquet")
    with (examples / "reviews.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert table["text"].to_pylist() == [row["text"] for row in rows]
    assert len(rows) == 500
    assert {*table["sentiment"].to_pylist()} <= {"positive", "neutral", "negative"}
    assert all(0 <= score <= 1 for score in table["score"].to_pylist())


async def test_documents_in_a_folder_are_judged_against_a_rubric(driver, examples):
    ended = await driver("run", "examples/proposals/rubric.yaml")
    assert ended.code == 0
    lines = [json.loads(line) for line in result(driver, "reports.jsonl").read_text().splitlines()]
    assert [line["key"] for line in lines] == ["book-box", "repair-cafe", "night-bus", "swift-boxes"]
    assert all(len(line["dimensions"]) == 3 and line["overall"] is not None for line in lines)
    with result(driver, "items.csv").open(newline="") as file:
        items = list(csv.DictReader(file))
    assert len(items) == 16
    assert all(item["note"] and item["state"] == "succeeded" for item in items)


async def test_a_live_api_is_read_page_by_page(driver, examples):
    beside = (sys.executable, "examples/paged_api.py", "--")
    ended = await driver("run", "examples/paged_api.yaml", through=beside)
    assert ended.code == 0
    lines = [json.loads(line) for line in result(driver, "reports.jsonl").read_text().splitlines()]
    assert {line["key"]: line["sources"]["faults"]["items"] for line in lines} == {
        "station": 7,
        "library": 4,
        "town-hall": 1,
    }


def test_every_command_in_the_first_lines_of_an_example_is_one_that_a_test_runs():
    run_here = Path(__file__).read_text()
    for path in (ROOT / "examples").rglob("*.yaml"):
        commands = re.findall(r"^# .*headrace (\w+ \S+)", path.read_text(), re.MULTILINE)
        assert commands, path
        assert all(command.replace(" ", '", "') in run_here for command in commands)
