"""Records: which field is the text, and what becomes of values that JSON cannot hold."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid

import pytest

from actors.core.errors import SourceBoundError, SourceError
from actors.sources.records import MAX_VALUES, Split, cut, listed, parse_json, plain, to_record


def test_the_field_called_text_is_the_text():
    assert to_record({"text": "t", "n": 1}, text=None, where="x") == {"text": "t", "n": 1}


def test_a_chosen_field_becomes_the_text():
    assert to_record({"body": "b", "n": 1}, text="body", where="x") == {"text": "b", "n": 1}


def test_the_id_can_be_the_text_as_well():
    assert to_record({"id": "i"}, text="id", where="x") == {"id": "i", "text": "i"}


def test_a_chosen_field_that_is_missing_is_an_error_that_names_those_present():
    with pytest.raises(SourceError, match=r"row 3 has no field 'body' for the text; it has: a, b"):
        to_record({"a": 1, "b": 2}, text="body", where="row 3")


def test_without_a_text_all_fields_are_written_out():
    record = to_record(
        {"id": 7, "name": "n", "ok": True, "tags": ["a", "b"], "none": None}, text=None, where="x"
    )

    assert record["text"] == "name: n\nok: true\ntags: a, b"


@pytest.mark.parametrize("missing", [None, ""])
def test_a_row_without_an_id_is_not_called_none(missing):
    assert "id" not in to_record({"id": missing, "text": "t"}, text=None, where="x")


def test_a_string_is_an_items_text():
    assert to_record("just text", text=None, where="x") == {"text": "just text"}


def test_what_is_neither_object_nor_string_is_refused():
    with pytest.raises(SourceError, match="item 2 is int"):
        to_record(5, text=None, where="item 2")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC), "2026-01-02T03:04:00+00:00"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.timedelta(minutes=1), 60.0),
        (decimal.Decimal("1.5"), 1.5),
        (float("nan"), None),
        (b"text", "text"),
        (b"\xff", "/w=="),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ({"a": (1, b"x")}, {"a": [1, "x"]}),
    ],
)
def test_values_become_what_json_can_hold(value, expected):
    assert plain(value) == expected


def test_paragraphs_become_items_that_know_their_place():
    parts = list(cut({"id": "f", "text": "one\nmore\n \n\ntwo\n"}, split=Split.PARAGRAPHS, max_chars=None))

    assert parts == [
        {"id": "f#0", "text": "one\nmore", "part": 0},
        {"id": "f#1", "text": "two", "part": 1},
    ]


def test_a_long_text_is_cut_at_white_space_and_a_long_word_where_it_must_be():
    parts = [part["text"] for part in cut({"text": "aa bb ccccccc"}, split=Split.NONE, max_chars=5)]

    assert parts == ["aa bb", "ccccc", "cc"]


def test_a_text_that_fits_stays_one_item():
    record = {"id": "f", "text": "short"}

    assert list(cut(record, split=Split.PARAGRAPHS, max_chars=100)) == [record]


def test_an_empty_text_stays_an_item():
    assert list(cut({"text": ""}, split=Split.PARAGRAPHS, max_chars=5)) == [{"text": ""}]


def test_long_lists_of_names_are_shortened():
    assert listed("abc", most=2) == "a, b, ..."
    assert listed([]) == "nothing"


@pytest.mark.timeout(20)  # searched to the end from each quote, it takes minutes
@pytest.mark.parametrize("unclosed", [b'"\\' * 500_000, b'"' + b"\\" * 999_999, b'"a\\"' * 250_000])
def test_a_string_without_an_end_is_searched_once(unclosed):
    with pytest.raises(SourceBoundError, match="more than 1,000,000 values"):
        parse_json(b"[" + b"," * (MAX_VALUES + 1) + unclosed, "x")


@pytest.mark.timeout(20)  # a copy of the rest for each part takes minutes
def test_a_large_text_is_cut_into_parts_of_one_character_in_one_pass():
    length = 2_000_000
    assert sum(1 for _ in cut({"text": "a" * length}, split=Split.NONE, max_chars=1)) == length
