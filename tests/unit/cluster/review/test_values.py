"""The values that a person can give to a field."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from actors.llm.fields import ColumnSpec
from cluster.review.values import opposite, options_of, parse_value, value_text

SPEC = TypeAdapter(ColumnSpec)


def spec(kind, **more):
    return SPEC.validate_python({"type": kind, **more})


@pytest.mark.parametrize(
    ("field", "keys"),
    [
        (spec("string", choices=("a", "b")), {"1": "a", "2": "b"}),
        (spec("string", choices=("a", "b"), nullable=True), {"1": "a", "2": "b", "0": None}),
        (spec("boolean"), {"1": True, "2": False}),
        (spec("integer", min=1, max=5), {str(each): each for each in range(1, 6)}),
        (spec("integer", min=0, max=2, nullable=True), {"0": 0, "1": 1, "2": 2, "": None}),
        (spec("integer", min=0, max=100), {}),
        (spec("integer", min=1), {}),
        (spec("string"), {}),
        (spec("number", min=0, max=1, nullable=True), {}),
    ],
    ids=str,
)
def test_fields_with_few_values_have_keys(field, keys):
    assert {option.key: option.value for option in options_of(field)} == keys


def test_choices_after_the_ninth_have_no_key():
    options = options_of(spec("string", choices=tuple("abcdefghijk")))
    assert [option.key for option in options] == [*"123456789", "", ""]


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        (spec("string"), " as it is\n", " as it is\n"),
        (spec("string", choices=("a", "b")), "b", "b"),
        (spec("number"), " 0.5 ", 0.5),
        (spec("number"), "1", 1.0),
        (spec("integer", min=1), "7", 7),
        (spec("boolean"), "true", True),
        (spec("date"), "2026-11-30 ", "2026-11-30"),
        (spec("array", items={"type": "integer"}), "[1, 2]", [1, 2]),
        (spec("object", fields={"a": {"type": "string"}}), '{"a": "x"}', {"a": "x"}),
        (spec("integer", nullable=True), " ", None),
        (spec("string", nullable=True), "", None),
    ],
    ids=str,
)
def test_a_typed_value_is_read_by_the_type_of_its_field(field, text, value):
    assert parse_value(field, text) == value


@pytest.mark.parametrize(
    ("field", "text", "wanted"),
    [
        (spec("string", max_length=3), "long", "at most 3 characters"),
        (spec("string", choices=("a", "b")), "c", 'one of "a", "b"'),
        (spec("number", max=1), "2", "at most 1"),
        (spec("number"), "NaN", "a number"),
        (spec("integer"), "1.5", "whole number"),
        (spec("integer"), "true", "whole number"),
        (spec("boolean"), "1", "true or false"),
        (spec("date"), "30.11.2026", "YYYY-MM-DD"),
        (spec("array", items={"type": "integer"}), '["x"]', "list"),
        (spec("array", items={"type": "integer"}), "[" * 100_000, "list"),
        (spec("object", fields={"a": {"type": "string"}}), "{}", "fields"),
    ],
    ids=lambda each: str(each)[:40],
)
def test_a_value_that_does_not_fit_is_refused_with_what_is_wanted(field, text, wanted):
    with pytest.raises(ValueError, match=wanted):
        parse_value(field, text)


def test_only_a_boolean_has_an_opposite():
    assert opposite(spec("boolean"), True) is False
    assert opposite(spec("boolean", nullable=True), True) is None
    assert opposite(spec("string", choices=("a", "b")), "a") is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("</script>", "</script>"),
        ("\ud800x", "\\ud800x"),
        (2**70, str(2**70)),
        (None, "null"),
        (True, "true"),
    ],
    ids=str,
)
def test_a_value_of_any_kind_is_shown_as_text(value, shown):
    assert value_text(value) == shown


def test_a_very_long_value_is_cut():
    assert len(value_text("x" * 10**6)) < 210_000
