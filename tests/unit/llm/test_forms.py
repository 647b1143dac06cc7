"""What an answer must look like: what fits, what does not, and what the model is told about it."""

import pickle

import orjson
import pytest
from pydantic import TypeAdapter, ValidationError

from actors.llm.fields import FieldSpec
from actors.llm.forms import AnswerForm, AnswerProblem

SCORE = {"type": "number", "min": 0, "max": 1}


def form(**fields):
    return AnswerForm("evaluate", TypeAdapter(dict[str, FieldSpec]).validate_python(fields), 200)


def problem(answer_form, content):
    found = answer_form.parse(content)
    assert isinstance(found, AnswerProblem), found
    return found.text


def test_an_answer_that_fits_becomes_its_values_under_the_names_of_the_fields():
    everything = form(
        quality=SCORE,
        stars={"type": "integer", "min": 1, "max": 5},
        note={"type": "string", "max_length": 5},
        mood={"type": "string", "choices": ["good", "bad"]},
        sure={"type": "boolean"},
        tags={"type": "array", "items": {"type": "string"}, "max_items": 2},
    )
    answer = {"quality": 1, "stars": 5, "note": "short", "mood": "bad", "sure": False, "tags": ["a", "b"]}

    assert everything.parse(orjson.dumps(answer).decode()) == answer


