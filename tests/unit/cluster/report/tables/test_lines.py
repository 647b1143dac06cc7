"""CSV lines are those of RFC 4180, and pandas reads back what was written."""

from __future__ import annotations

import csv
import io
import json

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from cluster.report.tables.lines import csv_row, json_line, printable_json

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
texts = st.text(st.characters(exclude_categories=["Cs"]))
plain = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp"])).filter(
    lambda text: not text.lstrip(" ").startswith(FORMULA) and ";" not in text
)


def is_number(text):
    return text.isascii() and text.strip("+-").replace(".", "").replace("e", "").isdigit()


@given(st.lists(texts | st.sampled_from(['=1+1"', " @SUM(A1)", "x;=1", "-1", "a\r\n=b"]), min_size=1))
def test_every_row_has_its_cells_and_none_is_a_formula(cells):
    (read,) = csv.reader(io.StringIO(csv_row(cells).decode(), newline=""), strict=True)
    assert len(read) == len(cells)
    assert [text for text in read if text.lstrip(" ").startswith(FORMULA) and not is_number(text)] == []


@given(st.lists(plain, min_size=1))
def test_a_text_that_is_no_formula_stays_as_it_is(cells):
    (read,) = csv.reader(io.StringIO(csv_row(cells).decode(), newline=""), strict=True)
    assert read == cells


@given(st.dictionaries(texts, texts | st.integers() | st.none()))
def test_a_json_line_is_one_line_that_holds_the_row(row):
    line = json_line(row)
    assert line.count(b"\n") == 1
    assert json.loads(line) == row


def test_a_printable_line_has_no_character_that_a_terminal_obeys_and_holds_the_same_row():
    marks = "".join(
        map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, 0x202E, 0x2066, 0xFEFF))
    )
    line = printable_json(json_line({marks: marks})).decode()
    assert not set(line[:-1]) & set(marks)
    assert json.loads(line) == {marks: marks}
    assert not set(csv_row([marks]).decode()) & set(marks) - set("\t\r\n")


def test_pandas_reads_the_columns_with_their_types():
    rows = [
        ("text", "count", "share", "fine"),
        ('two\nlines, "quoted"', 1, 0.5, True),
        ("é 中", 2, None, False),
    ]
    data = b"".join(map(csv_row, rows))
    frame = pd.read_csv(io.BytesIO(data))
    assert frame["text"].tolist() == ['two\nlines, "quoted"', "é 中"]
    assert frame.dtypes.astype(str).tolist()[1:] == ["int64", "float64", "bool"]
    assert frame["share"].isna().tolist() == [False, True]
