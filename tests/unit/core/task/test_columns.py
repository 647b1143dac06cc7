from __future__ import annotations

import time

import pytest

from actors.core.task.column_text import spelled
from actors.core.task.columns import ColumnError, parse_column, parse_columns, parse_entry

NAMES = "a name has letters a to z, digits and _, and begins with a letter"
TYPES = "types: str, int, float, bool, date, json, 1..5, a | b, list[str]"


@pytest.mark.parametrize(
    ("text", "name", "spec"),
    [
        ("summary", "summary", {"type": "string"}),
        ("summary = one sentence", "summary", {"type": "string", "description": "one sentence"}),
        ("x = a: b = c", "x", {"type": "string", "description": "a: b = c"}),
        ("age: int", "age", {"type": "integer"}),
        ("price: float", "price", {"type": "number"}),
        ("ok: bool", "ok", {"type": "boolean"}),
        ("due?: date", "due", {"type": "date", "nullable": True}),
        ("note?", "note", {"type": "string", "nullable": True}),
        ("raw: json", "raw", {"type": "string", "format": "json"}),
        ("score: 1..5 = 5 is best", "score",
         {"type": "integer", "min": 1, "max": 5, "description": "5 is best"}),
        ("score: -2.5 .. 1e3", "score", {"type": "number", "min": -2.5, "max": 1000.0}),
        ("score: 0..1", "score", {"type": "number", "min": 0.0, "max": 1.0}),
        ("score: -1..1", "score", {"type": "number", "min": -1.0, "max": 1.0}),
        ("p: Low | low | Feature Request, new", "p",
         {"type": "string", "choices": ["Low", "low", "Feature Request, new"]}),
        ("p: really? | no", "p", {"type": "string", "choices": ["really?", "no"]}),
        ('p: "a|b" | "x = 1" | "\\u00e9" | c', "p",
         {"type": "string", "choices": ["a|b", "x = 1", "é", "c"]}),
        ('p: "only"', "p", {"type": "string", "choices": ["only"]}),
        ("tags: list[billing | bug]", "tags",
         {"type": "array", "items": {"type": "string", "choices": ["billing", "bug"]}}),
        ("grid: list[list[int]]", "grid",
         {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}),
        ('x: {"type": "integer", "min": 0} = a = b', "x",
         {"type": "integer", "min": 0, "description": "a = b"}),
    ],
)  # fmt: skip
def test_a_column_is_a_name_a_type_and_a_description(text, name, spec):
    assert parse_column(text) == (name, spec)


