"""Helpers of dialects that read answers: foreign values in words, and plausible counts."""

from __future__ import annotations

from typing import Any

import orjson

from actors.core.messages.values import Json
from actors.llm.dialects.dialect import ParsedAnswer
from actors.llm.forms import RAISE_MAX_TOKENS, AnswerForm, AnswerProblem, Values

_SHOWN_CHARACTERS = 100
_MOST_SAID = 1000
_MOST_KEPT = 32_000  # characters of a value, of which each value within it counts as many as its overhead
_OVERHEAD = 64
_MOST_TEXT = 8_000  # longer than an `ErrorReport` keeps
_DEEPEST = 8
_MOST_TOKENS = 10_000_000  # of one question or answer


def loaded(body: bytes) -> dict[str, Json] | ParsedAnswer:
    """Return the JSON object `body`, or an answer that says why it is none."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return no_completion(_not_json(body))
    if isinstance(document, dict):
        return document
    return no_completion(f"the endpoint answered {named(document)} instead of a completion")


def no_completion(problem: str) -> ParsedAnswer:
    """Return the answer for a body that is no answer of a model."""
    return ParsedAnswer(AnswerProblem(problem), is_completion=False)


def found_in(form: AnswerForm, content: str, *, is_cut: bool) -> Values | AnswerProblem:
    """Return the values in the text of a model, or its problem. `is_cut`: it ended at the bound of tokens."""
    found = form.parse(content)
    # A valid JSON object is complete even so; plain text may have been cut.
    if is_cut and not content.strip():
        return all_reasoning(form)
    if is_cut and (isinstance(found, AnswerProblem) or not form.fields):
        cause = f"the answer was cut off at max_tokens, {form.max_tokens}"
        return AnswerProblem(f"{cause}: wanted a shorter one", f"{cause}: {RAISE_MAX_TOKENS}")
    return found


def all_reasoning(form: AnswerForm) -> AnswerProblem:
    """Return the problem of an answer that reached its bound before the model wrote any text."""
    cause = f"the answer was cut off at max_tokens, {form.max_tokens}, before it had any text"
    return AnswerProblem(cause, f"{cause}: {RAISE_MAX_TOKENS}", is_final=True)


def no_text(content: Json, reason: Json) -> AnswerProblem:
    """Return the problem of an answer whose content is no text. `reason`: why the model stopped."""
    cause = f"; it stopped for {said(reason)}" if isinstance(reason, str) else ""
    return AnswerProblem(f"the content of the answer is {named(content)}, not text{cause}")


def tokens(count: Json) -> int | None:
    """Return a plausible count, else None. An absurd one would use up any budget and any rate."""
    return count if type(count) is int and 0 <= count <= _MOST_TOKENS else None  # bool is a subclass of int


def member(value: Json, *names: str) -> Json:
    """Return the value at the path `names` within nested objects, None if there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def bounded(value: Json) -> Json:
    """Return a copy of a foreign value without what exceeds the size of a usage or an error, for a stream.

    A value takes up to thirty times the bytes of its JSON in memory, and a stream keeps it until its end.
    """
    left = _MOST_KEPT

    def copy(value: Json, depth: int) -> Json:
        nonlocal left
        left -= _OVERHEAD
        match value:
            case str():
                value = value[:_MOST_TEXT]
                left -= len(value)
            case dict() if depth > _DEEPEST:
                return {}
            case list() if depth > _DEEPEST:
                return []
            case dict():
                found: dict[str, Json] = {}
                for name, inner in value.items():
                    left -= len(name)
                    if left <= 0:
                        break
                    found[name] = copy(inner, depth + 1)
                return found
            case list():
                return [copy(inner, depth + 1) for inner in value if left > 0]
        return value

    return copy(value, 0)


def said(value: Json) -> str:
    """Return a short text of a foreign value for an error message. It may be nested too deeply for JSON."""
    try:
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        text = named(value)
    return text if len(text) <= _MOST_SAID else text[:_MOST_SAID] + "…"


def said_json(value: Json) -> str:
    """Return the JSON of a foreign value, or `value` itself if it is a string."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # it is nested too deeply
        return said(value)


def named(value: Any) -> str:
    """Return the kind of a JSON value in words."""
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


def _not_json(body: bytes) -> str:
    text = body.decode(errors="replace").strip()
    if not text:
        return "the endpoint answered with nothing"
    kind = "HTML" if text.startswith("<") else "something that is not JSON"
    shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
    return f"the endpoint answered {kind}: {shown}"