@pytest.mark.parametrize(
    ("spec", "written", "wanted"),
    [
        (SCORE, '"0.5"', 'wanted a number from 0 to 1, got "0.5"'),
        (SCORE, "1.01", "wanted a number from 0 to 1, got 1.01"),
        (SCORE, "true", "wanted a number from 0 to 1, got true"),
        (SCORE, "null", "wanted a number from 0 to 1, got null"),
        (SCORE, "{}", "wanted a number from 0 to 1, got an object"),
        ({"type": "number"}, "NaN", "wanted a number, got NaN"),
        ({"type": "number"}, "-Infinity", "wanted a number, got -Infinity"),
        ({"type": "number"}, "1e400", "wanted a number, got Infinity"),
        ({"type": "number", "min": 0.5}, "0", "wanted a number of at least 0.5, got 0"),
        ({"type": "number", "max": 0.5}, "1", "wanted a number of at most 0.5, got 1"),
        ({"type": "integer"}, "2.5", "wanted a whole number, got 2.5"),
        ({"type": "integer"}, "9007199254740992", "wanted a whole number, got 9007199254740992"),
        ({"type": "string"}, "7", "wanted a string of at most 10000 characters, got 7"),
        ({"type": "string", "max_length": 2}, '"abc"', 'wanted a string of at most 2 characters, got "abc"'),
        ({"type": "string", "choices": ["a", "b"]}, '"A"', 'wanted one of "a", "b", got "A"'),
        ({"type": "boolean"}, "1", "wanted true or false, got 1"),
        ({"type": "boolean"}, '"true"', 'wanted true or false, got "true"'),
        (
            {"type": "array", "items": {"type": "boolean"}, "max_items": 1},
            "[true, true]",
            "wanted a list of at most 1 items, each true or false, got a list of 2",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_a_problem_that_names_field_and_wish(spec, written, wanted):
    assert problem(form(x=spec), f'{{"x": {written}}}') == f'the field "x": {wanted}'


def test_a_wrong_element_of_a_list_is_named_by_its_place():
    words = form(tags={"type": "array", "items": {"type": "string", "max_length": 3}})

    assert problem(words, '{"tags": ["a", 7]}') == (
        'the field "tags"[1]: wanted a string of at most 3 characters, got 7'
    )


BORN = {"type": "date", "nullable": True}
PERSON = {"type": "object", "fields": {"name": {"type": "string"}, "born": BORN}}


def test_nested_objects_and_lists_dates_and_nulls_are_returned_as_they_were_written():
    grid = {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}
    people = form(people={"type": "array", "items": PERSON}, grid=grid, born=BORN)
    both = [{"name": "Ada", "born": "1815-12-10"}, {"name": "B", "born": None}]
    answer = {"people": both, "grid": [[1], []], "born": None}

    assert people.parse(orjson.dumps(answer).decode()) == answer


def test_keys_nobody_asked_for_are_dropped_from_nested_objects():
    assert form(x=PERSON).parse('{"x": {"name": "A", "born": null, "age": 3}}') == {
        "x": {"name": "A", "born": None}
    }


@pytest.mark.parametrize(
    ("spec", "written", "wanted"),
    [
        ({"type": "date"}, '"30.11.2026"', 'the field "x": wanted a date as YYYY-MM-DD, got "30.11.2026"'),
        ({"type": "date"}, '"2026-02-30"', 'the field "x": wanted a date as YYYY-MM-DD, got "2026-02-30"'),
        ({"type": "date"}, '"20261130"', 'the field "x": wanted a date as YYYY-MM-DD, got "20261130"'),
        (SCORE | {"nullable": True}, "2", 'the field "x": wanted a number from 0 to 1 or null, got 2'),
        ({"type": "string", "choices": ["a"], "nullable": True}, '"null"',
         'the field "x": wanted one of "a" or null, got "null"'),
        ({"type": "string", "format": "json"}, '"{1"',
         'the field "x": wanted a string of JSON of at most 10000 characters, got "{1"'),
        (PERSON, '{"name": 1, "born": null}',
         'the field "x"."name": wanted a string of at most 10000 characters, got 1'),
        (PERSON, '{"name": "A"}', 'the field "x"."born" is missing: wanted a date as YYYY-MM-DD or null'),
        (PERSON, "[]", 'the field "x": wanted an object with the fields "name", "born", got a list of 0'),
        ({"type": "array", "items": PERSON}, "[{}]",
         ('the field "x"[0]."name" is missing: wanted a string of at most 10000 characters; '
          'the field "x"[0]."born" is missing: wanted a date as YYYY-MM-DD or null')),
    ],
)  # fmt: skip
def test_a_problem_inside_a_value_names_its_place_and_what_belongs_there(spec, written, wanted):
    assert problem(form(x=spec), f'{{"x": {written}}}') == wanted


def test_the_schema_says_what_may_be_null_and_what_belongs_into_a_field():
    described = form(
        born={"type": "date", "nullable": True, "description": "day of birth"},
        mood={"type": "string", "choices": ["good"], "nullable": True},
        note={"type": "string", "max_length": 9, "description": "why"},
        raw={"type": "string", "format": "json"},
        who={"type": "object", "fields": {"age": {"type": "integer"}}, "nullable": True},
    )
    assert orjson.loads(described.response_format)["json_schema"]["schema"]["properties"] == {
        "born": {"type": ["string", "null"], "description": "day of birth; a date as YYYY-MM-DD"},
        "mood": {"type": ["string", "null"], "enum": ["good", None]},
        "note": {"type": "string", "description": "why; at most 9 characters"},
        "raw": {"type": "string", "description": "a JSON value, written as a string"},
        "who": {
            "type": ["object", "null"],
            "properties": {"age": {"type": "integer"}},
            "required": ["age"],
            "additionalProperties": False,
        },
    }


def test_a_field_without_new_keys_is_dumped_as_it_was_so_that_calls_keep_their_keys():
    dumped = form(x=SCORE, y={"type": "string"}).fields
    assert [spec.model_dump(mode="json") for spec in dumped.values()] == [
        {"type": "number", "min": 0.0, "max": 1.0},
        {"type": "string", "max_length": 10_000, "choices": None},
    ]


def test_a_missing_field_is_named_with_what_belongs_there():
    assert problem(form(x=SCORE), "{}") == 'the field "x" is missing: wanted a number from 0 to 1'


def test_keys_nobody_asked_for_are_dropped():
    assert form(x=SCORE).parse('{"x": 0.5, "why": "because"}') == {"x": 0.5}


def test_a_key_that_comes_twice_counts_as_its_last_value():
    assert form(x=SCORE).parse('{"x": 0.1, "x": 0.2}') == {"x": 0.2}


@pytest.mark.parametrize(
    "content",
    ['```json\n{"x": 0.5}\n```', '```\n{"x": 0.5}```', '  ```JSON\r\n{"x": 0.5}\r\n```\n', ' {"x": 0.5}\n'],
)
def test_a_fence_around_the_json_is_tolerated(content):
    assert form(x=SCORE).parse(content) == {"x": 0.5}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "   ",
        "```",
        "``````",
        "```json\n```",
        "half of it",
        '{"x": 0.5',
        '{"x": 0.5} and more',
        "[0.5]",
        "0.5",
        "[" * 5000,
        "\ud800",
        '{"x": "\\ud800"}',
        '{"x": 1' + "0" * 5000 + "}",
    ],
)
def test_what_is_not_one_json_object_is_a_problem_that_says_what_was_wanted(content):
    text = problem(form(x=SCORE), content)

    assert text.startswith('wanted one JSON object with the fields "x", got ')
    assert len(text) < 400
    text.encode()  # it goes into the next request: a lone surrogate would break that


def test_a_problem_stays_short_however_much_is_wrong():
    many = form(**{f"field_{n}": {"type": "string", "choices": ["c" * 90, "d" * 90]} for n in range(40)})

    text = problem(many, orjson.dumps({f"field_{n}": "x" * 9999 for n in range(40)}).decode())

    assert text.count("the field") == 3
    assert text.endswith("; and 37 more")
    assert len(text) < 1500


def test_a_form_without_fields_takes_any_text_but_an_empty_one():
    plain = AnswerForm("finding", {}, 200)

    assert plain.response_format is None
    assert plain.parse(" One finding.\n") == {"text": " One finding.\n"}
    assert problem(plain, " \n") == "the answer was empty: wanted some text"


def test_names_that_mean_something_to_python_or_pydantic_are_fields_like_others():
    names = ["copy", "model_config", "_private", "class", "f0", "two words", "größe", "json"]
    odd = form(**{name: {"type": "integer"} for name in names})
    answer = {name: position for position, name in enumerate(names)}

    assert odd.parse(orjson.dumps(answer).decode()) == answer


def test_the_schema_is_strict_and_holds_no_keyword_that_strict_modes_turn_down():
    described = AnswerForm(
        "synthesize/quality",
        form(
            quality=SCORE,
            note={"type": "string", "max_length": 80},
            free={"type": "string"},
            mood={"type": "string", "choices": ["good", "bad"]},
            tags={"type": "array", "items": {"type": "boolean"}, "max_items": 3},
        ).fields,
        200,
    )

    assert orjson.loads(described.response_format) == {
        "type": "json_schema",
        "json_schema": {
            "name": "synthesize_quality",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {
                    "quality": {"type": "number", "minimum": 0.0, "maximum": 1.0},
                    "note": {"type": "string", "description": "at most 80 characters"},
                    "free": {"type": "string"},
                    "mood": {"type": "string", "enum": ["good", "bad"]},
                    "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
                },
                "required": ["quality", "note", "free", "mood", "tags"],
                "additionalProperties": False,
            },
        },
    }


