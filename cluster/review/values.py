"""The values that a person can give to a field: those with a key, and typed ones that fit its type."""

from __future__ import annotations

import json
from dataclasses import dataclass

import orjson
from pydantic import ValidationError
from pydantic_core import SchemaValidator

from actors.core.messages.values import Json
from actors.llm.fields import (
    BooleanField,
    ColumnSpec,
    DateField,
    FieldSpec,
    IntegerField,
    StringField,
    VectorField,
    in_words,
    object_validator,
)

_DIGITS = range(10)
_MOST_SHOWN = 200_000  # characters of a value or prompt: a page with more does not answer keys at once


@dataclass(frozen=True, slots=True)
class ValueOption:
    """A value to choose. `key` is a digit, empty for choices after the ninth."""

    key: str
    value: Json
    shown: str


def options_of(spec: ColumnSpec) -> list[ValueOption]:
    """Return the values of a field that has few. A digit is its own key, and others are numbered from 1.

    Null, if it is a value, has the key 0 where that is free.
    """
    values: list[Json] = []
    digits: list[str] | None = None
    match spec:
        case StringField(choices=tuple() as choices):
            values = [*choices]
        case BooleanField():
            values = [True, False]
        case IntegerField(min=int() as low, max=int() as high) if low in _DIGITS and high in _DIGITS:
            values = [*range(low, high + 1)]
            digits = [*map(str, values)]
    keys = digits or [str(number) if number in _DIGITS else "" for number in range(1, len(values) + 1)]
    options = [ValueOption(key, value, value_text(value)) for key, value in zip(keys, values, strict=True)]
    if options and spec.nullable:
        options.append(ValueOption("" if "0" in keys else "0", None, "none (null)"))
    return options


def opposite(spec: ColumnSpec, answer: Json) -> bool | None:
    """Return the only other value that a field can have, None if there are several."""
    is_boolean = isinstance(spec, BooleanField) and not spec.nullable
    return not answer if is_boolean and isinstance(answer, bool) else None


def parse_value(spec: ColumnSpec, text: str) -> Json:
    """Return the value that a typed text is. Raises ValueError, which says what is wanted."""
    assert not isinstance(spec, VectorField)  # noqa: S101 - vectors are not reviewed
    try:
        return _checked(spec, None if spec.nullable and not text.strip() else _read(spec, text))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"wanted is {in_words(spec)}") from error


def _checked(spec: FieldSpec, value: Json) -> Json:
    """Return a value if the field accepts it. Raises ValueError."""
    try:
        known = SchemaValidator(object_validator({"value": spec})).validate_python(
            {"value": value}, strict=True
        )
    except ValidationError as error:
        raise ValueError("the field does not accept it") from error
    value_of: Json = known["value"]
    return value_of


def _read(spec: FieldSpec, text: str) -> Json:
    if isinstance(spec, StringField | DateField):
        return text if isinstance(spec, StringField) else text.strip()
    return json.loads(text.strip(), parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def value_text(value: Json) -> str:
    """Return a value as a person reads it: text as it is, all else as JSON."""
    if isinstance(value, str):
        return clean(value)
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()[:_MOST_SHOWN]
    except TypeError:  # a large integer, or a lone surrogate
        return clean(json.dumps(value, ensure_ascii=True, indent=2))


def clean(text: str) -> str:
    """Return a text that JSON can hold, with at most 200,000 characters."""
    shown = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}… (cut)"
    return shown.encode("utf-8", "backslashreplace").decode()
