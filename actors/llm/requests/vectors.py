"""The requests and answers of embeddings: in the form of OpenAI's API, and the parts that all forms share."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from msgspec import Struct

from actors.core.messages.calls import Correction
from actors.core.messages.values import Json, TokenCounts
from actors.core.vectors import dimensions_of, packed, repacked
from actors.llm.dialects.dialect import ParsedAnswer
from actors.llm.dialects.reading import member, said, tokens
from actors.llm.dialects.turns import json_string
from actors.llm.forms import AnswerForm, AnswerProblem, Values

PATH = "/embeddings"
_MOST = 65_536  # dimensions


class PreparedVector(Struct, frozen=True):
    """The bytes of a request's body before and after the text."""

    form: AnswerForm
    head: bytes
    tail: bytes = b"}"

    @classmethod
    def of(
        cls, form: AnswerForm, model: str, parameters: Mapping[str, Json], names: Mapping[str, str] = {}
    ) -> PreparedVector:
        """Prepare requests of `form` in the form of OpenAI, with these members in the body.

        names: what the endpoint calls some of them.
        """
        # As numbers an answer would be four times as long.
        members = {"encoding_format": "base64", **parameters, "model": model}
        return cls.around(
            form, {names.get(name, name): value for name, value in members.items()}, b'"input":'
        )

    @classmethod
    def around(
        cls, form: AnswerForm, members: Mapping[str, Json], before: bytes, after: bytes = b""
    ) -> PreparedVector:
        """Prepare requests of `form` with `members` in the body, and the text after `before`."""
        start = orjson.dumps(members)[:-1] + b"," if members else b"{"
        return cls(form, start + before, after + b"}")

    def body(self, prompt: str, correction: Correction | None, *, stream: bool = False) -> bytes:  # noqa: ARG002 - a vector is neither corrected nor streamed
        """Return the body for `prompt`."""
        return self.head + json_string(prompt) + self.tail


def read_embedding(form: AnswerForm, document: dict[str, Json]) -> ParsedAnswer:
    """Read the answer to a request for one vector. Never raises."""
    vector: Json = None
    match document.get("data"):
        case [{"embedding": found}, *_]:
            vector = found
    return read_vector(form, vector, input_count(document.get("usage")), document.get("error"))


def input_count(usage: Json) -> Json:
    """Return the count of input tokens. Where there is no output, some providers report only the sum."""
    count = member(usage, "prompt_tokens")
    return member(usage, "total_tokens") if count is None else count


def read_vector(form: AnswerForm, vector: Json, count: Json, error: Json = None) -> ParsedAnswer:
    """Return the answer for a vector, None if there is none. `count`: of the input tokens. Never raises."""
    asked = tokens(count)
    counts = TokenCounts(asked, None if asked is None else 0)
    if vector is not None:
        return ParsedAnswer(_value(form, vector), None, counts)
    cause = f": {said(error)}" if error else ""
    problem = AnswerProblem(f"the endpoint answered without a vector{cause}")
    return ParsedAnswer(problem, None, counts, is_completion=asked is not None)


def _value(form: AnswerForm, vector: Json) -> Values | AnswerProblem:
    """Return the value of `form` for a vector, which is a list of numbers or base64, or its problem."""
    if not isinstance(vector, str | list):
        return AnswerProblem("the vector is no list of numbers and no base64")
    if (dimensions_of(vector) if isinstance(vector, str) else len(vector)) > _MOST:
        return AnswerProblem(f"the vector has more than {_MOST} dimensions")
    try:
        text = repacked(vector) if isinstance(vector, str) else packed(vector)
    except ValueError as error:
        return AnswerProblem(str(error))
    wanted, found = form.parameters.get("dimensions"), dimensions_of(text)
    if wanted is not None and wanted != found:
        return AnswerProblem(f"the vector has {found} dimensions, not {said(wanted)}: change dimensions")
    return {form.vector: text}
