"""Reports on stdout: JSON that is what result files hold, and CSV that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
import json

import pytest
from msgspec.structs import replace

from actors.core.messages.tasks import DimensionResult, Task
from actors.core.task.reports import report_line
from cluster.report.tables.columns import Layout, TableName
from cluster.report.tables.lines import csv_row
from cluster.report.tables.printing import PrintedFormat, UnprintableError, printed_table
from tests.unit.support.journal_desk import report
from tests.unit.support.tables import rated as mapped
from tests.unit.support.tables import row, settings

CSV, JSONL = PrintedFormat.CSV, PrintedFormat.JSONL


def printed(form, *reports, dimensions=("quality",), **params):
    layout = Layout(False, (), dimensions)
    return list(
        printed_table(
            TableName.REPORTS, layout, lambda: [(Task(one.key, params), one) for one in reports], form
        )
    )


def rows(*reports, **options):
    text = b"".join(printed(CSV, *reports, **options)).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def rated(key="a", finding='Fine, "very"\nfine.'):
    return replace(report(key), dimensions=(DimensionResult("quality", 0.25, 0.0, 1.0, 4, finding, ()),))


def test_json_lines_are_those_of_the_result_file():
    one = rated()
    assert [json.loads(line) for line in printed(JSONL, one)] == [report_line(one, is_priced=True)]


def test_a_row_for_each_item_comes_with_the_answers_and_the_params():
    layout = Layout.stored(settings().stored())
    ended = [(row(1, title="a", state=3), mapped())]
    (line,) = printed_table(TableName.ITEMS, layout, lambda: ended, JSONL)
    assert json.loads(line) == {
        "key": "row-000001",
        "title": "a",
        "input.state": 3,
        "source": "rows",
        "item": "rows:a",
        "label": "good",
        "score": 0.5,
        "state": "succeeded",
        "error": None,
        "cost_usd": 0.25,
    }


def test_the_texts_of_items_are_printed_where_a_run_has_kept_them():
    layout = Layout.stored(settings().stored())
    one = mapped()
    texted = replace(one, items=(replace(one.items[0], text="fine"),))
    lines = list(
        printed_table(TableName.ITEMS, layout, lambda: [(Task("a"), texted), (Task("b"), one)], JSONL)
    )
    assert [json.loads(line)["text"] for line in lines] == ["fine", None]


def test_a_stored_run_in_map_form_is_printed_as_its_file_would_be():
    layout = Layout.stored(settings(sources=False).stored())
    ended = [(row(1, text="a"), mapped()), (row(2, text="b", n=1), mapped())]
    lines = list(printed_table(TableName.ITEMS, layout, lambda: ended, CSV))
    assert lines == [
        b'"text","n","label","score","_error"\r\n',
        b'"a",,"good",0.5,\r\n',
        b'"b",1,"good",0.5,\r\n',
    ]


def test_csv_has_columns_for_the_parts_of_each_dimension_and_for_the_params():
    (found,) = rows(replace(rated(), errors=("one", "two")), dimensions=("quality", "risk"), title="T")
    assert found == {
        "key": "a",
        "title": "T",
        "state": "succeeded",
        "overall": "0.5",
        "quality.score": "0.25",
        "quality.low": "0.0",
        "quality.high": "1.0",
        "quality.n": "4",
        "quality.finding": 'Fine, "very"\nfine.',
        "quality.flags": "[]",
        "risk.score": "",
        "risk.low": "",
        "risk.high": "",
        "risk.n": "",
        "risk.finding": "",
        "risk.flags": "",
        "sources": "{}",
        "calls.planned": "1",
        **{
            f"calls.{name}": "0"
            for name in ("billed", "reused", "in_doubt", "unusable", "refused", "estimated")
        },
        **{f"tokens.{kind}": "0" for kind in ("input", "output", "cached", "cache_write", "reasoning")},
        "cost_usd": "0.0",
        "elapsed_s": "1.0",
        "errors": '["one","two"]',
    }


def test_no_cell_is_taken_for_a_formula():
    (found,) = rows(rated("=cmd()", "@SUM(A1)"))
    assert (found["key"], found["quality.finding"]) == ("'=cmd()", "'@SUM(A1)")


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
    (found,) = rows(rated(cell, cell))
    assert (found["key"], found["quality.finding"]) == (shown, shown)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize(
    "text",
    ["x;=cmd|' /C calc'!A0", 'x; "=cmd()', "x\t@SUM(1)", "a\n-1+1", "a\r\n \uff1dcmd()", 'x;";"+1', ";;=1"],
)
def test_no_cell_is_a_formula_where_another_character_separates_cells(text, delimiter):
    lines = b"".join(printed(CSV, replace(rated(text, text), errors=(text,)))).decode()
    cells = [cell for line in csv.reader(io.StringIO(lines), delimiter=delimiter) for cell in line]
    assert [cell for cell in cells if cell.lstrip(' "').startswith(("=", "+", "-", "@", "\uff1d"))] == []


def test_dashes_and_signs_within_a_line_stay():
    (found,) = rows(rated("a-b", 'x = 1 - 2; fine, "+1"'))
    assert (found["key"], found["quality.finding"]) == ("a-b", 'x = 1 - 2; fine, "+1"')


@pytest.mark.timeout(20)  # searched again from each blank, it takes minutes
def test_a_finding_of_a_million_blanks_is_searched_once():
    (_, found) = printed(CSV, rated("a", ";" + " " * 1_000_000 + "x"))
    assert b'"; ' in found
    assert b' x"' in found


def test_a_text_is_quoted_a_number_is_not_and_null_is_an_empty_cell():
    cells = ["a", "", None, 1, -2.5, True, 2**70, [1, "x"], {"a": None}]
    assert csv_row(cells) == b'"a","",,1,-2.5,true,1180591620717411303424,"[1,""x""]","{""a"":null}"\r\n'


@pytest.mark.parametrize("number", ["-1", "+1.5", "-.5", "-1e9", "007"])
def test_text_that_is_a_number_stays_as_it_is(number):
    assert csv_row([number]) == f'"{number}"\r\n'.encode()


def test_a_sign_before_anything_else_is_no_number():
    assert csv_row(["-1+2", "+49 30 1", "-"]) == b'"\'-1+2","\'+49 30 1","\'-"\r\n'


def test_json_in_a_cell_stays_json():
    (_, cell) = csv_row([1, ["\x7f\u2028"]]).decode().strip().split(",", 1)
    assert json.loads(cell[1:-1].replace('""', '"')) == ["\x7f\u2028"]


def test_json_steers_no_terminal_and_holds_the_same_text():
    odd = "a\x9b31m\x7f\x9d0;owned\x9c\u2028\u202egpj\u2066b\u2069 \u00e9 \u4e2d \u2014"
    one = replace(rated(odd, odd), errors=(odd,))
    (line,) = printed(JSONL, one)
    assert json.loads(line) == report_line(one, is_priced=True)
    assert not [c for c in line.decode() if c in "\x9b\x7f\x9d\x9c\u2028\u202e\u2066\u2069"]
    assert "\u00e9 \u4e2d \u2014" in line.decode()


def test_no_cell_steers_a_terminal():
    (found,) = rows(replace(rated("k\x1b]0;owned\x07", "\x9b31mred"), errors=("\x1b[2J",)))
    assert (found["key"], found["quality.finding"]) == (r"k\x1b]0;owned\x07", r"\x9b31mred")
    assert found["errors"] == r'["\u001b[2J"]'


@pytest.mark.parametrize("form", PrintedFormat)
def test_text_that_is_not_unicode_is_an_error_that_names_its_task(form):
    with pytest.raises(UnprintableError, match="task 'a\\\\ud800'"):
        printed(form, report("a\ud800"))
