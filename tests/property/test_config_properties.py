from __future__ import annotations

import contextlib
import io
import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, field_validator
from ruamel.yaml import YAML

from actors.core.messages.values import Json
from cluster.config import model as config
from cluster.config.check import load_checked
from cluster.config.problem import ConfigFileError
from cluster.config.yaml import resolve

VALID = {
    "name": "n",
    "tasks": {"kind": "inline", "tasks": ["a", {"key": "b", "params": {"p": 1}}]},
    "sources": [
        {"name": "s", "kind": "simulated", "items": 2},
        {"name": "f", "kind": "files", "path": "x/{key}"},
    ],
    "llm": {
        "endpoints": [{"name": "m", "base_url": "http://h/v1", "model": "x", "api_key": "k3y-k3y-k3y"}],
        "retry": {"attempts": 3},
    },
    "evaluate": {"prompt": "{text}", "output": {"q": {"type": "number", "min": 0, "max": 1}}},
    "dimensions": [{"name": "d", "field": "q", "weight": -1.5}],
    "limits": {"active_tasks": 5, "accepted_tasks": 6},
    "store": {"kind": "memory", "keep": "calls"},
    "output": {"format": ["jsonl", "parquet"]},
    "cluster": {"pipelines": 2},
}


class Number(BaseModel):
    value: int

    @field_validator("value", mode="before")
    @classmethod
    def _quotes_its_input(cls, value: Json) -> Json:
        raise ValueError(f"{value} is not liked")


class Anything(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    value: Json = None


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / "c.yaml"


def load_json(path: Path, document: Json) -> config.HeadraceConfig:
    path.write_text(json.dumps(document))  # JSON is YAML
    return config.load(path, env={})


def places(node: Json, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the place of every value below `node`."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for step, child in pairs:
        yield (*path, step)
        yield from places(child, (*path, step))


def at(node: Json, path: tuple[str | int, ...]) -> Json:
    for step in path:
        node = node[step]
    return node


def changed(node: Json, path: tuple[str | int, ...], value: Json) -> Json:
    if not path:
        return value
    copy = node.copy()
    copy[path[0]] = changed(node[path[0]], path[1:], value)
    return copy


PLACES = list(places(VALID))
OF_ONES_OWN = {"params", "output"}  # mappings whose keys are free
MAPPINGS = [
    place
    for place in [(), *PLACES]
    if isinstance(at(VALID, place), dict) and OF_ONES_OWN.isdisjoint(place[-1:])
]
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
KEYS = st.text(max_size=80)  # YAML takes at most 1,024 characters, and an escaped one has up to twelve
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
YAMLISH = st.text(st.sampled_from("a1:-?{}[]&*!|>%@`'\"#,.~ \n\t\r$\\<=\x00\x85\ufeff\u2028é"), max_size=60)


@given(YAMLISH | st.text(max_size=60) | st.binary(max_size=60))
@example("%YAML 9.9\n---\na: 1")
@example("%YAML 1\n---\na")
@example("%TAG ! x\n---\na: !y z")
@example("a: !<\n")
@example("&a &b c")
@example("\ufeff")
@example("a: |9\n x")
@example("'\\")
@example('"\\UFFFFFFFF"')
def test_any_bytes_at_all_end_in_a_config_or_in_a_config_error(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "replace"))
    with pytest.raises(ConfigFileError) as caught:
        config.load(path, env={})
    assert all(str(problem).startswith(str(path)) for problem in caught.value.problems)


@settings(max_examples=60)
@given(st.text() | YAMLISH, st.text() | YAMLISH)
def test_any_override_ends_in_a_config_or_in_a_config_error(path, key, value):
    path.write_text("value: 1")
    with contextlib.suppress(ConfigFileError):
        load_checked(Anything, path, overrides=[f"{key}={value}"], env={})


@settings(max_examples=60)
@given(DOCUMENTS)
@example("a${b")
@example({"${": "${"})
@example({"": {"<<": 1}})
def test_what_json_says_is_what_is_read(path, value):
    path.write_text(json.dumps({"value": escaped(value)}).replace('"<<"', '"<"'))
    expected = json.loads(json.dumps(value).replace('"<<"', '"<"'))
    assert load_checked(Anything, path, env={})[0].value == expected


def escaped(value):
    """Return `value` with its references written so that they are none; keys are never read as such."""
    if isinstance(value, dict):
        return {key: escaped(each) for key, each in value.items()}
    if isinstance(value, list):
        return [escaped(each) for each in value]
    return value.replace("${", "$${") if isinstance(value, str) else value


@given(st.text(st.sampled_from("0123456789+-._eExXoOabfnltrus~ "), max_size=8))
def test_scalars_mean_what_the_parser_of_yaml_1_2_says(text):
    value = resolve(text)
    if isinstance(value, str):
        return
    reference = YAML(typ="safe", pure=True).load(io.StringIO(text))
    assert value == reference
    assert isinstance(value, float) == isinstance(reference, float)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**299), 10**299))
def test_every_finite_number_is_read_back(number):
    assert resolve(repr(number)) == number
    assert math.isfinite(resolve(repr(float(number))))


@settings(max_examples=60)
@given(st.sampled_from(PLACES), SCALARS | st.just([]) | st.just({}) | st.integers(-3, 3))
def test_one_wrong_value_is_blamed_where_it_stands_or_beside_it(path, place, value):
    error = None
    try:
        load_json(path, changed(VALID, place, value))
    except ConfigFileError as caught:
        error = caught
    # A dimension rests on a field of evaluate.output, and is blamed where that field no longer serves.
    allowed = {place[0], "dimensions"} if place[0] == "evaluate" else {place[0]}
    problems = error.problems if error else ()
    assert all(problem.path.partition(".")[0] in allowed for problem in problems)
    assert "k3y-k3y-k3y" not in str(error)


@pytest.mark.parametrize("place", MAPPINGS, ids=lambda place: ".".join(map(str, place)) or "root")
def test_a_key_that_nobody_knows_is_reported_at_its_own_place(path, place):
    document = changed(VALID, place, {**at(VALID, place), "zz": 1})
    dotted = ".".join(map(str, (*place, "zz")))
    with pytest.raises(ConfigFileError) as caught:
        load_json(path, document)
    assert [(problem.path, problem.message) for problem in caught.value.problems] == [(dotted, "unknown key")]


@settings(max_examples=60)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=4), st.sampled_from(["", "'", '"']))
def test_the_value_of_a_variable_is_read_as_it_is_and_never_shown(path, value, quote):
    path.write_text(f"value: {quote}${{X}}{quote}\n")
    with pytest.raises(ConfigFileError) as caught:
        load_checked(Number, path, env={"X": f"<{value}>"})
    assert f"<{value}>" not in str(caught.value)
    assert load_checked(Anything, path, env={"X": value})[0].value == value


def test_the_valid_document_is_valid(path):
    assert load_json(path, VALID).name == "n"
