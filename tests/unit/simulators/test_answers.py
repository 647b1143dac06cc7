"""The content of simulated answers."""

from __future__ import annotations

import hashlib
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from actors.llm.fields import FieldSpec
from actors.llm.forms import AnswerForm
from simulators.answers import SchemaError, compose, ids_in, nonce_of, prose, violate_range, violate_type

EVALUATION = {
    "type": "object",
    "properties": {
        "quality": {"type": "number", "minimum": 0, "maximum": 1},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
        "mood": {"enum": ["good", "bad"]},
        "sure": {"type": "boolean"},
        "note": {"type": "string"},
    },
    "required": ["quality", "stars", "mood", "sure", "note"],
    "additionalProperties": False,
}


def answer(schema: dict[str, Any] | None, *, seed: int = 0, nonce: str = "ab12", text: str = "") -> Any:
    return compose(schema, seed=seed, nonce=nonce, text=text)


def fits(value: Any, schema: dict[str, Any]) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(value)


# Schemas of the kind that strict structured output allows, three levels deep, none of them contradictory.
numbers = st.tuples(st.integers(-1000, 1000), st.integers(0, 1000)).map(
    lambda pair: {"type": "number", "minimum": pair[0], "maximum": pair[0] + pair[1] / 7}
)
open_numbers = st.tuples(st.integers(-9, 9), st.floats(0.01, 9)).map(
    lambda pair: {"type": "number", "exclusiveMinimum": pair[0], "exclusiveMaximum": pair[0] + pair[1]}
)
half_bounded = st.tuples(
    st.sampled_from(["number", "integer"]),
    st.sampled_from(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]),
    st.integers(-5000, 5000),
).map(lambda t: {"type": t[0], t[1]: t[2]})
integers = st.tuples(st.integers(-50, 50), st.integers(4, 50), st.sampled_from([1, 2, 5])).map(
    lambda t: {"type": "integer", "minimum": t[0], "maximum": t[0] + t[1], "multipleOf": t[2]}
)
strings = st.tuples(st.integers(0, 80), st.integers(0, 80)).map(
    lambda pair: {"type": "string", "minLength": min(pair), "maxLength": max(pair)}
)
leaves = st.one_of(
    numbers,
    open_numbers,
    half_bounded,
    integers,
    strings,
    st.just({"type": "string"}),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.just({"type": ["string", "null"]}),
    st.just({"const": 3}),
    st.just({"enum": ["a", 1, None]}),
    st.just({"anyOf": [{"type": "integer"}, {"type": "null"}]}),
    st.just({"$ref": "#/$defs/score"}),
)


def _objects(inner):
    return st.dictionaries(st.sampled_from("abcdef"), inner, max_size=4).map(
        lambda p: {"type": "object", "properties": p, "required": list(p), "additionalProperties": False}
    )


def _arrays(inner):
    return st.tuples(inner, st.integers(0, 4), st.integers(0, 4)).map(
        lambda t: {"type": "array", "items": t[0], "minItems": min(t[1:]), "maxItems": max(t[1:])}
    )


schemas = _objects(st.recursive(leaves, lambda inner: _objects(inner) | _arrays(inner), max_leaves=8)).map(
    lambda schema: {**schema, "$defs": {"score": {"type": "number", "minimum": 0, "maximum": 1}}}
)


@given(schema=schemas, seed=st.integers(0, 99), text=st.sampled_from(["", "[a-1] one\n[a-2] two"]))
def test_an_answer_fits_the_schema_that_it_was_asked_for(schema, seed, text):
    value = orjson.loads(orjson.dumps(answer(schema, seed=seed, text=text)))
    jsonschema.validate(value, schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.0015},
        {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 3},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "multipleOf": 0.5},
    ],
)
def test_a_number_keeps_off_the_bounds_that_it_must_not_reach(schema):
    for seed in range(50):
        assert schema["exclusiveMinimum"] < answer(schema, seed=seed) < schema["exclusiveMaximum"]


def test_the_same_question_has_the_same_answer_and_another_has_another():
    assert answer(EVALUATION) == answer(EVALUATION)
    assert answer(EVALUATION, seed=1) != answer(EVALUATION)
    assert answer(EVALUATION, nonce="cd34") != answer(EVALUATION)


def test_every_free_string_carries_the_nonce():
    assert "nonce:ab12" in answer(EVALUATION)["note"]
    assert "nonce:ab12" in answer(None)
    assert "nonce:ab12" in prose(seed=0, nonce="ab12")


def test_the_nonce_is_a_digest_of_the_messages_that_anybody_can_compute():
    messages = [{"role": "user", "content": "hello"}]
    canonical = b'[{"content":"hello","role":"user"}]'
    assert nonce_of(messages) == hashlib.sha256(canonical).hexdigest()[:16]
    assert nonce_of([{"content": "hello", "role": "user"}]) == nonce_of(messages)
    assert nonce_of([{"role": "user", "content": "hello!"}]) != nonce_of(messages)


