"""The fields of an answer in words, for models that do not see the schema."""

import pickle

import pytest
from pydantic import TypeAdapter

from actors.llm.fields import FieldSpec
from actors.llm.forms import AnswerForm
from actors.llm.output_words import output_in_words

FIELDS = TypeAdapter(dict[str, FieldSpec])
POINT = {"type": "object", "fields": {"x": {"type": "number"}, "at": {"type": "date"}}}


@pytest.mark.parametrize(
    ("spec", "lines"),
    [
        ({"type": "number", "min": 0, "max": 1}, ["a number from 0 to 1"]),
        (
            {"type": "number", "min": 0, "max": 1, "description": "how strong"},
            ["how strong; a number from 0 to 1"],
        ),
        ({"type": "integer", "min": 1, "nullable": True}, ["a whole number of at least 1 or null"]),
        ({"type": "string"}, ["a string"]),
        ({"type": "string", "max_length": 80}, ["a string of at most 80 characters"]),
        ({"type": "string", "format": "json"}, ["a string of JSON"]),
        (
            {"type": "string", "choices": ["größer", 'say "no"'], "nullable": True},
            ['one of "größer", "say \\"no\\"" or null'],
        ),
        ({"type": "boolean"}, ["true or false"]),
        (
            {"type": "array", "items": {"type": "string", "description": "a tag"}, "max_items": 3},
            ["a list of at most 3 items, each a tag; a string"],
        ),
        (POINT, ["an object with these fields", '  - "x": a number', '  - "at": a date as YYYY-MM-DD']),
        (
            {"type": "array", "items": POINT, "max_items": 2, "nullable": True},
            [
                "a list of at most 2 items, each an object with these fields or null",
                '  - "x": a number',
                '  - "at": a date as YYYY-MM-DD',
            ],
        ),
    ],
)
def test_a_field_is_stated_by_its_description_and_its_values(spec, lines):
    words = output_in_words(FIELDS.validate_python({"the field": spec, "next": {"type": "boolean"}}))

    assert words.split("\n") == [
        "Answer with a JSON object with these fields:",
        f'- "the field": {lines[0]}',
        *lines[1:],
        '- "next": true or false',
    ]


def test_the_words_leave_out_no_choice():
    choices = [f"{number:03} {'x' * 200}" for number in range(100)]

    words = output_in_words(FIELDS.validate_python({"x": {"type": "string", "choices": choices}}))

    assert all(f'"{choice}"' in words for choice in choices)


def test_the_words_follow_the_system_text_and_without_one_precede_the_prompt():
    fields = FIELDS.validate_python({"x": {"type": "boolean"}})
    words = output_in_words(fields)
    bare, told = AnswerForm("f", fields, 9), AnswerForm("f", fields, 9, "Be brief.")

    assert (bare.described().instructions, bare.described().preface) == (None, f"{words}\n\n")
    assert (told.described().instructions, told.described().preface) == (f"Be brief.\n\n{words}", "")
    assert bare.described().tokens > bare.tokens
    kept = pickle.loads(pickle.dumps(bare.described()))  # noqa: S301 - its own bytes
    assert kept.preface == bare.described().preface
    plain = AnswerForm("f", {}, 9)
    assert plain.described() is plain  # text has no fields
