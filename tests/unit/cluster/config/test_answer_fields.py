from __future__ import annotations

import json

import pytest
from pydantic import BaseModel

from actors.core.errors import ConfigError
from cluster.config import model as config


class Rating(BaseModel):
    score: float
    why: str


@pytest.fixture
def load(tmp_path):
    def load(output: str) -> config.HeadraceConfig:
        path = tmp_path / "run.yaml"
        path.write_text('evaluate:\n  prompt: "Rate {text}"\n  output:' + output, encoding="utf-8")
        return config.load(path, env={})

    return load


@pytest.fixture
def problems(load):
    def problems(output: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(output)
        return [line.partition("run.yaml:")[2] for line in str(caught.value).split("\n")]

    return problems


def dumped(loaded: config.HeadraceConfig) -> dict:
    return {
        name: {key: value for key, value in spec.items() if value is not None}
        for name, spec in loaded.stored()["evaluate"]["output"].items()
    }


def test_a_field_may_be_written_as_a_column(load):
    written = """
    sentiment: positive | neutral | negative
    score: 0..1 = how strong
    tags: list[billing | bug]
    due?: date
    summary: = one sentence
    sure: {type: boolean}
"""
    assert dumped(load(written)) == {
        "sentiment": {"type": "string", "max_length": 10_000, "choices": ["positive", "neutral", "negative"]},
        "score": {"type": "number", "min": 0.0, "max": 1.0, "description": "how strong"},
        "tags": {
            "type": "array",
            "items": {"type": "string", "max_length": 10_000, "choices": ["billing", "bug"]},
            "max_items": 100,
        },
        "due": {"type": "date", "nullable": True},
        "summary": {"type": "string", "max_length": 10_000, "description": "one sentence"},
        "sure": {"type": "boolean"},
    }


def test_items_and_fields_of_a_definition_may_be_columns(load, problems):
    written = """
    tags: {type: array, items: a | b}
    who: {type: object, fields: {name: str, age?: 0..120, tags: {type: array, items: str}}}
"""
    tags, who = dumped(load(written)).values()
    assert tags["items"]["choices"] == ["a", "b"]
    assert who["fields"]["age"] == {"type": "integer", "min": 0, "max": 120, "nullable": True}
    assert who["fields"]["tags"]["items"]["type"] == "string"
    assert problems("\n    who:\n      type: object\n      fields:\n        age: innt\n")[0].startswith(
        "7:14: evaluate.output.who.fields.age: unknown type 'innt'; "
    )


def test_both_forms_of_a_field_are_stored_alike(load):
    assert load(" {a: yes | no}").stored() == load(" {a: {type: string, choices: ['yes', 'no']}}").stored()


def test_every_wrong_column_is_shown_at_its_line(problems):
    types = "types: str, int, float, bool, date, json, 1..5, a | b, list[str]"
    assert problems("\n    a: x, y\n    b: int\n    c: integr\n") == [
        "4:8: evaluate.output.a: separate choices with |; did you mean a: x | y? (got x, y)",
        f"6:8: evaluate.output.c: unknown type 'integr'; {types}; did you mean c: integer? (got integr)",
    ]


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        (" {a: 5}", "3:15: evaluate.output.a: a field is a mapping, or text such as 1..5 = how good (got 5)"),
        (" {a?: int, a: int}", "3:24: evaluate.output.a: the name 'a' is taken by an earlier field"),
        (" {_a: {type: boolean}}", "3:16: evaluate.output._a: names that begin with _ are reserved for "),
        (" {}", "3:11: evaluate.output: Dictionary should have at least 1 item after validation, not 0"),
        (" Rating", "3:11: evaluate.output: output must be a mapping of fields, or the import path"),
        (" no_such:Model", "3:11: evaluate.output: no_such:Model: the import path has no module 'no_such'"),
        (" {a: {type: array, items: {type: strin}}}",
         "3:43: evaluate.output.a.items.type: unknown kind (got strin, wanted one of "),
        (" {a: {type: object, fields: {b: {type: integer, mni: 1}}}}",
         "3:58: evaluate.output.a.fields.b.mni: unknown key; did you mean min?"),
        (" {json_schema: nope.json}", "3:11: evaluate.output: nope.json cannot be read: No such file"),
        (" {json_schema: {type: array, items: {type: string}}}",
         "3:11: evaluate.output: json_schema: the root must be an object with properties, not array"),
    ],
)  # fmt: skip
def test_a_wrong_output_is_refused_with_its_place(problems, output, problem):
    (found,) = problems(f"{output}\n")
    assert found.startswith(problem)


def test_output_may_be_a_model_or_a_json_schema(load, tmp_path):
    expected = {"score": {"type": "number"}, "why": {"type": "string", "max_length": 10_000}}
    (tmp_path / "rating.json").write_text(json.dumps(Rating.model_json_schema()))
    assert dumped(load(f" {__name__}:Rating")) == expected
    assert dumped(load(f" {{json_schema: {tmp_path / 'rating.json'}}}")) == expected
    assert dumped(load(f" {{json_schema: {json.dumps(Rating.model_json_schema())}}}")) == expected
