"""The OpenAI-compatible protocol: reads questions, writes answers, streams and errors. Pure."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from simulators.answers import contents

_CHUNKS: Final = 8
DONE: Final = b"data: [DONE]\n\n"


class BadQuestionError(ValueError):
    """The body of a request is not a question to a model. The message gives the reason."""


@dataclass(frozen=True, slots=True)
class Question:
    """A chat request. `input_tokens` is the size of its prompt; `schema` is None for plain text."""

    messages: list[dict[str, Any]]
    model: str
    text: str
    input_tokens: int
    max_tokens: int | None
    schema: Mapping[str, Any] | None
    stream: bool
    include_usage: bool


@dataclass(frozen=True, slots=True)
class ModelReply:
    """The answer of the model. The response has no usage if `usage` is None."""

    id: str
    model: str
    created: int
    content: str
    finish_reason: str
    output_tokens: int
    usage: Mapping[str, int] | None


def parse_question(body: bytes) -> Question:
    """Return the question in `body`. Raises `BadQuestionError`."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadQuestionError(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadQuestionError("the body must be an object")
    messages = document.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise BadQuestionError("messages must be a list of at least one message")
    max_tokens = document.get("max_completion_tokens", document.get("max_tokens"))
    if max_tokens is not None and (type(max_tokens) is not int or max_tokens < 1):
        raise BadQuestionError("max_tokens must be a whole number of at least 1")
    stream = bool(document.get("stream"))
    texts = contents(messages)
    return Question(
        messages=messages,
        model=str(document.get("model", "")),
        text="\n".join(texts),
        input_tokens=-(-sum(map(len, texts)) // 4),
        max_tokens=max_tokens,
        schema=_schema(document.get("response_format")),
        stream=stream,
        include_usage=bool((document.get("stream_options") or {}).get("include_usage")),
    )


def completion(reply: ModelReply) -> bytes:
    """Return the body of an answer that is not streamed."""
    document: dict[str, Any] = {
        "id": reply.id,
        "object": "chat.completion",
        "created": reply.created,
        "model": reply.model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": reply.content},
                "finish_reason": reply.finish_reason,
            }
        ],
    }
    if reply.usage is not None:
        document["usage"] = reply.usage
    return orjson.dumps(document)


def events(reply: ModelReply, *, include_usage: bool) -> list[bytes]:
    """Return the events of a streamed answer, except the last one, `DONE`."""
    size = max(1, -(-len(reply.content) // _CHUNKS))
    pieces = [reply.content[start : start + size] for start in range(0, len(reply.content), size)]
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in pieces]
    found = [_event(reply, [{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
    found.append(_event(reply, [{"index": 0, "delta": {}, "finish_reason": reply.finish_reason}]))
    if include_usage and reply.usage is not None:
        found.append(_event(reply, [], usage=reply.usage))
    return found


def error(kind: str, message: str) -> bytes:
    """Return the body of an error of type `kind`."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": kind}})


def error_type(status: int) -> str:
    """Return the type of an error of which only the HTTP status is known."""
    if status == 429:
        return "rate_limit_exceeded"
    return "invalid_request_error" if status < 500 else "server_error"


@functools.lru_cache(maxsize=1)
def huge(size: int) -> bytes:
    """Return a sound answer of more than `size` bytes. All requests share the last one."""
    return b'{"choices":[{"index":0,"message":{"role":"assistant","content":"%b"}}]}' % (b"x" * size)


def models(name: str) -> bytes:
    """Return the list of models, which is one."""
    return orjson.dumps(
        {"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "simulators"}]}
    )


def _event(reply: ModelReply, choices: list[dict[str, Any]], **more: Any) -> bytes:
    document = {
        "id": reply.id,
        "object": "chat.completion.chunk",
        "created": reply.created,
        "model": reply.model,
        "choices": choices,
        **more,
    }
    return b"data: " + orjson.dumps(document) + b"\n\n"


def _schema(response_format: Any) -> Mapping[str, Any] | None:
    if not isinstance(response_format, dict):
        return None
    if response_format.get("type") == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    if response_format.get("type") != "json_schema":
        return None
    named = response_format.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else None
    if not isinstance(schema, dict):
        raise BadQuestionError("response_format.json_schema.schema must be an object")
    return schema
