"""Properties of forms: what fits is returned as it was written, and what is returned always fits."""

import datetime as dt
import json
import math

import orjson
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from actors.llm.fields import FieldSpec
from actors.llm.forms import AnswerForm, AnswerProblem

BIG = 2**53 - 1
NAMES = st.text(min_size=1, max_size=12)
TEXTS = st.text(max_size=20)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def _ranges(kind, numbers):
    def with_value(bounds):
        low, high = min(bounds), max(bounds)
        inside = st.integers(low, high) if kind == "integer" else st.floats(low, high)
        return st.tuples(st.just({"type": kind, "min": low, "max": high}), inside)

    bounded = st.tuples(numbers, numbers).flatmap(with_value)
    return bounded | st.tuples(st.just({"type": kind}), numbers)


def _arrays(inner):
    """A list of equal values is enough here: each is checked by the same validator."""
    return st.tuples(inner, st.integers(0, 4)).map(
        lambda drawn: (
            {"type": "array", "items": drawn[0][0], "max_items": max(1, drawn[1])},
            [drawn[0][1]] * drawn[1],
        )
    )


def _objects(inner):
    return st.dictionaries(NAMES, inner, min_size=1, max_size=2).map(
        lambda drawn: (
            {"type": "object", "fields": {name: spec for name, (spec, _) in drawn.items()}},
            {name: value for name, (_, value) in drawn.items()},
        )
    )


def _nullable(inner):
    return inner.flatmap(
        lambda drawn: st.tuples(st.just(drawn[0] | {"nullable": True}), st.just(drawn[1]) | st.none())
    )


SPEC_AND_VALUE = st.recursive(
    st.one_of(
        _ranges("number", FLOATS),
        _ranges("integer", st.integers(-BIG, BIG)),
        st.tuples(st.just({"type": "string", "max_length": 20}), TEXTS),
        st.lists(TEXTS, min_size=1, max_size=4, unique=True).flatmap(
            lambda choices: st.tuples(
                st.just({"type": "string", "choices": choices}), st.sampled_from(choices)
            )
        ),
        st.tuples(st.just({"type": "boolean"}), st.booleans()),
        st.tuples(st.just({"type": "date"}), st.dates().map(str)),
    ),
    lambda inner: _arrays(inner) | _objects(inner) | _nullable(inner),
    max_leaves=3,
)
FORMS = st.dictionaries(NAMES, SPEC_AND_VALUE, min_size=1, max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


def _form(drawn):
    specs = {name: spec for name, (spec, _) in drawn.items()}
    return AnswerForm("f", TypeAdapter(dict[str, FieldSpec]).validate_python(specs), 100)


def _fits(spec, value):  # noqa: PLR0911 - one for each type
    """Tell independently of pydantic whether `value` is what `spec` asks for."""
    match spec["type"]:
        case _ if value is None:
            return spec.get("nullable", False)
        case "number":
            low, high = spec.get("min", -math.inf), spec.get("max", math.inf)
            return type(value) is float and math.isfinite(value) and low <= value <= high
        case "integer":
            return type(value) is int and spec.get("min", -BIG) <= value <= spec.get("max", BIG)
        case "string":
            return type(value) is str and value in spec.get("choices", [value]) and len(value) <= 10_000
        case "boolean":
            return type(value) is bool
        case "date":
            return str(dt.date.fromisoformat(value)) == value
        case "object":
            fields = spec["fields"]
            return value.keys() == fields.keys() and all(_fits(fields[name], value[name]) for name in fields)
        case _:
            inside = all(_fits(spec["items"], item) for item in value)
            return type(value) is list and len(value) <= spec["max_items"] and inside


@given(FORMS, st.booleans())
def test_what_fits_is_returned_as_it_was_written(drawn, fenced):
    answer = {name: value for name, (_, value) in drawn.items()}
    content = orjson.dumps(answer).decode()

    assert _form(drawn).parse(f"```json\n{content}\n```" if fenced else content) == answer


@given(FORMS, st.data())
def test_what_is_returned_fits_and_all_else_is_a_short_problem(drawn, data):
    values = {name: data.draw(st.just(fitting) | JSON) for name, (_, fitting) in drawn.items()}
    content = data.draw(st.just(_loose_json(values)) | JSON.map(_loose_json) | st.text(max_size=50))

    found = _form(drawn).parse(content)

    if isinstance(found, AnswerProblem):
        assert 0 < len(found.text) < 2500
    else:
        assert found.keys() == drawn.keys()
        assert all(_fits(spec, found[name]) for name, (spec, _) in drawn.items())


@given(FORMS)
def test_leaving_out_any_field_is_a_problem(drawn):
    answer = {name: value for name, (_, value) in drawn.items()}
    left_out = next(iter(answer))
    del answer[left_out]

    assert isinstance(_form(drawn).parse(orjson.dumps(answer).decode()), AnswerProblem)


def _loose_json(value):
    """Return JSON as models write it: the standard library's, with NaN and with any whole number."""

    return json.dumps(value)
