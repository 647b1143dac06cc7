"""Where no price is known, the cost of tokens is unknown: null in documents, empty in tables, never 0."""

from __future__ import annotations

import csv

import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from actors.core.messages.journal import TaskView
from actors.core.messages.tasks import Task
from actors.core.messages.values import Priority, Usage
from cluster.http.routes.views import report_document, task_document
from cluster.report.results import ResultWriter
from cluster.report.summary import RunState, RunSummary, summary_json
from cluster.report.tables.columns import Layout, TableName
from cluster.report.tables.kinds import table_of
from cluster.report.tables.value_types import TEXT
from tests.unit.support.tables import lines, publish, rated, row, settings

ENDPOINT = {"name": "main", "base_url": "http://h.test/v1", "model": "m"}
PRICE = {"input_usd_per_mtok": 1.0}
SPENT, FREE, REUSED = Usage(10, 2, 0.25), Usage(10, 2), Usage()


@pytest.mark.parametrize(
    ("usage", "is_priced", "cost"),
    [
        (SPENT, True, 0.25),
        (FREE, True, 0.0),
        (FREE, False, None),
        (REUSED, False, 0.0),
        (SPENT, False, 0.25),  # a lower bound: another endpoint has a price
    ],
)
def test_a_cost_is_unknown_if_tokens_cost_nothing_and_an_endpoint_has_no_price(usage, is_priced, cost):
    assert usage.known_cost(is_priced=is_priced) == cost


def answered():
    one = rated()
    return replace(one, usage=FREE, items=(replace(one.items[0], usage=FREE),))


def configured(*, sources, **endpoint):
    return settings(sources=sources, llm={"endpoints": [{**ENDPOINT, **endpoint}]})


@pytest.mark.parametrize(("endpoint", "cost"), [({}, None), ({"price": PRICE}, 0.0)])
@pytest.mark.parametrize(
    ("name", "sources", "column"),
    [
        (TableName.REPORTS, True, "cost_usd"),
        (TableName.ITEMS, True, "cost_usd"),
        (TableName.ITEMS, False, "_cost_usd"),
    ],
)
def test_each_table_has_no_cost_without_a_price(name, sources, column, endpoint, cost):
    layout = Layout.of(configured(sources=sources, **endpoint), ("cost",))
    table = table_of(name, layout, {"text": TEXT})
    (found,) = table.rows(Task("a", {"text": "x"}), answered())
    assert found[column] == cost
    assert next(one for one in table.columns if one.name == column).type.is_nullable


def test_each_format_has_an_empty_cell_without_a_price(tmp_path):
    for form in ("jsonl", "csv", "parquet"):
        path = str(tmp_path / f"out.{form}")
        with ResultWriter.for_rows(configured(sources=False), path, extras=("cost",)) as writer:
            writer.open()
            writer.write(row(1, text="x"), answered(), 0)
            publish(writer)
    assert lines(tmp_path / "out.jsonl")[0]["_cost_usd"] is None
    (cells,) = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert cells["_cost_usd"] == ""
    assert pq.read_table(tmp_path / "out.parquet")["_cost_usd"].to_pylist() == [None]


@pytest.mark.parametrize(("is_priced", "cost"), [(False, None), (True, 0.0)])
def test_documents_have_no_cost_without_a_price(is_priced, cost):
    summary = RunSummary("r1", RunState.SUCCEEDED, 1.0, usage=FREE, is_priced=is_priced)
    report = report_document(answered(), is_priced=is_priced, with_items=True)
    view = TaskView("a", 0, "succeeded", {}, "", Priority.BATCH, 0.0, 1.0, 60.0)
    task = task_document(view, answered(), is_priced=is_priced)
    for document in (summary_json(summary), report, report["items"][0], task):
        assert document["cost_usd"] == cost