@pytest.mark.parametrize(
    ("text", "problem", "suggestion"),
    [
        ("age int", "a colon stands between the name and the type", "age: int"),
        ("due? date", "a colon stands between the name and the type", "due?: date"),
        ("First name: str", NAMES, "First_name: str"),
        ("2nd: int", NAMES, "n_2nd: int"),
        ("Größe: int", NAMES, "Groesse: int"),
        ("u\u0308ber: int", NAMES, "ueber: int"),
        ("café: str", NAMES, "cafe: str"),
        ("_x: int", "names that begin with _ are reserved", "x: int"),
        ("p: first, last", "separate choices with |", "p: first | last"),
        ("p: yes/no", "separate choices with |", "p: yes | no"),
        ("p: low, medium or high = how bad", "separate choices with |", "p: low | medium | high = how bad"),
        ("p: Literal['a', 'b c']", "separate choices with |", "p: a | b c"),
        ("s: one sentence, in English", "a description goes after =", "s = one sentence, in English"),
        ("age: integr", f"unknown type 'integr'; {TYPES}",
         "age: integer"),
        ("age: positive", f"unknown type 'positive'; {TYPES}", None),
        ("age: int?", "the ? of a column that may be null stands after its name", "age?: int"),
        ("age: Optional[int]", "the ? of a column that may be null stands after its name", "age?: int"),
        ("age: int | null", "a column that may be null has a ? after its name", "age?: int"),
        ("kind: text | date", "a column has one type; quote choices that are named like types",
         'kind: "text" | "date"'),
        ("tags: list", "a list is written list[TYPE]", "tags: list[str]"),
        ("tags: List[int]", "a list is written list[TYPE]", "tags: list[int]"),
        ("tags: int[]", "a list is written list[TYPE]", "tags: list[int]"),
        ("tags: list[a, b]", "separate choices with |", "tags: list[a | b]"),
        ("s: 1-5", "a range is written LOW..HIGH", "s: 1..5"),
        ("s: int [1, 5]", "a range is written LOW..HIGH", "s: 1..5"),
        ("s: 5..1", "the range ends below its beginning, 5", "s: 1..5"),
        ("s: 1..1e999", "a bound of the range is too large", None),
        ("p: low || high", "a choice is empty", "p: low | high"),
        ("p: low | low | high", "the choice 'low' occurs twice", "p: low | high"),
        ("p: x[1] | b", "write the choice 'x[1]' as a JSON string, in \"\"", 'p: "x[1]" | b'),
        ('p: "a" b | c', "write the choice '\"a\" b' as a JSON string, in \"\"", 'p: "\\"a\\" b" | c'),
        ("s:", f"there is no type after the colon; {TYPES}", "s: str"),
        ("s: int =", "there is no description after =", "s: int"),
        ("x: {}", 'the mapping has no type; write {"type": "integer", "min": 0}', None),
        (f"x: {'list[' * 9}int{']' * 9}", "lists are nested more than 8 times", None),
        ("", "it is empty; write NAME, NAME: TYPE, or NAME: TYPE = DESCRIPTION", None),
        (f"{'n' * 65}: int", "the name has 65 characters; the limit is 64", None),
        (f"n = {'x' * 20_000}", "it has 20,004 characters; the limit is 20,000", None),
    ],
)  # fmt: skip
def test_a_likely_slip_is_explained_with_the_column_that_was_meant(text, problem, suggestion):
    with pytest.raises(ColumnError) as caught:
        parse_column(text)
    assert (caught.value.problem, caught.value.suggestion) == (problem, suggestion)


def test_an_error_shows_the_column_and_the_suggestion():
    with pytest.raises(ColumnError) as caught:
        parse_columns(["a: int", "b: x, y"])
    assert str(caught.value) == "column 'b: x, y': separate choices with |; did you mean 'b: x | y'?"


def test_columns_keep_their_order_and_have_different_names():
    assert list(parse_columns(["b", "a: int"])) == ["b", "a"]
    with pytest.raises(ColumnError, match="the name 'a' is taken by an earlier column"):
        parse_columns(["a", "a: int"])


def test_an_entry_of_a_mapping_is_the_line_that_it_looks_like():
    assert parse_entry("due?", "date = if any") == parse_column("due?: date = if any")
    assert parse_entry("summary", "= one sentence") == parse_column("summary = one sentence")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"type": "string", "max_length": 10_000, "choices": None, "nullable": False}, "x: str"),
        ({"type": "string", "description": "one"}, "x = one"),
        ({"type": "integer", "min": 0, "max": 1}, 'x: {"type": "integer", "min": 0, "max": 1}'),
        ({"type": "array", "items": {"type": "string", "max_length": 9}},
         'x: {"type": "array", "items": {"type": "string", "max_length": 9}}'),
        ({"type": "number", "min": 1.0, "max": 5.0, "nullable": True}, "x?: 1.0..5.0"),
    ],
)  # fmt: skip
def test_a_column_is_written_without_defaults_and_as_json_if_the_grammar_lacks_it(spec, text):
    assert spelled("x", spec) == text


@pytest.mark.parametrize(
    "text",
    [
        'a: "' + '\\"' * 9_000,
        "a: x" + " " * 19_000 + "y",
        "a: enum" + " " * 19_000 + "x",
        "a: " + "1" * 19_000 + "..",
        "a" + " " * 19_000 + "x",
        "a: " + "or " * 6_000,
        "a: " + "?" * 19_000,
    ],
    ids=["quotes", "spaces", "enum", "digits", "name", "or", "marks"],
)
def test_no_column_takes_long(text):
    began = time.process_time()
    with pytest.raises(ColumnError):
        parse_column(text)
    assert time.process_time() - began < 0.5  # most took half a minute before