def test_a_form_keeps_the_text_of_an_answer_where_it_is_asked_to():
    kept = pickle.loads(pickle.dumps(AnswerForm("f", form(x=SCORE).fields, 7, keeps_raw=True)))  # noqa: S301 - made here
    assert kept.parse('```json\n{"x": 0.5}\n```') == {"x": 0.5, "_raw": '```json\n{"x": 0.5}\n```'}
    assert "_raw" not in form(x=SCORE).parse('{"x": 0.5}')


def test_a_form_pickles_and_works_where_it_arrives():
    sent = pickle.dumps(AnswerForm("f", form(x=SCORE).fields, 7, "Be brief."))
    arrived = pickle.loads(sent)  # noqa: S301 - made in the line above

    assert (arrived.name, arrived.max_tokens, arrived.instructions) == ("f", 7, "Be brief.")
    assert arrived.parse('{"x": 0.5}') == {"x": 0.5}
    assert repr(arrived) == "<AnswerForm f [x]>"


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "number", "min": 1, "max": 0},
        {"type": "integer", "min": 2**53},
        {"type": "number", "max": float("inf")},
        {"type": "string", "choices": []},
        {"type": "string", "choices": ["a", "a"]},
        {"type": "string", "max_lenght": 3},
        {"type": "boolean", "min": 0},
        {"type": "array"},
        {"type": "object"},
        {"type": "object", "fields": {}},
        {"type": "date", "min": "2026-01-01"},
        {"type": "string", "choices": ["a"], "format": "json"},
        {"min": 0},
    ],
)
def test_a_field_that_makes_no_sense_is_refused(spec):
    with pytest.raises(ValidationError):
        form(x=spec)


def test_a_form_needs_room_for_an_answer_and_names_for_its_fields():
    with pytest.raises(ValueError, match="max_tokens must be at least 1"):
        AnswerForm("f", {}, 0)
    with pytest.raises(ValueError, match="empty name"):
        AnswerForm("f", form(x=SCORE).fields | {"": form(x=SCORE).fields["x"]}, 1)
