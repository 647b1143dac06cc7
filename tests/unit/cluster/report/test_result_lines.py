"""Reports on stdout: JSON that is what result files hold, and CSV that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
import json

import pytest
from msgspec.structs import replace

from actors.core.messages.tasks import DimensionResult
from actors.core.task.reports import report_line
from cluster.report.result_lines import UnprintableError, csv_lines, json_lines
from tests.unit.support.journal_desk import report


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


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("\n=cmd()", "'\n'=cmd()"),
        (" =cmd()", "' =cmd()"),
        ("\uff1dcmd()", "'\uff1dcmd()"),
        ("\uff20SUM(A1)", "'\uff20SUM(A1)"),
        ("\t=cmd()", "'\t'=cmd()"),
    ],
)
def test_no_cell_is_taken_for_a_formula_behind_white_space_or_in_full_width(cell, shown):
    (row,) = rows(rated(cell, cell))
    assert (row["key"], row["quality finding"]) == (shown, shown)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize(
    "text",
    ["x;=cmd|' /C calc'!A0", 'x; "=cmd()', "x\t@SUM(1)", "a\n-1+1", "a\r\n \uff1dcmd()", 'x;";"+1', ";;=1"],
)
def test_no_cell_is_a_formula_where_another_character_separates_cells(text, delimiter):
    lines = b"".join(csv_lines([replace(rated(text, text), errors=(text,))], ["quality"])).decode()
    cells = [cell for row in csv.reader(io.StringIO(lines), delimiter=delimiter) for cell in row]
    assert [cell for cell in cells if cell.lstrip(' "').startswith(("=", "+", "-", "@", "\uff1d"))] == []


def test_dashes_and_signs_within_a_line_stay():
    (row,) = rows(rated("a-b", 'x = 1 - 2; fine, "+1"'))
    assert (row["key"], row["quality finding"]) == ("a-b", 'x = 1 - 2; fine, "+1"')


@pytest.mark.timeout(20)  # searched again from each blank, it takes minutes
def test_a_finding_of_a_million_blanks_is_searched_once():
    (_, row) = csv_lines([rated("a", ";" + " " * 1_000_000 + "x")], ["quality"])
    assert b'"; ' in row
    assert b' x"' in row


def test_every_cell_is_quoted():
    assert (
        b"".join(csv_lines([rated("a", "b")], ["quality"]))
        .splitlines()[1]
        .startswith(b'"a","succeeded","0.5"')
    )


def test_json_steers_no_terminal_and_holds_the_same_text():
    odd = "a\x9b31m\x7f\x9d0;owned\x9c\u2028\u202egpj\u2066b\u2069 \u00e9 \u4e2d \u2014"
    one = replace(rated(odd, odd), errors=(odd,))
    (line,) = json_lines([one])
    assert json.loads(line) == report_line(one)
    assert not [c for c in line.decode() if c in "\x9b\x7f\x9d\x9c\u2028\u202e\u2066\u2069"]
    assert "\u00e9 \u4e2d \u2014" in line.decode()


def test_no_cell_steers_a_terminal():
    (row,) = rows(replace(rated("k\x1b]0;owned\x07", "\x9b31mred"), errors=("\x1b[2J",)))
    assert (row["key"], row["quality finding"]) == (r"k\x1b]0;owned\x07", r"\x9b31mred")
    assert row["errors"] == r"\x1b[2J"


@pytest.mark.parametrize("lines", [json_lines, lambda reports: csv_lines(reports, ())])
def test_text_that_is_none_is_told_with_its_task(lines):
    with pytest.raises(UnprintableError, match="task 'a\\\\ud800'"):
        list(lines([report("a\ud800")]))
