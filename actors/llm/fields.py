"""The types of an answer's fields: what is accepted, and what endpoints and people see of them.

Rule 1: A schema has only keywords that strict modes accept. They may reject ``maxLength`` and ``format``, so
    that the description of a field says it.
Rule 2: A key that the first edition did not have is dumped only if it is set: the keys of calls contain the
    dump of every field, and a call under another key is paid for again.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from operator import not_
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import CoreSchema, core_schema

from actors.core.messages.values import Json
from actors.core.texts import cut

_SAFE_INTEGER = 2**53 - 1  # JSON parsers disagree about larger numbers
_SHOWN_CHARACTERS = 100
_NAMES_CHARACTERS = 300
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

# ---- the types -------------------------------------------------------------------------------------------


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    nullable: Annotated[bool, Field(exclude_if=not_, description="null is a value too")] = False
    description: Annotated[
        str | None,
        Field(max_length=10_000, exclude_if=not_, description="tells the model what belongs here"),
    ] = None


def _or_text(schema: dict[str, Json]) -> None:
    """Let a JSON Schema accept the text of a column too, which the configuration makes a field of."""
    if "additionalProperties" in schema:
        schema["additionalProperties"] = {"anyOf": [schema["additionalProperties"], {"type": "string"}]}
    else:
        spec = dict(schema)
        schema.clear()
        schema["anyOf"] = [spec, {"type": "string"}]


class NumberField(_Spec):
    """A finite number from `min` to `max`, both inclusive and optional."""

    type: Literal["number"]
    min: Annotated[float, Field(allow_inf_nan=False)] | None = None
    max: Annotated[float, Field(allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _check_range(self.min, self.max)
        return self


class IntegerField(_Spec):
    """A whole number from `min` to `max`, both inclusive, and by default from -(2^53 - 1) to 2^53 - 1."""

    type: Literal["integer"]
    min: Annotated[int, Field(ge=-_SAFE_INTEGER, le=_SAFE_INTEGER)] | None = None
    max: Annotated[int, Field(ge=-_SAFE_INTEGER, le=_SAFE_INTEGER)] | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _check_range(self.min, self.max)
        return self


class StringField(_Spec):
    """A string of at most `max_length` characters, or one of `choices` if they are set.

    `format` json: the string is JSON of any form.
    """

    type: Literal["string"]
    max_length: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    choices: Annotated[tuple[str, ...], Field(min_length=1, max_length=500)] | None = None
    format: Annotated[Literal["json"] | None, Field(exclude_if=not_)] = None

    @model_validator(mode="after")
    def _choices_can_be_made(self) -> Self:
        if self.choices is not None and len(set(self.choices)) < len(self.choices):
            raise ValueError("choices must differ from one another")
        if self.choices is not None and self.format is not None:
            raise ValueError("choices and format exclude each other")
        return self


class BooleanField(_Spec):
    """True or false."""

    type: Literal["boolean"]


class DateField(_Spec):
    """A date as a string, such as 2026-11-30."""

    type: Literal["date"]


class ArrayField(_Spec):
    """A list of at most `max_items` values of the type `items`."""

    type: Literal["array"]
    items: Annotated[FieldSpec, Field(json_schema_extra=_or_text)]
    max_items: Annotated[int, Field(ge=1, le=10_000)] = 100


class ObjectField(_Spec):
    """An object with `fields`, each of its own type."""

    type: Literal["object"]
    fields: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=64)], FieldSpec],
        Field(min_length=1, max_length=100, json_schema_extra=_or_text),
    ]


FieldSpec = Annotated[
    NumberField | IntegerField | StringField | BooleanField | DateField | ArrayField | ObjectField,
    Field(discriminator="type"),
]
ArrayField.model_rebuild()
ObjectField.model_rebuild()


class VectorField(_Spec):
    """A vector as `actors.core.vectors` writes it, which only a step of the kind embedding returns."""

    type: Literal["vector"]
    dimensions: Annotated[int | None, Field(exclude_if=not_)] = None


ColumnSpec = Annotated[
    NumberField
    | IntegerField
    | StringField
    | BooleanField
    | DateField
    | ArrayField
    | ObjectField
    | VectorField,
    Field(discriminator="type"),
]


def _check_range(low: float | None, high: float | None) -> None:
    if low is not None and high is not None and low > high:
        raise ValueError(f"min {low} is above max {high}")


# ---- what an endpoint sees -------------------------------------------------------------------------------


def object_schema(fields: Mapping[str, FieldSpec]) -> dict[str, Json]:
    """Return the JSON Schema of an object with `fields`."""
    return {
        "type": "object",
        "properties": {name: _schema(spec) for name, spec in fields.items()},
        "required": list(fields),
        "additionalProperties": False,
    }


def _schema(spec: FieldSpec) -> dict[str, Json]:
    schema: dict[str, Json] = {"type": spec.type}
    hint = None
    match spec:
        case NumberField() | IntegerField():
            limits = {"minimum": spec.min, "maximum": spec.max}
            schema |= {key: value for key, value in limits.items() if value is not None}
        case StringField() if spec.choices is not None:
            schema["enum"] = [*spec.choices, *([None] if spec.nullable else [])]
        case StringField():
            hint = "a JSON value, written as a string" if spec.format else None
            if "max_length" in spec.model_fields_set:
                hint = f"at most {spec.max_length} characters"
        case DateField():
            schema["type"], hint = "string", "a date as YYYY-MM-DD"
        case ArrayField():
            schema |= {"items": _schema(spec.items), "maxItems": spec.max_items}
        case ObjectField():
            schema = object_schema(spec.fields)
    if spec.nullable:
        schema["type"] = [schema["type"], "null"]
    description = "; ".join(filter(None, (spec.description, hint)))
    return {**schema, "description": description} if description else schema


# ---- what is accepted of it ------------------------------------------------------------------------------


def object_validator(fields: Mapping[str, FieldSpec]) -> CoreSchema:
    """Return the schema by which pydantic validates an object with `fields` strictly. It drops other keys."""
    return core_schema.typed_dict_schema(
        {name: core_schema.typed_dict_field(_validator(spec)) for name, spec in fields.items()},
        extra_behavior="ignore",
    )


def _validator(spec: FieldSpec) -> CoreSchema:
    schema = _plain_validator(spec)
    return core_schema.nullable_schema(schema) if spec.nullable else schema


def _plain_validator(spec: FieldSpec) -> CoreSchema:  # noqa: PLR0911 - one for each type
    match spec:
        case NumberField():
            return core_schema.float_schema(ge=spec.min, le=spec.max, allow_inf_nan=False)
        case IntegerField():
            low = -_SAFE_INTEGER if spec.min is None else spec.min
            high = _SAFE_INTEGER if spec.max is None else spec.max
            return core_schema.int_schema(ge=low, le=high)
        case StringField() if spec.choices is not None:
            return core_schema.literal_schema(list(spec.choices))
        case StringField():
            text = core_schema.str_schema(max_length=spec.max_length)
            return _checked(_check_json, text) if spec.format else text
        case BooleanField():
            return core_schema.bool_schema()
        case DateField():
            return _checked(_check_date, core_schema.str_schema())
        case ArrayField():
            return core_schema.list_schema(_validator(spec.items), max_length=spec.max_items)
        case ObjectField():
            return object_validator(spec.fields)


def _checked(check: Callable[[str], str], schema: CoreSchema) -> CoreSchema:
    return core_schema.no_info_after_validator_function(check, schema)


def _check_date(text: str) -> str:
    if not _DATE.fullmatch(text):
        raise ValueError(text)
    dt.date.fromisoformat(text)
    return text


def _check_json(text: str) -> str:
    try:
        json.loads(text)
    except RecursionError as error:
        raise ValueError(text) from error
    return text


# ---- what people and models read -------------------------------------------------------------------------


def in_words(spec: FieldSpec) -> str:
    """Return a description of the values of a field, to follow the word "wanted"."""
    return _plain_words(spec) + (" or null" if spec.nullable else "")


def _plain_words(spec: FieldSpec) -> str:  # noqa: PLR0911 - one for each type
    match spec:
        case NumberField():
            return "a number" + _range_words(spec.min, spec.max)
        case IntegerField():
            return "a whole number" + _range_words(spec.min, spec.max)
        case StringField() if spec.choices is not None:
            return cut("one of " + ", ".join(shown(choice) for choice in spec.choices), _NAMES_CHARACTERS)
        case StringField():
            what = "a string of JSON" if spec.format else "a string"
            return f"{what} of at most {spec.max_length} characters"
        case BooleanField():
            return "true or false"
        case DateField():
            return "a date as YYYY-MM-DD"
        case ArrayField():
            return f"a list of at most {spec.max_items} items, each {in_words(spec.items)}"
        case ObjectField():
            return f"an object with the fields {names_in_words(spec.fields)}"


def names_in_words(fields: Mapping[str, FieldSpec]) -> str:
    """Return the names of `fields` as an error shows them."""
    return cut(", ".join(map(shown, fields)), _NAMES_CHARACTERS)


def _range_words(low: float | None, high: float | None) -> str:
    match low, high:
        case None, None:
            return ""
        case None, _:
            return f" of at most {high:.15g}"
        case _, None:
            return f" of at least {low:.15g}"
        case _:
            return f" from {low:.15g} to {high:.15g}"


def shown(value: Json) -> str:
    """Return `value` as short JSON, or only the kind and the size of a container."""
    match value:
        case str():
            text = json.dumps(cut(value, _SHOWN_CHARACTERS), ensure_ascii=False)
            # A lone surrogate cannot be encoded as UTF-8; without this the correction could not be sent.
            return text.encode("utf-8", "backslashreplace").decode()
        case list():
            return f"a list of {len(value)}"
        case dict():
            return "an object"
        case _:
            return cut(json.dumps(value), _SHOWN_CHARACTERS)
