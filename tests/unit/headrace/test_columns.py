"""Columns are named by texts, Python types, models or JSON Schemas, and all mean the same fields."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from actors.core.errors import ConfigError
from headrace.rows.columns import output_of

LEVEL = {"type": "string", "choices": ["low", "high"]}
SCORE = {"type": "integer", "min": 1, "max": 5, "description": "how angry"}
TAGS = {"type": "array", "items": {"type": "string"}}
DUE = {"type": "date", "nullable": True}
WANTED = {"level": LEVEL, "score": SCORE, "tags": TAGS, "due": DUE}


class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Ticket(BaseModel):
    level: Literal["low", "high"]
    score: Annotated[int, Field(ge=1, le=5, description="how angry")]
    tags: list[str]
    due: date | None


@dataclass
class Plain:
    level: Literal["low", "high"]
    score: Annotated[int, Field(ge=1, le=5, description="how angry")]
    tags: list[str]
    due: date | None = None


@pytest.mark.parametrize(
    "columns",
    [
        {"level": "low | high", "score": "1..5 = how angry", "tags": "list[str]", "due?": "date"},
        ["level: low | high", "score: 1..5 = how angry", "tags: list[str]", "due?: date"],
        {
            "level": Level,
            "score": Annotated[int, Field(ge=1, le=5, description="how angry")],
            "tags": list[str],
            "due": date | None,
        },
        {"level": ["low", "high"], "score": SCORE, "tags": list[str], "due?": date},
        {"level": Literal["low", "high"], "score": SCORE, "tags": TAGS, "due?": {"type": "date"}},
        Ticket,
        Plain,
        Ticket.model_json_schema(),
    ],
    ids=["texts", "list", "types", "choices", "forms", "model", "dataclass", "schema"],
)
def test_every_way_to_name_columns_gives_the_same_fields(columns):
    assert output_of(columns) == WANTED
    assert list(output_of(columns)) == list(WANTED), "in the order in which they are named"


def test_one_column_may_be_one_text():
    assert output_of("level: low | high") == {"level": LEVEL}


def test_a_nested_model_is_a_column():
    found = output_of({"ticket": Ticket | None})
    assert found["ticket"]["fields"] == WANTED
    assert found["ticket"]["nullable"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (5, "a int names no columns: give a dict such as"),
        ({}, "no column is named"),
        ([], "no column is named"),
        ([int], "a list of columns holds texts, not a type"),
        ({1: "str"}, "the name of a column is a text, not 1"),
        ({"level": "low, high"}, "did you mean 'level: low | high'?"),
        ({"level": []}, "a list holds the choices, as texts"),
        ({"level": [1, 2]}, "a list holds the choices, as texts"),
        ({"_error": str}, "names that begin with _ are reserved"),
        ({"my level": ["a", "b"]}, "a name has letters a to z, digits and _"),
        ({"level": 5}, "is not a type with a JSON Schema"),
        ({"level": dict}, "level: an object needs properties"),
        ({"level": int | str}, "level: anyOf of 2 types"),
        ({"type": "object"}, "columns: an object needs properties"),
    ],
    ids=str,
)
def test_what_names_no_columns_is_an_error_that_says_what_to_do(columns, message):
    with pytest.raises(ConfigError) as caught:
        output_of(columns)
    assert message in str(caught.value)
