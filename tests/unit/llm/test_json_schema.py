"""What JSON Schemas and Python types become, and what is refused since no answer could be checked."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, RootModel, TypeAdapter

from actors.core.errors import ConfigError
from actors.llm.fields import FieldSpec
from actors.llm.json_schema import JsonSchemaError, fields_of_path, fields_of_schema, fields_of_type


class Mood(enum.Enum):
    GOOD = "Good"
    BAD = "bad"


class Part(BaseModel):
    """A part."""

    name: str
    weight_kg: Annotated[float, Field(ge=0, le=10)] | None = None


class Review(BaseModel):
    """What a review says."""

    mood: Mood
    stars: Annotated[int, Field(gt=0, lt=6, description="5 is best")]
    topics: Annotated[list[Literal["price", "quality"]], Field(max_length=3)]
    bought: dt.date | None
    sure: bool = False
    note: Annotated[str, Field(max_length=80)] = ""
    parts: list[Part]
    main: Part | None = None


REVIEW = {
    "mood": {"type": "string", "choices": ["Good", "bad"]},
    "stars": {"type": "integer", "min": 1, "max": 5, "description": "5 is best"},
    "topics": {"type": "array", "items": {"type": "string", "choices": ["price", "quality"]}, "max_items": 3},
    "bought": {"type": "date", "nullable": True},
    "sure": {"type": "boolean"},
    "note": {"type": "string", "max_length": 80},
}
PART = {
    "type": "object",
    "fields": {
        "name": {"type": "string"},
        "weight_kg": {"type": "number", "min": 0.0, "max": 10.0, "nullable": True},
    },
    "description": "A part.",
}


def test_a_model_becomes_its_fields():
    fields = fields_of_type(Review)
    assert fields == REVIEW | {
        "parts": {"type": "array", "items": PART},
        "main": PART | {"nullable": True},
    }
    TypeAdapter(dict[str, FieldSpec]).validate_python(fields)


def test_a_dataclass_becomes_its_fields():
    @dataclass
    class Rating:
        score: float
        why: str | None

    assert fields_of_type(Rating) == {
        "score": {"type": "number"},
        "why": {"type": "string", "nullable": True},
    }


def test_a_model_is_found_by_its_import_path():
    assert fields_of_path(f"{__name__}:Part") == PART["fields"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_module:Model", "the import path has no module 'no_such_module'"),
        (f"{__name__}:Nothing", f"{__name__} has no 'Nothing'"),
        (f"{__name__}:PART", "it has no JSON Schema"),
    ],
)
def test_a_path_that_names_no_type_is_explained(path, message):
    with pytest.raises(ConfigError) as caught:
        fields_of_path(path)
    assert message in str(caught.value)


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        ({"enum": ["a", None]}, {"type": "string", "choices": ["a"], "nullable": True}),
        ({"const": "a"}, {"type": "string", "choices": ["a"]}),
        ({"allOf": [{"type": "integer"}], "description": "x"}, {"type": "integer", "description": "x"}),
        ({"type": "integer", "minimum": 1.0}, {"type": "integer", "min": 1}),
        ({"type": "string", "title": "T", "default": "a"}, {"type": "string"}),
        ({"type": ["array", "null"], "items": {"type": "array", "items": {"type": "boolean"}}},
         {"type": "array", "items": {"type": "array", "items": {"type": "boolean"}}, "nullable": True}),
    ],
)  # fmt: skip
def test_a_schema_becomes_a_field(schema, field):
    assert fields_of_schema(_object(x=schema)) == {"x": field}


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "array", "items": {"type": "string"}},
         "the root must be an object with properties, not array: put it into a property"),
        ({"type": ["object", "null"], "properties": {"x": {"type": "string"}}}, "the root must not be null"),
        (_object(), "an object needs properties: an answer has fixed names"),
        (_object(x={"type": "object"}), "x: an object needs properties: an answer has fixed names"),
        (_object(x={"type": "string", "pattern": "a+"}),
         "x: pattern cannot be checked; remove it, or say it in the description"),
        (_object(x={"type": "string", "format": "email"}),
         "x: format cannot be checked; remove it, or say it in the description"),
        (_object(x={"type": "number", "exclusiveMinimum": 0}),
         "x: exclusiveMinimum cannot be checked; remove it, or say it in the description"),
        (_object(x={"enum": [1, 2]}), "x: choices must be strings"),
        (_object(x={"anyOf": [{"type": "string"}, {"type": "integer"}]}),
         "x: anyOf of 2 types: a field has one type, and may be null beside it"),
        (_object(x={"type": ["string", "integer"]}), "x: type ['string', 'integer'] cannot be a field"),
        (_object(x={}), "x: type None cannot be a field"),
        (_object(x={"type": "array"}), "x: an array needs items"),
        (_object(x=_object(y={"type": "nul"})), "x.y: type nul cannot be a field"),
        (_object(x={"$ref": "#/$defs/Nope"}), "x: #/$defs/Nope is not in this schema"),
        (_object(x={"$ref": "#"}), "x: # is not in this schema"),
        (_object(x=True), "x: a schema must be a mapping"),
    ],
)  # fmt: skip
def test_what_no_answer_can_be_checked_for_is_refused_with_its_place(schema, problem):
    with pytest.raises(JsonSchemaError) as caught:
        fields_of_schema(schema)
    assert caught.value.problems == (problem,)


def test_all_problems_of_a_schema_are_shown_together():
    with pytest.raises(JsonSchemaError) as caught:
        fields_of_schema(_object(x={"enum": [1]}, y={"type": "null"}), "s.json")
    assert str(caught.value) == "s.json: x: choices must be strings\ns.json: y: type null cannot be a field"


def test_a_recursive_model_and_a_root_that_is_no_object_are_refused():
    class Tree(BaseModel):
        children: list[Tree]

    class Names(RootModel[list[str]]):
        pass

    with pytest.raises(JsonSchemaError, match="contains itself: an answer needs a fixed depth"):
        fields_of_type(Tree)
    with pytest.raises(JsonSchemaError, match="Names: the root must be an object"):
        fields_of_type(Names)


def test_a_schema_of_any_size_ends_with_an_error():
    deep: Any = {"type": "string"}
    for _ in range(3000):
        deep = {"anyOf": [deep]}
    wide = {
        f"D{n}": _object(a={"$ref": f"#/$defs/D{n + 1}"}, b={"$ref": f"#/$defs/D{n + 1}"}) for n in range(30)
    }
    with pytest.raises(JsonSchemaError, match="too deep"):
        fields_of_schema(_object(x=deep))
    with pytest.raises(JsonSchemaError, match="too large or too deep"):
        fields_of_schema(_object(x={"$ref": "#/$defs/D0"}) | {"$defs": wide | {"D30": {"type": "string"}}})
