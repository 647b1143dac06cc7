"""Reports on stdout: JSON that is what result files hold, and CSV that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
import json

import pytest
from msgspec.structs import replace

from actors.core.messages import DimensionResult
from actors.core.reports import report_line
from cluster.result_lines import UnprintableError, csv_lines, json_lines
from tests.unit.journal_desk import report


def rows(*reports, dimensions=("quality", "risk")):
    text = b"".join(csv_lines(reports, dimensions)).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def rated(key="a", finding='Fine, "very"\nfine.'):
    return replace(report(key), dimensions=(DimensionResult("quality", 0.25, 0.0, 1.0, 4, finding, ()),))


def test_json_lines_are_those_of_the_result_file():
    one = rated()
    assert [json.loads(line) for line in json_lines([one])] == [report_line(one)]


def test_csv_has_a_column_for_each_dimension_and_quotes_what_needs_it():
    (row,) = rows(replace(rated(), errors=("one", "two")))
    assert row == {
        "key": "a",
        "state": "succeeded",
        "overall": "0.5",
        "quality": "0.25",
        "quality finding": 'Fine, "very"\nfine.',
        "risk": "",
        "risk finding": "",
        "cost_usd": "0.0",
        "errors": "one | two",
    }


def test_no_cell_is_taken_for_a_formula():
    (row,) = rows(rated("=cmd()", "@SUM(A1)"))
    assert (row["key"], row["quality finding"]) == ("'=cmd()", "'@SUM(A1)")


@pytest.mark.parametrize("cell", ["\n=cmd()", " =cmd()", "\uff1dcmd()", "\uff20SUM(A1)", "\t=cmd()"])
def test_no_cell_is_taken_for_a_formula_behind_white_space_or_in_full_width(cell):
    (row,) = rows(rated(cell, cell))
    assert (row["key"], row["quality finding"]) == (f"'{cell}", f"'{cell}")


def test_no_cell_steers_a_terminal():
    (row,) = rows(replace(rated("k\x1b]0;owned\x07", "\x9b31mred"), errors=("\x1b[2J",)))
    assert (row["key"], row["quality finding"]) == (r"k\x1b]0;owned\x07", r"\x9b31mred")
    assert row["errors"] == r"\x1b[2J"


@pytest.mark.parametrize("lines", [json_lines, lambda reports: csv_lines(reports, ())])
def test_text_that_is_none_is_told_with_its_task(lines):
    with pytest.raises(UnprintableError, match="task 'a\\\\ud800'"):
        list(lines([report("a\ud800")]))
