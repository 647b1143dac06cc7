"""The fewest tokens of an answer follow from the schema of its form."""

from __future__ import annotations

import orjson
import pytest

from actors.core.limits.token_estimate import text_tokens
from cluster.estimate.answer_floor import fewest_tokens


def fewest(**properties):
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return fewest_tokens(orjson.dumps({"type": "json_schema", "json_schema": {"schema": schema}}))


@pytest.mark.parametrize(
    ("schema", "shortest"),
    [
        ({"type": "string", "enum": ["positive", "negative", "no"]}, '"no"'),
        ({"type": "string"}, '""'),
        ({"type": "boolean"}, "true"),
        ({"type": "integer"}, "0"),
        ({"type": ["integer", "null"]}, "0"),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, "null"),
        ({"type": "array", "items": {"type": "string"}}, "[]"),
        ({"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}, '{"a":0}'),
    ],
)
def test_the_shortest_answer_is_no_longer_than_the_shortest_document(schema, shortest):
    name = "a_field_with_a_long_name_that_counts"
    document = f'{{"{name}":{shortest}}}'
    assert fewest(**{name: schema}) == len(document) // 6
    assert fewest(**{name: schema}) <= text_tokens(document)


def test_an_answer_has_at_least_one_token():
    assert fewest_tokens(None) == 1
    assert fewest(a={"type": "integer"}) == 1