def test_ids_are_those_at_the_beginnings_of_lines_each_once():
    text = "Evidence:\n[wire:1] good [not-this]\n[wire:2] bad\n[wire:1] again\n [nor-this] x\n[two words] y"
    assert ids_in(text) == ["wire:1", "wire:2"]


def test_a_list_of_strings_cites_ids_that_the_prompt_lists():
    text = "".join(f"[wire:{n}] text\n" for n in range(10))
    schema = {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 4}
    for seed in range(50):
        found = answer(schema, seed=seed, text=text)
        assert set(found) <= {f"wire:{n}" for n in range(10)}
        assert len(set(found)) == len(found)
        assert 2 <= len(found) <= 4


def test_a_list_of_choices_cites_nothing():
    schema = {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}, "minItems": 1}
    assert set(answer(schema, text="[wire:1] text")) <= {"x", "y"}


def test_different_items_are_found_where_the_schema_asks_for_them():
    schema = {
        "type": "array",
        "items": {"enum": [1, 2, 3]},
        "minItems": 3,
        "maxItems": 3,
        "uniqueItems": True,
    }
    assert sorted(answer(schema)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "string", "pattern": "^a$"}, "pattern"),
        ({"type": "number", "minimum": 2, "maximum": 1}, "no number"),
        ({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2}, "no number"),
        ({"type": "array", "items": {"type": "null"}, "minItems": 3, "maxItems": 2}, "minItems"),
        ({"type": "array", "items": {"enum": [1]}, "minItems": 2, "uniqueItems": True}, "different items"),
        ({"$ref": "#/$defs/none"}, "leads nowhere"),
        ({"$ref": "other.json"}, "leads out"),
        ({"$ref": "#"}, "lead to each other"),
        ({"type": "tuple"}, "not known"),
        (
            {
                "type": "object",
                "properties": {"a": {"$ref": "#"}},
                "required": ["a"],
                "additionalProperties": False,
            },
            "deeper",
        ),
        ({"type": "object", "required": ["a"], "additionalProperties": False}, "not allowed"),
    ],
)
def test_a_schema_that_cannot_be_answered_is_an_error_and_not_a_guess(schema, message):
    with pytest.raises(SchemaError, match=message):
        answer(schema)


def test_a_schema_that_leads_back_to_itself_is_answered_where_a_way_out_is_drawn():
    tree = {"anyOf": [{"type": "object", "properties": {"next": {"$ref": "#"}}}, {"type": "null"}]}
    found = [compose(tree, seed=seed, nonce="n", text="") for seed in range(50)]
    assert None in found
    assert {"next": {"next": None}} in found


def test_alternatives_of_which_there_are_none_leave_the_type_to_the_rest():
    assert compose({"anyOf": [], "type": "null"}, seed=0, nonce="n", text="") is None


@given(schema=schemas.filter(lambda schema: schema["properties"]))
def test_an_answer_of_the_wrong_type_never_fits(schema):
    first = next(iter(schema["properties"].values()))
    if not first.keys() & {"anyOf", "$ref"}:
        assert not fits(violate_type(answer(schema)), schema)


@pytest.mark.parametrize("name", ["quality", "stars", "mood"])
def test_a_value_out_of_range_keeps_its_type_and_does_not_fit(name):
    schema = {"type": "object", "properties": {name: EVALUATION["properties"][name]}, "required": [name]}
    value = answer(schema)
    bent = violate_range(value, schema)
    assert not fits(bent, schema)
    assert isinstance(bent[name], int | float if name != "mood" else str)


def test_a_list_out_of_range_is_too_long():
    schema = {"type": "object", "properties": {"ids": {"type": "array", "maxItems": 2}}}
    assert len(violate_range({"ids": ["a"]}, schema)["ids"]) == 3


def test_where_nothing_has_a_range_the_type_is_wrong_instead():
    schema = {"type": "object", "properties": {"note": {"type": "string"}}, "required": ["note"]}
    assert not fits(violate_range(answer(schema), schema), schema)


def test_formats_and_lengths_in_descriptions_are_followed():
    """The schema of a form states there what strict modes of endpoints do not take as keywords."""
    fields = {
        "due": {"type": "date", "nullable": True},
        "raw": {"type": "string", "format": "json"},
        "short": {"type": "string", "max_length": 7},
        "parts": {"type": "array", "items": {"type": "object", "fields": {"on": {"type": "date"}}}},
    }
    form = AnswerForm("f", TypeAdapter(dict[str, FieldSpec]).validate_python(fields), 100)
    schema = orjson.loads(form.response_format)["json_schema"]["schema"]
    for seed in range(20):
        made = answer(schema, seed=seed)
        assert form.parse(orjson.dumps(made).decode()) == made
