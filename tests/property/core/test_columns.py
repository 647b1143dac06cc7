"""Every column can be written as a line of text, and no text ends the parser with another error."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.core.task.column_text import spelled
from actors.core.task.columns import ColumnError, parse_column

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,20}", fullmatch=True)
choices = st.lists(
    st.one_of(
        st.text(min_size=1, max_size=12),
        st.sampled_from(["int", "null", "None", "1..5", "a|b", 'say "x"', "a=b", "[x]", "{y}", " x ", "x?"]),
    ),
    min_size=1,
    max_size=5,
    unique=True,
)
whole = st.integers(-(2**53) + 1, 2**53 - 1)
parts = st.floats(-1e300, 1e300)


def _range(kind: str, low: float, high: float) -> dict:
    return {"type": kind, "min": min(low, high), "max": max(low, high)}


types = st.recursive(
    st.one_of(
        st.sampled_from([{"type": kind} for kind in ("string", "integer", "number", "boolean", "date")]),
        st.just({"type": "string", "format": "json"}),
        st.builds(_range, st.just("integer"), whole, whole),
        st.builds(_range, st.just("integer"), st.integers(-1, 1), st.integers(-1, 1)),
        st.builds(_range, st.just("number"), parts, parts),
        st.builds(lambda found: {"type": "string", "choices": found}, choices),
        st.builds(lambda low: {"type": "number", "min": low}, parts),
        st.builds(lambda most: {"type": "string", "max_length": most}, st.integers(1, 100)),
    ),
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(
            lambda fields: {"type": "object", "fields": fields}, st.dictionaries(names, inner, max_size=3)
        ),
    ),
    max_leaves=4,
)
descriptions = st.text(max_size=30).map(str.strip).filter(bool)


@given(names, types, st.booleans(), st.none() | descriptions)
def test_a_column_is_the_same_after_it_was_written_and_parsed(name, kind, nullable, description):
    spec = dict(kind)
    if nullable:
        spec["nullable"] = True
    if description is not None:
        spec["description"] = description
    assert parse_column(spelled(name, spec)) == (name, spec)


pieces = st.sampled_from(
    [
        "a",
        "_",
        "int",
        "str",
        ":",
        "=",
        "?",
        "|",
        "[",
        "]",
        "list[",
        "..",
        "1",
        "5",
        "-",
        '"',
        "{",
        "}",
        ",",
        " or ",
    ]
)


@given(st.one_of(st.text(max_size=40), st.lists(pieces, max_size=12).map(" ".join)))
def test_any_text_is_a_column_or_has_an_error_whose_suggestion_is_a_column(text):
    for column in (text, f"name: {text}"):
        try:
            parse_column(column)
        except ColumnError as error:
            if error.suggestion is not None:
                parse_column(error.suggestion)
