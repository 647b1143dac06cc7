"""Reads a chat completion: its values or its problem, and its usage.

A completion is billed, whatever its content. So nothing here raises: every unusable answer is an
`AnswerProblem`, and its usage still counts. Another body with a 2xx status, such as the page of a gateway or
of a captive portal, is no answer of the model.
"""

from __future__ import annotations

from typing import Any

import orjson
from msgspec import Struct
from msgspec.structs import replace

from actors.core.messages.values import Json
from actors.llm.forms import AnswerForm, AnswerProblem, Values

_SHOWN_CHARACTERS = 100
_MOST_SAID = 1000
_MOST_TOKENS = 10_000_000  # of one question or answer


class ParsedAnswer(Struct, frozen=True):
    """The result of reading a chat completion.

    found: the values, or the problem.
    content: the text of the model, None if there is none; without it no correction is possible.
    input_tokens, output_tokens: None if the endpoint does not report them.
    is_completion: False for a body that has neither choices nor usage, which may come from a gateway.
    """

    found: Values | AnswerProblem
    content: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    is_completion: bool = True


def read_completion(form: AnswerForm, body: bytes) -> ParsedAnswer:
    """Read `body`, the complete body of a 2xx answer to a question of `form`. Never raises."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _no_completion(_not_json(body))
    if not isinstance(document, dict):
        return _no_completion(f"the endpoint answered {_name(document)} instead of a completion")
    answer = read_document(form, document)
    if not document.get("choices") and answer.input_tokens is None and answer.output_tokens is None:
        return replace(answer, is_completion=False)
    return answer


def _no_completion(problem: str) -> ParsedAnswer:
    return ParsedAnswer(AnswerProblem(problem), is_completion=False)


def read_document(form: AnswerForm, document: dict[str, Json]) -> ParsedAnswer:
    """Read a completion that answers a question of `form`. Never raises."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        usage = {}
    found, content = _read_choice(form, document)
    return ParsedAnswer(
        found, content, _tokens(usage.get("prompt_tokens")), _tokens(usage.get("completion_tokens"))
    )


def _read_choice(form: AnswerForm, document: dict[str, Json]) -> tuple[Values | AnswerProblem, str | None]:
    """Return the values or the problem of the first choice, and its content if there is any."""
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if choice is None or not isinstance(message, dict):
        error = document.get("error")
        said = f": {_said(error)}" if error else ""
        return AnswerProblem(f"the endpoint answered without choices{said}"), None
    reason = choice.get("finish_reason")
    if reason == "content_filter":
        return AnswerProblem("the endpoint's content filter withheld the answer"), None
    if message.get("refusal"):
        return AnswerProblem(f"the model refused: {_said(message['refusal'])}"), None
    content = message.get("content")
    if not isinstance(content, str):
        cause = f"; it stopped for {reason}" if isinstance(reason, str) else ""
        return AnswerProblem(f"the content of the answer is {_name(content)}, not text{cause}"), None
    found = form.parse(content)
    # A valid JSON object is complete even so; plain text may have been cut.
    if reason == "length" and (isinstance(found, AnswerProblem) or not form.fields):
        return AnswerProblem(
            f"the answer was cut off at max_tokens, {form.max_tokens}: wanted a shorter one"
        ), content
    return found, content


def _tokens(count: Json) -> int | None:
    """Return a plausible count, else None. An absurd one would use up any budget and any rate."""
    return count if type(count) is int and 0 <= count <= _MOST_TOKENS else None  # bool is a subclass of int


def _not_json(body: bytes) -> str:
    text = body.decode(errors="replace").strip()
    if not text:
        return "the endpoint answered with nothing"
    kind = "HTML" if text.startswith("<") else "something that is not JSON"
    shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
    return f"the endpoint answered {kind}: {shown}"


def _said(value: Json) -> str:
    """Return a short text of a foreign value for an error message. It may be nested too deeply for JSON."""
    try:
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        text = _name(value)
    return text if len(text) <= _MOST_SAID else text[:_MOST_SAID] + "…"


def _name(value: Any) -> str:
    match value:
        case None:
            return "null"
        case list():
            return "a list"
        case dict():
            return "an object"
        case str():
            return "a string"
        case _:
            return "a number" if type(value) in (int, float) else "a boolean"
