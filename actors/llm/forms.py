"""The forms of answers: sent to the endpoint as a JSON Schema, and validated here by pydantic.

Rule 1: An endpoint may ignore the schema, so no part of an answer is trusted before `AnswerForm.parse` has
    returned it.
Rule 2: The schema uses only keywords that strict modes accept. They may reject ``maxLength``, so the
    description of a field states the length of a string.
Rule 3: Types are strict: a model that writes "0.5" for a number may as well write "a half". Unknown keys are
    dropped: they do no harm, and asking again costs money.
Rule 4: The text of a problem is sent to the model. It is short and names the field, the value and what was
    wanted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import orjson
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from pydantic_core import ErrorDetails

from actors.core.limits.token_estimate import MESSAGE_TOKENS, text_tokens
from actors.core.messages.values import Json
from actors.llm.parameters import parameter_problem

Values = Mapping[str, Json]

_SAFE_INTEGER = 2**53 - 1  # JSON parsers disagree about larger numbers
_SHOWN_CHARACTERS = 100
_SHOWN_PROBLEMS = 3
_NAME_CHARACTERS = 64  # the longest name of a schema that OpenAI accepts

# ---- the fields ------------------------------------------------------------------------------------------


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
    """A string of at most `max_length` characters, or one of `choices` if they are set."""

    type: Literal["string"]
    max_length: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    choices: Annotated[tuple[str, ...], Field(min_length=1, max_length=500)] | None = None

    @model_validator(mode="after")
    def _choices_can_be_made(self) -> Self:
        if self.choices is not None and len(set(self.choices)) < len(self.choices):
            raise ValueError("choices must differ from one another")
        return self


class BooleanField(_Spec):
    """True or false."""

    type: Literal["boolean"]


class ArrayField(_Spec):
    """A list of at most `max_items` values of the type `items`."""

    type: Literal["array"]
    items: FieldSpec
    max_items: Annotated[int, Field(ge=1, le=10_000)] = 100


FieldSpec = Annotated[
    NumberField | IntegerField | StringField | BooleanField | ArrayField, Field(discriminator="type")
]
ArrayField.model_rebuild()


def _check_range(low: float | None, high: float | None) -> None:
    if low is not None and high is not None and low > high:
        raise ValueError(f"min {low} is above max {high}")


def _schema(spec: FieldSpec) -> dict[str, Json]:
    """Return the JSON Schema of a field."""
    match spec:
        case NumberField() | IntegerField():
            limits = {"minimum": spec.min, "maximum": spec.max}
            return {"type": spec.type, **{key: value for key, value in limits.items() if value is not None}}
        case StringField() if spec.choices is not None:
            return {"type": "string", "enum": list(spec.choices)}
        case StringField() if "max_length" in spec.model_fields_set:
            return {"type": "string", "description": f"at most {spec.max_length} characters"}
        case ArrayField():
            return {"type": "array", "items": _schema(spec.items), "maxItems": spec.max_items}
        case _:
            return {"type": spec.type}


def _python_type(spec: FieldSpec) -> Any:
    """Return the type by which pydantic validates a field."""
    match spec:
        case NumberField():
            return Annotated[float, Field(ge=spec.min, le=spec.max, allow_inf_nan=False)]
        case IntegerField():
            low = -_SAFE_INTEGER if spec.min is None else spec.min
            high = _SAFE_INTEGER if spec.max is None else spec.max
            return Annotated[int, Field(ge=low, le=high)]
        case StringField() if spec.choices is not None:
            return Literal[spec.choices]
        case StringField():
            return Annotated[str, Field(max_length=spec.max_length)]
        case BooleanField():
            return bool
        case ArrayField():
            item: Any = _python_type(spec.items)
            return Annotated[list[item], Field(max_length=spec.max_items)]


def _words(spec: FieldSpec) -> str:
    """Return a description of the values of a field, to follow the word "wanted"."""
    match spec:
        case NumberField():
            return "a number" + _range_words(spec.min, spec.max)
        case IntegerField():
            return "a whole number" + _range_words(spec.min, spec.max)
        case StringField() if spec.choices is not None:
            return _cut("one of " + ", ".join(_shown(choice) for choice in spec.choices), 300)
        case StringField():
            return f"a string of at most {spec.max_length} characters"
        case BooleanField():
            return "true or false"
        case ArrayField():
            return f"a list of at most {spec.max_items} items, each {_words(spec.items)}"


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


# ---- the form --------------------------------------------------------------------------------------------


class AnswerProblem(Struct, frozen=True):
    """Why an answer does not match its form, in words that are sent to the model when it is asked again."""

    text: str


class AnswerForm:
    """The form of one kind of answer, compiled once and used for every call of that kind.

    fields: the type of each field by name. A form without fields wants plain text, returned as ``text``.
    max_tokens: the bound of the answer.
    instructions: an optional system message before every prompt.
    parameters: members of the body of the request, such as ``temperature``.
    response_format: JSON for the body of the request, None for plain text.

    A form can be pickled, and is compiled again when it is unpickled. Raises ValueError if a field has no
    name, `max_tokens` is below 1, or `parameter_problem` finds a problem.
    """

    __slots__ = (
        "_attributes",
        "_validator",
        "fields",
        "instructions",
        "max_tokens",
        "name",
        "parameters",
        "response_format",
    )

    def __init__(
        self,
        name: str,
        fields: Mapping[str, FieldSpec],
        max_tokens: int,
        instructions: str | None = None,
        parameters: Mapping[str, Json] = {},
    ) -> None:
        if max_tokens < 1:
            raise ValueError(f"form {name!r}: max_tokens must be at least 1, not {max_tokens}")
        if not all(fields):
            raise ValueError(f"form {name!r}: a field has an empty name")
        if problem := parameter_problem(parameters):
            raise ValueError(f"form {name!r}: {problem}")
        self.name = name
        self.fields = dict(fields)
        self.max_tokens = max_tokens
        self.instructions = instructions
        self.parameters = dict(parameters)
        self.response_format = self._build_response_format() if fields else None
        # Fields may have names such as "copy" or "_x", which are no names of attributes: names are aliases.
        self._attributes = tuple((f"f{position}", field) for position, field in enumerate(self.fields))
        self._validator = self._build_model().__pydantic_validator__

    def __reduce__(self) -> tuple[type[AnswerForm], tuple[Any, ...]]:
        return AnswerForm, (self.name, self.fields, self.max_tokens, self.instructions, self.parameters)

    def __repr__(self) -> str:
        return f"<AnswerForm {self.name} [{', '.join(self.fields) or 'plain text'}]>"

    @property
    def tokens(self) -> int:
        """The estimated tokens that a question takes beside its prompt."""
        tokens = text_tokens(self.response_format.decode()) if self.response_format else 0
        if self.instructions is not None:
            tokens += text_tokens(self.instructions) + MESSAGE_TOKENS
        return tokens + MESSAGE_TOKENS

    def parse(self, content: str) -> Values | AnswerProblem:
        """Return the values in `content`, or the reason why it does not match. Never raises.

        Accepts a Markdown fence around the JSON. Of a repeated key the last value counts. Drops keys that are
        no fields. Rejects NaN and the infinities.
        """
        if not self.fields:
            return (
                {"text": content}
                if content.strip()
                else AnswerProblem("the answer was empty: wanted some text")
            )
        try:
            found = self._validator.validate_json(_unfenced(content)).__dict__
        except ValidationError as error:
            return AnswerProblem(self._explain(error, content))
        return {name: found[attribute] for attribute, name in self._attributes}

    def _build_response_format(self) -> bytes:
        schema = {
            "type": "object",
            "properties": {name: _schema(spec) for name, spec in self.fields.items()},
            "required": list(self.fields),
            "additionalProperties": False,
        }
        name = re.sub(r"[^a-zA-Z0-9_-]", "_", self.name)[:_NAME_CHARACTERS] or "answer"
        return orjson.dumps(
            {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}
        )

    def _build_model(self) -> type[BaseModel]:
        fields: dict[str, Any] = {
            attribute: (Annotated[_python_type(self.fields[name]), Field(alias=name)], ...)
            for attribute, name in self._attributes
        }
        return create_model("Answer", __config__=ConfigDict(strict=True, extra="ignore"), **fields)

    def _explain(self, error: ValidationError, content: str) -> str:
        details = error.errors(include_url=False, include_context=False)
        shown = [self._explain_one(detail, content) for detail in details[:_SHOWN_PROBLEMS]]
        if len(details) > _SHOWN_PROBLEMS:
            shown.append(f"and {len(details) - _SHOWN_PROBLEMS} more")
        return "; ".join(shown)

    def _explain_one(self, detail: ErrorDetails, content: str) -> str:
        location = detail["loc"]
        if not location:
            names = _cut(", ".join(map(_shown, self.fields)), 300)
            wanted = f"wanted one JSON object with the fields {names}"
            if detail["type"] == "model_type":
                return f"{wanted}, got {_shown(detail['input'])}"
            return f"{wanted}, got {_shown(content)} ({detail['msg']})"
        name = str(location[0])
        where = _shown(name) + "".join(f"[{index}]" for index in location[1:])
        wanted = f"wanted {_words(self.fields[name])}"
        if detail["type"] == "missing":
            return f"the field {where} is missing: {wanted}"
        return f"the field {where}: {wanted}, got {_shown(detail['input'])}"


def _unfenced(content: str) -> str:
    """Return the text inside a Markdown fence around all of `content`, or `content` if there is none."""
    text = content.strip()
    if not (text.startswith("```") and text.endswith("```")):
        return text
    first_line_end = text.find("\n")
    return text[first_line_end:-3] if 0 <= first_line_end < len(text) - 3 else text


def _shown(value: Json) -> str:
    """Return `value` as short JSON, or only the kind and the size of a container."""
    match value:
        case str():
            text = json.dumps(_cut(value, _SHOWN_CHARACTERS), ensure_ascii=False)
            # A lone surrogate cannot be encoded as UTF-8; without this the correction could not be sent.
            return text.encode("utf-8", "backslashreplace").decode()
        case list():
            return f"a list of {len(value)}"
        case dict():
            return "an object"
        case _:
            return _cut(json.dumps(value), _SHOWN_CHARACTERS)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
