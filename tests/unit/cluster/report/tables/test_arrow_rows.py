"""Rows become Arrow columns of the declared types, whatever the values are."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.report.tables.arrow_rows import ArrowRows, arrow_table
from cluster.report.tables.columns import Column
from cluster.report.tables.value_types import (
    BOOLEAN,
    DATE,
    INTEGER,
    JSON,
    NUMBER,
    TEXT,
    Kind,
    ValueType,
    arrow_type,
    by_name,
    list_of,
    object_of,
)

CHOICE = ValueType(Kind.CHOICE, choices=("good", "bad"))


def column_of(value_type, *values):
    return ArrowRows([Column("a", value_type)]).table([{"a": value} for value in values])["a"]


@pytest.mark.parametrize(
    ("value_type", "value", "expected"),
    [
        (TEXT, 'é\n"\u2028', 'é\n"\u2028'),
        (INTEGER, 2**63 - 1, 2**63 - 1),
        (NUMBER, 1, 1.0),
        (NUMBER, 0.1, 0.1),
        (NUMBER, 2**70, float(2**70)),
        (BOOLEAN, False, False),
        (DATE, "1969-12-31", dt.date(1969, 12, 31)),
        (CHOICE, "bad", "bad"),
        (JSON, "text", '"text"'),
        (JSON, {"a": [1, None]}, '{"a":[1,null]}'),
        (JSON, 2**70, "1180591620717411303424"),
        (list_of(DATE), ["2026-11-30", None], [dt.date(2026, 11, 30), None]),
        (list_of(list_of(CHOICE)), [["good"], []], [["good"], []]),
        (list_of(JSON), [{"a": 1}, "b"], ['{"a":1}', '"b"']),
        (object_of({"x": DATE, "y": CHOICE}), {"x": "2026-11-30"}, {"x": dt.date(2026, 11, 30), "y": None}),
        (by_name(object_of({"n": INTEGER})), {"one": {"n": 1}}, [{"name": "one", "n": 1}]),
    ],
)
def test_a_value_is_read_as_it_was_written(value_type, value, expected):
    column = column_of(value_type, value, None)
    assert column.type == arrow_type(value_type)
    assert column.to_pylist() == [expected, None]


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"])), max_size=20))
def test_every_text_stays_as_it_is(texts):
    assert column_of(TEXT, *texts).to_pylist() == texts


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_every_number_stays_as_it_is(numbers):
    assert column_of(NUMBER, *numbers).to_pylist() == numbers


def test_a_row_larger_than_a_block_is_read():
    assert column_of(TEXT, "x" * 5_000_000, "y").to_pylist()[1] == "y"


def test_a_choice_that_is_no_longer_declared_is_kept():
    column = column_of(CHOICE, "good", "ugly", None)
    assert column.to_pylist() == ["good", "ugly", None]
    assert column.chunk(0).dictionary.to_pylist() == ["good", "bad", "ugly"]


def test_a_value_of_another_type_is_an_error_that_names_the_column():
    with pytest.raises(ValueError, match=r"/a\b.* number"):
        column_of(INTEGER, 1, "one")


def test_a_table_without_rows_has_the_columns_and_their_choices():
    table = arrow_table([Column("a", CHOICE), Column("b", NUMBER)], iter(()))
    assert (table.num_rows, table.schema.types) == (0, [arrow_type(CHOICE), pa.float64()])
    assert table["a"].chunk(0).dictionary.to_pylist() == ["good", "bad"]


def test_pandas_is_not_loaded():
    program = (
        "import sys\n"
        "from cluster.report.tables.arrow_rows import arrow_table\n"
        "from cluster.report.tables.columns import Column\n"
        "from cluster.report.tables.value_types import *\n"
        "columns = [Column('a', ValueType(Kind.CHOICE, choices=('x',))), Column('b', list_of(DATE))]\n"
        "arrow_table(columns, [[{'a': 'x', 'b': ['2026-11-30']}]])\n"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603 - our own program
