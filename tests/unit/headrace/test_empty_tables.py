"""`headrace.map` of a table without rows returns a table without rows and makes no call."""

from __future__ import annotations

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import headrace
from actors.core.errors import ConfigError

NEW = ["label", "_error"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mapped(table, **options):
    return headrace.map(table, "{text}", {"label": "yes | no"}, model="sim", progress=False, **options)


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (pd.DataFrame({"text": []}), lambda frame: [*frame.columns]),
        (pl.DataFrame({"text": []}), lambda frame: frame.columns),
        (pa.table({"text": pa.array([], pa.string())}), lambda table: table.column_names),
    ],
    ids=["pandas", "polars", "pyarrow"],
)
def test_a_table_in_memory_has_the_new_columns(folder, table, names):
    ended = mapped(table, output="out.parquet")
    assert type(ended) is type(table)
    assert (names(ended), len(ended)) == (["text", *NEW], 0)
    assert pq.read_schema(folder / "out.parquet").names == ["text", *NEW]


def test_an_empty_list_gives_an_empty_list(folder):
    assert mapped([], output="out.csv") == []
    assert (folder / "out.csv").read_text().strip().replace('"', "").split(",") == NEW
    assert mapped({} for _ in ()) == []


def test_a_file_gives_a_table_with_the_columns_of_its_header(folder):
    (folder / "none.csv").write_text("id,text\n")
    ended = mapped(str(folder / "none.csv"))
    assert (ended.column_names, ended.num_rows) == (["id", "text", *NEW], 0)


def test_a_parquet_file_keeps_its_types(folder):
    pq.write_table(
        pa.table({"text": pa.array([], pa.string()), "n": pa.array([], pa.int16())}), "none.parquet"
    )
    assert mapped("none.parquet").schema.field("n").type == pa.int16()


def test_a_wrong_name_is_an_error_also_without_rows():
    with pytest.raises(ConfigError, match="txt"):
        headrace.map(pd.DataFrame({"text": []}), "{txt}", {"label": "yes | no"}, model="sim")


def test_a_file_that_is_no_result_is_replaced_only_on_request(folder):
    (folder / "mine.csv").write_text("id\n1\n")
    with pytest.raises(ConfigError, match=r"mine.csv exists.*overwrite=True"):
        mapped([], output="mine.csv")
    mapped([], output="mine.csv", overwrite=True)
    mapped([], output="mine.csv")


def test_an_estimate_is_of_0_rows():
    for table in ([], pd.DataFrame({"text": []})):
        found = headrace.estimate(table, "{text}", {"label": "yes | no"}, model="sim", progress=False)
        assert str(found).startswith("0 rows")
