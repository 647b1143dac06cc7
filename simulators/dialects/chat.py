"""The simulated dialect `chat`: OpenAI's chat completions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import orjson

from simulators.dialects.dialect import (
    BadQuestionError,
    ModelReply,
    Question,
    SimulatedDialect,
    bound_of,
    event,
    listed,
    loaded,
    pieces_of,
    schema_of,
    size_of,
)

_PATHS = ("/v1/chat/completions", "/compatibility/v1/chat/completions")  # the second: of Cohere
_FIELD: Final = re.compile(r'^- "(\w+)": (.*)$', re.MULTILINE)
_RANGE: Final = re.compile(r"a number from (-?[\d.]+) to (-?[\d.]+)")
_QUOTED: Final = re.compile(r'"([^"]*)"')


class SimulatedChat(SimulatedDialect):
    """OpenAI's chat completions."""

    end: ClassVar[bytes] = b"data: [DONE]\n\n"

    def matches(self, method: str, path: str) -> bool:
        """Return whether this is a chat completion."""
        return path in _PATHS and method == "POST"

    def parse(self, path: str, headers: Mapping[str, str], body: bytes) -> Question:  # noqa: ARG002 - the body has it all
        """Return the question in a request."""
        document = loaded(body)
        messages = listed(document.get("messages"), "messages")
        text, input_tokens = size_of(messages)
        options = document.get("stream_options")
        return Question(
            messages=messages,
            model=str(document.get("model", "")),
            text=text,
            input_tokens=input_tokens,
            max_tokens=bound_of(document, "max_completion_tokens") or bound_of(document, "max_tokens"),
            schema=_schema(document.get("response_format"), text),
            stream=bool(document.get("stream")),
            include_usage=isinstance(options, dict) and bool(options.get("include_usage")),
        )

    def completion(self, question: Question, reply: ModelReply) -> bytes:  # noqa: ARG002 - a call of a tool needs it
        """Return a completion."""
        document: dict[str, Any] = {
            "id": f"chatcmpl-{reply.id}",
            "object": "chat.completion",
            "created": reply.created,
            "model": reply.model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": reply.content},
                    "finish_reason": _finish_reason(reply),
                }
            ],
        }
        if reply.has_usage:
            document["usage"] = usage(reply)
        return orjson.dumps(document)

    def events(self, question: Question, reply: ModelReply) -> list[bytes]:
        """Return the chunks of a completion."""
        deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": piece} for piece in pieces_of(reply.content)]
        found = [_chunk(reply, [{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
        found.append(_chunk(reply, [{"index": 0, "delta": {}, "finish_reason": _finish_reason(reply)}]))
        if question.include_usage and reply.has_usage:
            found.append(_chunk(reply, [], usage=usage(reply)))
        return found


def usage(reply: ModelReply) -> dict[str, Any]:
    """Return the usage of `reply`: cached and reasoning tokens are parts of the counts."""
    found: dict[str, Any] = {
        "prompt_tokens": reply.input_tokens,
        "completion_tokens": reply.output_tokens,
        "total_tokens": reply.input_tokens + reply.output_tokens,
    }
    if reply.cached_tokens:
        found["prompt_tokens_details"] = {"cached_tokens": reply.cached_tokens}
    if reply.reasoning_tokens:
        found["completion_tokens_details"] = {"reasoning_tokens": reply.reasoning_tokens}
    return found


def models(name: str) -> bytes:
    """Return the list of models, which is one."""
    return orjson.dumps(
        {"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "simulators"}]}
    )


def _finish_reason(reply: ModelReply) -> str:
    return "length" if reply.is_cut else "stop"


def _chunk(reply: ModelReply, choices: list[dict[str, Any]], **more: Any) -> bytes:
    return event(
        {
            "id": f"chatcmpl-{reply.id}",
            "object": "chat.completion.chunk",
            "created": reply.created,
            "model": reply.model,
            "choices": choices,
            **more,
        }
    )


def _stated(text: str) -> dict[str, Any]:
    """Return the properties that a prompt states in words, a line each: ``- "mood": one of "a", "b"``."""
    found: dict[str, Any] = {}
    for name, words in _FIELD.findall(text):
        if words.startswith("one of "):
            found[name] = {"type": "string", "enum": _QUOTED.findall(words)}
        elif bounds := _RANGE.match(words):
            found[name] = {"type": "number", "minimum": float(bounds[1]), "maximum": float(bounds[2])}
        else:
            found[name] = {"type": "string"}
    return found


def _schema(response_format: Any, text: str) -> Mapping[str, Any] | None:
    if not isinstance(response_format, dict):
        return None
    if response_format.get("type") == "json_object":
        fields = _stated(text) or {"answer": {"type": "string"}}
        return {"type": "object", "properties": fields, "required": [*fields]}
    if response_format.get("type") != "json_schema":
        return None
    named = response_format.get("json_schema")
    if not isinstance(named, dict):
        raise BadQuestionError("response_format.json_schema.schema must be an object")
    return schema_of(named.get("schema"), "response_format.json_schema.schema")
