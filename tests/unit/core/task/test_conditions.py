"""The conditions of steps: what they mean, and that no text and no value makes them raise."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.core.task.conditions import MAX_CONDITION, MAX_DEPTH, compile_condition

OPERAND = "of the condition: expected a field, a number or a text"
VALUES = {
    "confidence": 0.5,
    "label": "refund",
    "triage.label": "other",
    "urgent": True,
    "calm": False,
    "due": None,
    "tags": ["a", 1],
    "n": 3,
}


@pytest.mark.parametrize(
    "text",
    [
        "confidence < 0.7",
        "confidence <= 0.5 and confidence >= 0.5",
        "n > -1.5e0",
        "n == 3.0",
        'label == "refund"',
        "label != 'other'",
        "triage.label == 'other'",
        "label in ['refund', 'complaint']",
        "label not in ['billing']",
        "'a' in tags",
        "1 in tags and 2 not in tags",
        "urgent",
        "not calm",
        "urgent == true and calm == false",
        "due is null",
        "label is not null",
        "absent is null",
        "calm or urgent and n == 3",
        "(calm or urgent) and not (n == 4)",
        "not not urgent",
        "label < 'z'",
        "not due < 5",
        "n != 'text'",
    ],
)
def test_conditions_that_hold(text):
    assert compile_condition(text).holds(VALUES)
    assert not compile_condition(f"not ({text})").holds(VALUES)


@pytest.mark.parametrize(
    "text",
    [
        "due < 5",
        "due == 5",
        "due != 5",
        "due == due",
        "absent in ['a']",
        "absent not in ['a']",
        "due",
        "n",
        "label",
        "n < 'x'",
        "urgent == 1",
        "urgent > 0",
        "true in tags",
        "label in n",
        "label not in n",
        "tags < tags",
        "calm or n == 4",
    ],
)
def test_a_comparison_with_null_or_with_another_type_is_false(text):
    assert not compile_condition(text).holds(VALUES)


def test_a_condition_lists_its_names_once_and_in_order():
    condition = compile_condition("b.x < 1 and (a in ['c', d] or not b.x > a) and true")
    assert condition.names() == ("b.x", "a", "d")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", f"column 1 {OPERAND}, got the end"),
        ("a <", f"column 4 {OPERAND}, got the end"),
        ("a = 1", "column 3 of the condition: expected and, or, or the end, got '='; write =="),
        ("a AND b", "column 3 of the condition: expected and, or, or the end, got 'AND'; write and"),
        ("a && b", "column 3 of the condition: expected and, or, or the end, got '&'; write and"),
        ("a is None", "column 6 of the condition: expected null, got 'None'; write null"),
        (
            "a == None",
            f"column 6 {OPERAND}, got 'None'; write is null",
        ),
        (
            "a == null",
            f"column 6 {OPERAND}, got 'null'; write is null",
        ),
        (
            "a != null",
            f"column 6 {OPERAND}, got 'null'; write is null",
        ),
        ("a == True", f"column 6 {OPERAND}, got 'True'; write true"),
        ("0 < a < 1", "column 7 of the condition: expected and, or, or the end, got '<'"),
        ("(a", "column 3 of the condition: expected ), got the end"),
        ("a in [1", "column 8 of the condition: expected ], got the end"),
        ("a in []", f"column 7 {OPERAND}, got ']'"),
        ("a not b", "column 7 of the condition: expected in, got 'b'"),
        ("a == 'x", 'column 6 of the condition: expected a field, a number or a text, got "\'"'),
        ("a.b.c", "column 4 of the condition: expected and, or, or the end, got '.'"),
        ("f(x)", "column 2 of the condition: expected and, or, or the end, got '('"),
        ("1x < 2", f"column 1 {OPERAND}, got '1'"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_column_and_a_remedy(text, problem):
    with pytest.raises(ValueError, match=r".") as raised:
        compile_condition(text)
    assert str(raised.value) == problem


def test_length_and_depth_are_bounded():
    with pytest.raises(ValueError, match=r"has 1,001 characters; the maximum is 1,000"):
        compile_condition("a".ljust(MAX_CONDITION + 1))
    for deep in ("(" * MAX_DEPTH + "a", "not " * MAX_DEPTH + "a"):
        with pytest.raises(ValueError, match="nested more than 50 deep"):
            compile_condition(deep)
    assert compile_condition("not " * (MAX_DEPTH - 2) + "urgent").holds(VALUES)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=True) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=1), inner, max_size=2),
    max_leaves=5,
)
names = st.sampled_from(["a", "b", "s.a"])
tokens = st.sampled_from(
    [
        "a",
        "s.a",
        "and",
        "or",
        "not",
        "in",
        "is",
        "null",
        "true",
        "(",
        ")",
        "[",
        "]",
        ",",
        "<",
        "==",
        "1",
        "'x'",
        "$",
    ]
)


@given(st.lists(tokens, max_size=12).map(" ".join) | st.text(max_size=30), st.dictionaries(names, values))
def test_no_text_and_no_value_raises_anything_but_a_refusal(text, given_values):
    try:
        condition = compile_condition(text)
    except ValueError:
        return
    assert condition.holds(given_values) in (True, False)
    assert all(name in text for name in condition.names())


scalars = st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2)
comparisons = st.tuples(names, st.sampled_from(["==", "!=", "<", ">="]), scalars)
trees = st.recursive(
    comparisons,
    lambda inner: st.tuples(st.just("not"), inner) | st.tuples(inner, st.sampled_from(["and", "or"]), inner),
    max_leaves=8,
)


def written(tree):
    match tree:
        case ("not", inner):
            return f"not ({written(inner)})"
        case (left, ("and" | "or") as word, right):
            return f"({written(left)}) {word} ({written(right)})"
        case (name, sign, value):
            return f"{name} {sign} {json.dumps(value)}"


def truth(tree, by_name):
    match tree:
        case ("not", inner):
            return not truth(inner, by_name)
        case (left, "and", right):
            return truth(left, by_name) and truth(right, by_name)
        case (left, "or", right):
            return truth(left, by_name) or truth(right, by_name)
        case (name, sign, value):
            found = by_name.get(name)
            if found is None:
                return False
            alike = type(found) is type(value)
            if sign in ("==", "!="):
                return (alike and found == value) is (sign == "==")
            ordered = alike and not isinstance(found, bool)
            return ordered and (found < value if sign == "<" else found >= value)


@given(trees, st.dictionaries(names, st.none() | scalars))
def test_a_condition_means_what_its_tree_means(tree, by_name):
    assert compile_condition(written(tree)).holds(by_name) is truth(tree, by_name)
