"""Templates of prompts: what is a placeholder, what is text, and what is a mistake."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.core.task.templates import NullValueError, compile_template


def fill(template, values):
    return compile_template(template).fill(values)


def test_names_are_filled_and_double_braces_are_braces():
    assert fill('Rate {key} as {{"score": {n}}}', {"key": "x", "n": 3}) == 'Rate x as {"score": 3}'


@pytest.mark.parametrize(("template", "filled"), [("Rate {a} now.", "Rate x now."), ("Rate it.", "Rate it.")])
def test_what_follows_the_last_place_is_kept(template, filled):
    assert fill(template, {"a": "x"}) == filled


def test_a_template_lists_its_names_once_and_in_order():
    assert compile_template("{b} {a} {b} {{c}}").names == ("b", "a")


def test_a_value_is_never_expanded_again():
    assert fill("{a}{b}", {"a": "{b} {{ }}", "b": "{a}"}) == "{b} {{ }}{a}"


def test_what_is_not_text_appears_as_json_in_one_order():
    assert fill("{v}", {"v": {"b": [True, None], "a": "é"}}) == '{"a": "é", "b": [true, null]}'


def problems(template, *known):
    return compile_template(template).problems(known)


# ---- braces ----------------------------------------------------------------------------------------------


def test_each_double_brace_is_the_brace_that_it_doubles():
    assert fill("}}{{", {}) == "}{"
    assert fill('{{"a": {{"b": {x}}}}}', {"x": 1}) == '{"a": {"b": 1}}'
    assert fill('{"a": {"b": {"c": 1}}} }}', {}) == '{"a": {"b": {"c": 1}}} }'


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "}",
        "{}",
        "a } b",
        r"\d{4}-\d{1,2}",
        '{"a": 1}',
        '{"a": {"b": {"c": []}}}',
        '{"a": {}}',
        '[{"a": {"b": 1}}, {"c": 2}]',
        '{\n  "a": {\n    "b": 1}}',
        '{"a": "' + "x" * 300 + '"}',
        "{a, b}",
        "{x: 1}",
    ],
)
def test_braces_that_do_not_look_like_a_placeholder_are_text(text):
    assert fill(text, {"known": "v"}) == text
    assert problems(text, "known") == ()
    assert compile_template(text).names == ()


def test_placeholders_in_json_are_filled_and_its_braces_stay():
    assert fill('Answer as {"a": {"b": "{x}"}} and {"c": {x}}.', {"x": "1"}) == (
        'Answer as {"a": {"b": "1"}} and {"c": 1}.'
    )


# ---- names -----------------------------------------------------------------------------------------------


def test_any_column_can_be_named():
    row = {"First name": "Ann", "größe": 3, "a.b": True, "Price ($)": 5, "2023": "y", "Q1: agree?": "no"}
    template = "{First name}{größe}{a.b}{Price ($)}{2023}{Q1: agree?}"
    assert fill(template, row) == "Ann3true5yno"
    assert compile_template(template).used(row) == tuple(row)
    assert problems(template, *row) == ()


def test_a_null_is_empty_where_it_is_allowed_and_has_no_text_elsewhere():
    assert fill("[{a?}{b?}{s.f?}]", {"a": None, "b": 1}) == "[1]"
    with pytest.raises(NullValueError, match=r"^null in a$"):
        fill("{a?}{a}", {"a": None})
    assert compile_template("{a}").fill({"a": None}, null="null") == "null"
    assert compile_template("{a?}{b?}{b}{c}").optional() == {"a"}


def test_zero_and_false_are_values():
    assert fill("{a?}{b?}", {"a": 0, "b": False}) == "0false"


def test_a_column_whose_name_ends_with_a_question_mark_takes_precedence():
    assert fill("{Is it good?}", {"Is it good?": "yes", "Is it good": "no"}) == "yes"
    assert compile_template("{Is it good?}").used(["Is it good?"]) == ("Is it good?",)
    with pytest.raises(NullValueError, match="null in Is it good"):
        fill("{Is it good?}", {"Is it good?": None})


FORMATTED = (
    " is no placeholder, since values have no formats and indexes; "
    "write {text}, or {{ and }} for literal braces"
)

# ---- problems --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{txet}", "{txet} names nothing; write {{ and }} for literal braces; did you mean text?"),
        ("{Text}", "{Text} names nothing; write {{ and }} for literal braces; did you mean text?"),
        ("{ text }", "{ text } names nothing; write {{ and }} for literal braces; did you mean text?"),
        ("{x}", "{x} names nothing; write {{ and }} for literal braces; known: First name, text"),
        (
            "{first name}",
            "{first name} names nothing; write {{ and }} for literal braces; did you mean First name?",
        ),
        *(
            (template, f"{template}{FORMATTED}")
            for template in ("{text!r}", "{text:>9}", "{text[0]}", "{text!s:9}")
        ),
    ],
)
def test_what_looks_like_a_placeholder_and_names_nothing_is_a_problem(template, problem):
    known = {"text": "a", "First name": "b"}
    assert problems(f"Rate\nit: {template}", *known) == (f"line 2, column 5 of the prompt: {problem}",)
    with pytest.raises(ValueError, match=re.escape(f"the prompt cannot be made: {problem}")):
        fill(f"Rate\nit: {template}", known)


def test_an_optional_name_that_names_nothing_is_a_problem_before_a_run_and_empty_in_a_task_that_lacks_it():
    (problem,) = problems("{texts?}", "text")
    assert problem.endswith("did you mean text?")
    assert fill("[{texts?}]", {"text": "a"}) == "[]"


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "text",
    [
        "{a" + ":" * 190 + " }",
        "{a" + "[]" * 90 + " }",
        "{{a" + " " * 90_000,
        "{ " * 40_000,
        "{a" + " ?" * 99 + "}",
    ],
)
def test_no_text_takes_long_to_look_through(text):
    assert fill(text, {"a": "x"}).count("a") == text.count("a")
    assert problems(text, "a") == ()


def test_of_many_names_only_the_first_are_listed():
    (problem,) = problems("{x}", *(f"column {number:03}" for number in range(200)))
    assert problem.endswith("column 018, column 019 and 180 more")


def test_braces_that_are_doubled_around_a_column_are_a_problem_if_nothing_else_is_used():
    assert problems("Rate {{ text }}", "text") == (
        "line 1, column 6 of the prompt: {{ text }} is literal text; write {text}",
    )
    assert problems("Rate {text} as {{text}}", "text") == ()


def test_the_first_character_of_a_prompt_has_the_first_column():
    assert problems("{x}", "text")[0].startswith("line 1, column 1 of the prompt: ")
    assert problems("\n{x}", "text")[0].startswith("line 2, column 1 of the prompt: ")


def test_a_value_that_cannot_be_written_is_refused_by_name():
    with pytest.raises(ValueError, match="the value of thing cannot be written as JSON: object is not JSON"):
        fill("{thing}", {"thing": object()})


def test_a_lone_surrogate_is_replaced_since_no_request_can_carry_it():
    assert fill("é {a}", {"a": "x\ud800y"}) == "é x?y"


texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)


@given(texts, texts, texts)
def test_filling_is_concatenation_whatever_the_values_hold(before, value, after):
    escaped = before.replace("{", "{{").replace("}", "}}")
    assert fill(escaped + "{a}{b}", {"a": value, "b": after}) == before + value + after


@given(st.text(alphabet='{}ab"?: \n', max_size=30), st.dictionaries(st.sampled_from("ab"), texts))
def test_a_template_without_problems_can_be_filled(text, values):
    template = compile_template(text)
    if not template.problems(values):
        filled = template.fill(values)
        assert all(value in filled for value in map(values.get, template.used(values)))
        if not template.used(values) and not re.search(r"\{\{|\}\}|\{ *[ab][ab ]*\?? *\}", text):
            assert filled == text
