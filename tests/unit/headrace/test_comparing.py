"""Tables of every kind are compared from Python, and errors name arguments."""

from __future__ import annotations

import orjson
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import headrace

ONE = [{"id": number, "label": "good" if number % 2 else "bad", "score": number / 9} for number in range(40)]
TWO = [{**row, "label": "good", "score": row["score"] + 0.1} for row in ONE]
TRUTH = [{"id": number, "label": "good"} for number in range(40)]


@pytest.mark.parametrize("make", [list, pd.DataFrame, pl.DataFrame, pa.Table.from_pylist])
def test_a_table_of_any_kind_is_compared(make):
    found = headrace.compare(make(ONE), make(TWO), key="id", truth=make(TRUTH))
    assert isinstance(found, headrace.Comparison)
    assert found.sentence.startswith("B is better than A: label is right in 100.0% of 40 instead of 50.0%")
    assert found.columns["label"].accuracy.only_b == 20
    assert found.columns["score"].numbers.difference.estimate == pytest.approx(0.1)
    assert str(found).startswith(found.sentence)
    assert found._repr_html_().startswith("<pre>B is better")
    assert orjson.loads(orjson.dumps(found.as_dict()))["a"]["name"] == "a"


def test_files_and_a_truth_in_a_file_are_compared(tmp_path):
    paths = {}
    for name, rows in (("a", ONE), ("b", TWO), ("gold", TRUTH)):
        paths[name] = tmp_path / f"{name}.parquet"
        pd.DataFrame(rows).to_parquet(paths[name])
    found = headrace.compare(paths["a"], paths["b"], key="id", truth=f"{paths['gold']}:label")
    assert found.columns["label"].accuracy.n == 40


def test_a_truth_is_paired_by_a_column_of_both_which_is_not_compared_and_notes_name_arguments():
    found = headrace.compare(ONE, TWO, truth=TRUTH[::-1])
    known = [name for name, column in found.columns.items() if column.accuracy or column.errors]
    assert (known, found.columns["label"].accuracy.only_b) == (["label"], 20)
    notes = found.as_dict()["notes"]
    assert notes[0] == "truth: its rows are paired by the column id"
    assert notes[1].endswith("paired by number: key names a column")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "name the column that identifies a row with key$"),
        ({"key": "id", "truth": [{"id": 1, "mood": "good"}]}, "truth has no right value for the columns"),
        ({"key": "id", "truth": TRUTH + TRUTH[:1]}, "truth: a key occurs twice; the truth has one value"),
        ({"key": "id", "truth": []}, "truth: the table has no rows"),
        ({"key": "id", "truth": ""}, "write FILE:COLUMN"),
        ({"key": "nr"}, 'a: no column is named "nr"'),
    ],
)
def test_errors_name_arguments(options, problem):
    with pytest.raises(headrace.errors.ConfigError, match=problem):
        headrace.compare(ONE, TWO[1:], **options)


def test_a_text_is_a_run_or_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        headrace.errors.ConfigError, match="r1 is no file, and no run can be found: there is no store"
    ):
        headrace.compare("r1", ONE)
    with pytest.raises(headrace.errors.TaskInputError, match="there is no such file"):
        headrace.compare("r1.csv", ONE)
