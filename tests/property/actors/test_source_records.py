"""Cutting and decoding, for any text: nothing is lost, nothing is too long."""

from __future__ import annotations

import json

import orjson
from hypothesis import given
from hypothesis import strategies as st

from actors.core.errors import SourceError
from actors.sources.files.formats import Blob, FileReading, decode, read_records
from actors.sources.records import Split, cut, plain

TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(" \n"), max_size=200)


@given(TEXT, st.sampled_from(Split), st.none() | st.integers(1, 40))
def test_cutting_loses_nothing_but_white_space(text, split, max_chars):
    parts = list(cut({"id": "i", "text": text}, split=split, max_chars=max_chars))

    assert "".join("".join(part["text"] for part in parts).split()) == "".join(text.split())
    assert len({part["id"] for part in parts}) == len(parts) >= 1
    if max_chars is not None and text.strip():
        assert all(len(part["text"]) <= max_chars for part in parts)
        assert all(part["text"] for part in parts)


@given(TEXT, st.integers(0, 400), st.sampled_from(["utf-8", "utf-16-le", "utf-32-be"]))
def test_a_cut_never_leaves_part_of_a_character(text, size, encoding):
    marked = text.startswith("\N{BYTE ORDER MARK}")
    kept, replaced = decode(text.encode(encoding)[:size], encoding, cut_short=True)

    assert text.removeprefix("\N{BYTE ORDER MARK}").startswith(kept) or marked
    assert not replaced or marked


@given(st.binary(max_size=200))
def test_any_bytes_are_some_text(data):
    text, replaced = decode(data, "utf-8")

    assert isinstance(text, str)
    assert replaced or "\N{REPLACEMENT CHARACTER}" not in text or "\N{REPLACEMENT CHARACTER}".encode() in data


@given(st.sampled_from(["n.txt", "n.json", "n.jsonl", "n.csv", "n.parquet"]), st.binary(max_size=60))
def test_any_bytes_of_any_format_are_read_or_refused(path, data):
    reading = FileReading("utf-8", 2**20, 2**20)
    try:
        records = list(read_records(Blob(path, data), reading))
    except SourceError:
        return
    assert all(isinstance(record["text"], str) and record["path"] == path for record in records)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.decimals()
    | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=10,
)


@given(VALUES)
def test_any_value_becomes_what_json_can_hold(value):
    made = plain(value)

    assert json.loads(json.dumps(made, allow_nan=False)) == made
    orjson.dumps(made)
