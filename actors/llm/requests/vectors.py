"""The requests and answers of embeddings, in the form of OpenAI's API that most endpoints speak."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from msgspec import Struct

from actors.core.messages.calls import Correction
from actors.core.messages.values import Json, TokenCounts
from actors.core.vectors import dimensions_of, packed, repacked
from actors.llm.dialects.dialect import ParsedAnswer
from actors.llm.dialects.reading import json_string, member, said, tokens
from actors.llm.forms import AnswerForm, AnswerProblem, Values

PATH = "/embeddings"
_MOST = 65_536  # dimensions


class PreparedVector(Struct, frozen=True):
    """The bytes of a request's body before and after the text."""

    form: AnswerForm
    head: bytes
    tail: bytes = b"}"

    @classmethod
    def of(cls, form: AnswerForm, model: str, parameters: Mapping[str, Json]) -> PreparedVector:
        """Prepare requests of `form` with these members in the body."""
        # As numbers an answer would be four times as long.
        members = {"encoding_format": "base64", **parameters, "model": model}
        return cls(form, orjson.dumps(members)[:-1] + b',"input":')

    def body(self, prompt: str, correction: Correction | None, *, stream: bool = False) -> bytes:  # noqa: ARG002 - a vector is neither corrected nor streamed
        """Return the body for `prompt`."""
        return self.head + json_string(prompt) + self.tail


def read_embedding(form: AnswerForm, document: dict[str, Json]) -> ParsedAnswer:
    """Read the answer to a request for one vector. Never raises."""
    asked = tokens(member(document.get("usage"), "prompt_tokens"))
    counts = TokenCounts(asked, None if asked is None else 0)
    match document.get("data"):
        case [{"embedding": vector}, *_]:
            return ParsedAnswer(vector_in(form, vector), None, counts)
    error = document.get("error")
    cause = f": {said(error)}" if error else ""
    problem = AnswerProblem(f"the endpoint answered without a vector{cause}")
    return ParsedAnswer(problem, None, counts, is_completion=asked is not None)


def vector_in(form: AnswerForm, vector: Json) -> Values | AnswerProblem:
    """Return the value of `form` for a vector, which is a list of numbers or base64, or its problem."""
    try:
        if isinstance(vector, str):
            text = repacked(vector)
        elif isinstance(vector, list) and len(vector) <= _MOST:
            text = packed(vector)
        else:
            return AnswerProblem("the vector is no list of numbers and no base64")
    except ValueError as error:
        return AnswerProblem(str(error))
    wanted, found = form.parameters.get("dimensions"), dimensions_of(text)
    if wanted is not None and wanted != found:
        return AnswerProblem(f"the vector has {found} dimensions, not {said(wanted)}: change dimensions")
    return {form.vector: text}
