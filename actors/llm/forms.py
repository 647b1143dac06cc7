"""The forms of answers: sent to the endpoint as a JSON Schema, and validated here by pydantic.

Rule 1: An endpoint may ignore the schema, so no part of an answer is trusted before `AnswerForm.parse` has
    returned it.
Rule 2: Types are strict: a model that writes "0.5" for a number may as well write "a half". Unknown keys are
    dropped: they do no harm, and asking again costs money.
Rule 3: The text of a problem is sent to the model. It is short and names the field, the value and what was
    wanted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson
from msgspec import Struct
from pydantic_core import ErrorDetails, SchemaValidator, ValidationError

from actors.core.limits.token_estimate import MESSAGE_TOKENS, text_tokens
from actors.core.messages.tasks import RAW
from actors.core.messages.values import Json
from actors.core.texts import cut
from actors.llm.fields import (
    ArrayField,
    FieldSpec,
    ObjectField,
    in_words,
    names_in_words,
    object_schema,
    object_validator,
    shown,
)
from actors.llm.output_words import output_in_words

Values = Mapping[str, Json]


RAISE_MAX_TOKENS = "raise max_tokens (--max-tokens, or evaluate.max_tokens)"
_SHOWN_PROBLEMS = 3
_WHERE_CHARACTERS = 300
_NAME_CHARACTERS = 64  # the longest name of a schema that OpenAI accepts


class AnswerProblem(Struct, frozen=True):
    """Why an answer does not match its form, in words that are sent to the model when it is asked again.

    remedy: what the user can do about it, in place of what the model can. is_final: the same question would
    end in the same way, and would be billed again.
    """

    text: str
    remedy: str = ""
    is_final: bool = False


class AnswerForm:
    """The form of one kind of answer, compiled once and used for every call of that kind.

    fields: the type of each field by name. A form without fields wants plain text, returned as ``text``.
    max_tokens: the bound of the answer.
    instructions: an optional system message before every prompt.
    parameters: members of the body of the request, such as ``temperature``.
    keeps_raw: whether the answer's text is among the values, as `RAW`.
    preface: text before every prompt, in the same message.
    vector: the name of the value of a form that asks for a vector, empty for all others.
    ranking: the same of a form that asks how relevant documents are to a query. is_list: its value is a list,
    with a number for each document in their order; otherwise it is the number of the only document.
    response_format: JSON for the body of the request, None for plain text.

    A form can be pickled, and is compiled again when it is unpickled. Raises ValueError if a field has no
    name or `max_tokens` is below 1.
    """

    __slots__ = (
        "_validator",
        "fields",
        "instructions",
        "is_list",
        "keeps_raw",
        "max_tokens",
        "name",
        "parameters",
        "preface",
        "ranking",
        "response_format",
        "vector",
    )

    def __init__(  # noqa: PLR0917 - unpickling is positional
        self,
        name: str,
        fields: Mapping[str, FieldSpec],
        max_tokens: int,
        instructions: str | None = None,
        parameters: Mapping[str, Json] = {},
        keeps_raw: bool = False,  # noqa: FBT001, FBT002 - same
        preface: str = "",
        vector: str = "",
        ranking: str = "",
        is_list: bool = False,  # noqa: FBT001, FBT002 - same
    ) -> None:
        if max_tokens < 1:
            raise ValueError(f"form {name!r}: max_tokens must be at least 1, not {max_tokens}")
        if not all(fields):
            raise ValueError(f"form {name!r}: a field has an empty name")
        self.name = name
        self.fields = dict(fields)
        self.max_tokens = max_tokens
        self.instructions = instructions
        self.parameters = dict(parameters)
        self.keeps_raw = keeps_raw
        self.preface = preface
        self.vector = vector
        self.ranking = ranking
        self.is_list = is_list
        self.response_format = self._build_response_format() if fields else None
        self._validator = SchemaValidator(object_validator(self.fields))

    def __reduce__(self) -> tuple[type[AnswerForm], tuple[Any, ...]]:
        state = self.name, self.fields, self.max_tokens, self.instructions, self.parameters, self.keeps_raw
        return AnswerForm, (*state, self.preface, self.vector, self.ranking, self.is_list)

    def __repr__(self) -> str:
        return f"<AnswerForm {self.name} [{', '.join(self.fields) or 'plain text'}]>"

    @property
    def is_plain(self) -> bool:
        """Whether the model gets texts without any instructions, and writes none."""
        return bool(self.vector or self.ranking)

    @property
    def tokens(self) -> int:
        """The estimated tokens that a question takes beside its prompt."""
        tokens = text_tokens(self.response_format.decode()) if self.response_format else 0
        if self.instructions is not None:
            tokens += text_tokens(self.instructions) + MESSAGE_TOKENS
        return tokens + text_tokens(self.preface) + MESSAGE_TOKENS

    def described(self) -> AnswerForm:
        """Return this form with its fields stated in words: after the instructions, or else in the preface.

        They are never a system message of their own, since some models reject one: vLLM answers 400, "System
        role not supported", for Gemma 2.
        """
        if not self.fields:
            return self
        words = output_in_words(self.fields)
        system = self.instructions
        if system is None:
            return self._with(None, f"{words}\n\n")
        return self._with(f"{system}\n\n{words}", "")

    def instructed(self, system: str | None) -> AnswerForm:
        """Return this form with `system` as the instructions if it has none."""
        return (
            self._with(system, self.preface)
            if self.instructions is None and system and not self.is_plain
            else self
        )

    def _with(self, instructions: str | None, preface: str) -> AnswerForm:
        return AnswerForm(
            self.name,
            self.fields,
            self.max_tokens,
            instructions,
            self.parameters,
            self.keeps_raw,
            preface,
        )

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
            found: Values = self._validator.validate_json(_unfenced(content), strict=True)
        except ValidationError as error:
            return AnswerProblem(self._explain(error, content))
        return {**found, RAW: content} if self.keeps_raw else found

    @property
    def schema(self) -> dict[str, Json]:
        """The JSON Schema of an answer with fields."""
        return object_schema(self.fields)

    @property
    def schema_name(self) -> str:
        """The name of the schema, of the characters that providers accept."""
        return re.sub(r"[^a-zA-Z0-9_-]", "_", self.name)[:_NAME_CHARACTERS] or "answer"

    def _build_response_format(self) -> bytes:
        named = {"name": self.schema_name, "strict": True, "schema": self.schema}
        return orjson.dumps({"type": "json_schema", "json_schema": named})

    def _explain(self, error: ValidationError, content: str) -> str:
        details = error.errors(include_url=False, include_context=False)
        shown = [self._explain_one(detail, content) for detail in details[:_SHOWN_PROBLEMS]]
        if len(details) > _SHOWN_PROBLEMS:
            shown.append(f"and {len(details) - _SHOWN_PROBLEMS} more")
        return "; ".join(shown)

    def _explain_one(self, detail: ErrorDetails, content: str) -> str:
        location = detail["loc"]
        if not location:
            wanted = f"wanted one JSON object with the fields {names_in_words(self.fields)}"
            if detail["type"] == "dict_type":
                return f"{wanted}, got {shown(detail['input'])}"
            return f"{wanted}, got {shown(content)} ({detail['msg']})"
        where, spec = self._located(location)
        wanted = f"wanted {in_words(spec)}"
        if detail["type"] == "missing":
            return f"the field {where} is missing: {wanted}"
        return f"the field {where}: {wanted}, got {shown(detail['input'])}"

    def _located(self, location: tuple[str | int, ...]) -> tuple[str, FieldSpec]:
        """Return the place of a problem as people write it, and the type of the field there."""
        spec = self.fields[str(location[0])]
        where = shown(location[0])
        for step in location[1:]:
            where += f"[{step}]" if isinstance(step, int) else f".{shown(step)}"
            if isinstance(spec, ArrayField):
                spec = spec.items
            elif isinstance(spec, ObjectField):
                spec = spec.fields[str(step)]
        return cut(where, _WHERE_CHARACTERS), spec


def _unfenced(content: str) -> str:
    """Return the text inside a Markdown fence around all of `content`, or `content` if there is none."""
    text = content.strip()
    if not (text.startswith("```") and text.endswith("```")):
        return text
    first_line_end = text.find("\n")
    return text[first_line_end:-3] if 0 <= first_line_end < len(text) - 3 else text
