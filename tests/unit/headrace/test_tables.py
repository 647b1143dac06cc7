"""A table goes in as rows of JSON values, and comes out as the same kind, with further columns."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections import OrderedDict
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from headrace.rows.tables import table_of
from headrace.rows.values import TableError

CHOICES = pa.array(["low", "medium", "high"])
NEW = pa.table(
    {
        "level": pa.DictionaryArray.from_arrays(pa.array([2, None, 0], pa.int32()), CHOICES),
        "score": pa.array([1, None, 3], pa.int64()),
        "share": pa.array([0.5, None, 1.0], pa.float64()),
        "good": pa.array([True, None, False], pa.bool_()),
        "why": pa.array(["a", None, "c"], pa.string()),
        "due": pa.array([dt.date(2026, 1, 2), None, dt.date(9999, 12, 31)], pa.date32()),
        "tags": pa.array([["x", "y"], None, []], pa.list_(pa.string())),
        "place": pa.array([{"city": "Ulm"}, None, {"city": "Bonn"}], pa.struct([("city", pa.string())])),
        "_error": pa.array([None, "no answer", None], pa.string()),
    }
)
KINDS = {"list": list, "pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.Table.from_pylist}
ROWS = [{"text": "a", "n": 1}, {"text": None, "n": 2}, {"text": "a", "n": 1}]


def rows(value):
    return list(table_of(value).rows())


@pytest.mark.parametrize(
    "table",
    [ROWS, iter(ROWS), pd.DataFrame(ROWS), pl.DataFrame(ROWS), pa.Table.from_pylist(ROWS)],
    ids=["list", "iterator", "pandas", "polars", "pyarrow"],
)
def test_each_kind_of_table_has_the_same_rows_and_columns(table):
    found = table_of(table)
    assert (found.columns, found.count) == (("text", "n"), 3)
    assert list(found.rows()) == ROWS
    assert list(found.rows()) == ROWS, "rows can be read again"
    assert list(found.taken([2, 0]).rows()) == [ROWS[2], ROWS[0]]


def test_a_list_of_dicts_keeps_its_rows_and_gets_plain_values():
    given = [{"a": 1}, {"b": 2}, OrderedDict(a=3)]
    made = table_of(given).joined(NEW)
    assert [list(row)[:1] for row in made] == [["a"], ["b"], ["a"]]
    assert made[0]["level"] == "high"
    assert made[0]["due"] == dt.date(2026, 1, 2)
    assert made[1]["_error"] == "no answer"
    assert given[0] == {"a": 1}, "the input is not changed"
    assert rows(given)[1] == {"a": None, "b": 2}, "a missing key is null"


def test_a_pandas_frame_keeps_order_index_duplicates_and_dtypes():
    given = pd.DataFrame(
        {
            "text": ["b", "a", "b"],
            "n": np.array([3, 1, 3], "int8"),
            "when": pd.to_datetime(["2026-01-01"] * 3),
        },
        index=["x", "x", "y"],
    )
    before = given.copy()
    made = table_of(given).joined(NEW)
    pd.testing.assert_frame_equal(given, before)
    pd.testing.assert_frame_equal(made[list(given.columns)], given)
    assert list(made.columns) == [*given.columns, *NEW.column_names]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_new_column_replaces_one_of_its_name_and_stands_behind(kind):
    given = kind([{"why": "old", "text": str(number)} for number in range(3)])
    made = table_of(table_of(given).joined(NEW.select(["why"])))
    assert made.columns == ("text", "why")
    assert [row["why"] for row in made.rows()] == ["a", None, "c"]
    assert table_of(given).columns == ("why", "text")


def test_pandas_dtypes_follow_from_the_type_of_a_column_also_if_no_row_has_a_value():
    for new in (NEW, NEW.slice(1, 1), NEW.slice(0, 0)):
        given = pd.DataFrame({"text": ["t"] * new.num_rows})
        made = table_of(given).joined(new)
        assert {name: str(dtype) for name, dtype in made.dtypes.items() if name != "text"} == {
            "level": "category",
            "score": "Int64",
            "share": "Float64",
            "good": "boolean",
            "why": "string",
            "due": "datetime64[s]",
            "tags": "object",
            "place": "object",
            "_error": "string",
        }
    full = table_of(pd.DataFrame({"text": ["t"] * 3})).joined(NEW)
    assert list(full["level"].cat.categories) == ["low", "medium", "high"]
    assert full["tags"].tolist() == [["x", "y"], None, []]
    assert full["place"][0] == {"city": "Ulm"}
    assert full["due"].dt.year[2] == 9999


def test_polars_dtypes_follow_from_the_type_of_a_column():
    given = pl.DataFrame({"text": ["a", "b", "c"]})
    made = table_of(given).joined(NEW)
    assert dict(made.schema) == {
        "text": pl.String,
        "level": pl.Enum(["low", "medium", "high"]),
        "score": pl.Int64,
        "share": pl.Float64,
        "good": pl.Boolean,
        "why": pl.String,
        "due": pl.Date,
        "tags": pl.List(pl.String),
        "place": pl.Struct({"city": pl.String}),
        "_error": pl.String,
    }
    assert made["level"].to_list() == ["high", None, "low"]
    assert given.columns == ["text"]


def test_an_arrow_table_keeps_its_schema_and_gets_the_new_fields():
    given = pa.table({"n": pa.array([1, 2, 3], pa.int8())}, metadata={"owner": "me"})
    made = table_of(given).joined(NEW)
    assert made.schema.metadata == given.schema.metadata
    assert [made.schema.field(0), *list(made.schema)[1:]] == [given.schema.field(0), *NEW.schema]


def test_missing_values_of_every_library_are_null():
    frame = pd.DataFrame(
        {
            "f": [1.5, float("nan")],
            "i": pd.array([1, None], dtype="Int64"),
            "s": ["a", None],
            "d": pd.to_datetime(["2026-01-02T03:04:05", None]),
            "c": pd.Categorical(["x", None]),
        }
    )
    assert rows(frame) == [
        {"f": 1.5, "i": 1, "s": "a", "d": "2026-01-02T03:04:05", "c": "x"},
        dict.fromkeys("fisdc"),
    ]
    assert rows([{"a": float("nan"), "b": pd.NA, "c": pd.NaT}]) == [{"a": None, "b": None, "c": None}]


def test_values_of_other_types_become_json():
    row = {
        "d": Decimal("1.10"),
        "n": np.int16(7),
        "v": np.array([1.0, 2.0]),
        "t": dt.date(2026, 1, 2),
        "m": OrderedDict(a=[1]),
    }
    assert rows([row]) == [{"d": "1.10", "n": 7, "v": [1.0, 2.0], "t": "2026-01-02", "m": {"a": [1]}}]


def test_a_column_of_pandas_may_have_a_number_as_its_name():
    given = pd.DataFrame({0: ["a"], 1: ["b"]})
    assert rows(given) == [{"0": "a", "1": "b"}]
    assert list(table_of(given).joined(NEW.slice(0, 1)).columns)[:3] == [0, 1, "level"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (5, "a int is not a table: give a pandas or polars DataFrame, a pyarrow Table, a list of dicts"),
        ({"a": [1]}, "a dict is not a table"),
        (["a", "b"], 'row 1 is a str, not a dict; write [{"text": each} for each in texts]'),
        ([{"a": 1}, 5], "row 2 is a int, not a dict"),
        ([{}], "the table has no columns"),
        ([{1: 2}], "the key 1 of a row is not a string"),
        (pl.LazyFrame({"a": [1]}), "a polars.LazyFrame has no rows yet: give frame.collect()"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns have the name 'a'; rename or drop one"),
        (pd.DataFrame({1: [1], "1": [2]}), "two columns have the name '1'"),
        (pd.DataFrame({("a", "b"): [1]}), "the columns have several levels; flatten them"),
        ([{"a": 1, "b": {1, 2}}], "row 1: the value of 'b' has no JSON form: it is of the type set"),
        ([{"a": 1}, {"a": b"x"}], "row 2: the value of 'a' has no JSON form: it is of the type bytes"),
        ([{"a": 2**70}], "row 1: the value of 'a' has no JSON form"),
        ([{"a": "\ud800"}], "row 1: the value of 'a' has no JSON form"),
    ],
    ids=str,
)
def test_what_is_no_table_is_an_error_that_says_what_to_do(table, message):
    with pytest.raises(TableError) as caught:
        rows(table)
    assert message in str(caught.value)


@pytest.mark.parametrize("made_of", KINDS.values(), ids=KINDS)
def test_a_new_column_may_have_any_name(made_of):
    names = ["self", "columns", "index", "name", "class"]
    new = pa.table({name: pa.array([1, None, 3]) for name in names})
    made = table_of(table_of(made_of(ROWS)).joined(new))
    assert made.columns == ("text", "n", *names)


def test_the_columns_of_a_pandas_frame_may_be_a_categorical_index():
    given = pd.DataFrame([["a", 1]], columns=pd.CategoricalIndex(["text", "n"]))
    assert list(table_of(given).joined(NEW.slice(0, 1)).columns)[:3] == ["text", "n", "level"]


def test_a_list_is_mapped_without_loading_pandas_or_polars():
    program = (
        "import sys\n"
        "from headrace.rows.tables import table_of\n"
        "assert list(table_of([{'a': 1}]).rows()) == [{'a': 1}]\n"
        "print({'pandas', 'polars', 'pyarrow'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603 - our own program
    assert done.stdout == "set()\n"
