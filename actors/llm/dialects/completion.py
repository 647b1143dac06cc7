"""What a successful answer says: the fitting values, or what is wrong with it, and what it took.

An answer with a 2xx status was paid for, whatever stands in it. So nothing here fails: every way of being
unusable is a `AnswerProblem`, and the usage is read first, for it counts even where the rest is rubbish.
"""

from __future__ import annotations

from typing import Any

import orjson
from msgspec import Struct

from actors.core.messages.values import Json
from actors.llm.forms import AnswerForm, AnswerProblem, Values

_SHOWN_CHARACTERS = 100
_MOST_SAID = 1000
_MOST_TOKENS = 10_000_000  # of one question or answer


class ParsedAnswer(Struct, frozen=True):
    """A chat completion as far as it could be read.

    `content` is what the model wrote, None where nothing of it came: then there is nothing to correct.
    The token counts are None where the endpoint did not give them.
    """

    found: Values | AnswerProblem
    content: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


def read_completion(form: AnswerForm, body: bytes) -> ParsedAnswer:
    """Return what `body`, the whole of a 2xx answer, says to a question of this `form`. Never raises."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ParsedAnswer(AnswerProblem(_not_json(body)))
    if not isinstance(document, dict):
        return ParsedAnswer(
            AnswerProblem(f"the endpoint answered {_name(document)} in place of a completion")
        )
    return read_document(form, document)


def read_document(form: AnswerForm, document: dict[str, Json]) -> ParsedAnswer:
    """Return what a completion says to a question of this `form`. Never raises."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        usage = {}
    found, content = _read_choice(form, document)
    return ParsedAnswer(
        found, content, _tokens(usage.get("prompt_tokens")), _tokens(usage.get("completion_tokens"))
    )


def _read_choice(form: AnswerForm, document: dict[str, Json]) -> tuple[Values | AnswerProblem, str | None]:
    """Return what the first choice holds, with its content where there is any."""
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
    # A JSON object that is closed and fits lost nothing; plain text gives no such sign.
    if reason == "length" and (isinstance(found, AnswerProblem) or not form.fields):
        return AnswerProblem(
            f"the answer was cut off at max_tokens, {form.max_tokens}: wanted a shorter one"
        ), content
    return found, content


def _tokens(count: Json) -> int | None:
    """Return a plausible count. Taken as it came, an absurd one would use up any budget and any rate."""
    return count if type(count) is int and 0 <= count <= _MOST_TOKENS else None  # True is an int, too


def _not_json(body: bytes) -> str:
    text = body.decode(errors="replace").strip()
    if not text:
        return "the endpoint answered with nothing"
    kind = "HTML" if text.startswith("<") else "something that is not JSON"
    shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
    return f"the endpoint answered {kind}: {shown}"


def _said(value: Json) -> str:
    """Return foreign words for an error message: short, and also where they are nested beyond reason."""
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
