"""The simulated dialect `anthropic`: Anthropic's Messages API."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

import orjson

from simulators.answers import with_stated_bounds
from simulators.capacity import RateLevel
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

_PATH: Final = "/v1/messages"
_VERSION: Final = "anthropic-version"
_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class SimulatedAnthropic(SimulatedDialect):
    """Anthropic's Messages API."""

    def matches(self, method: str, path: str) -> bool:
        """Return whether this is a message."""
        return path == _PATH and method == "POST"

    def parse(self, path: str, headers: Mapping[str, str], body: bytes) -> Question:  # noqa: ARG002 - there is one path
        """Return the question in a request."""
        if _VERSION not in headers:
            raise BadQuestionError(f"{_VERSION}: header is required")
        document = loaded(body)
        messages = listed(document.get("messages"), "messages")
        max_tokens = bound_of(document, "max_tokens")
        if max_tokens is None:
            raise BadQuestionError("max_tokens: Field required")
        if system := document.get("system"):
            messages = [{"role": "system", "content": system}, *messages]
        text, input_tokens = size_of(messages)
        schema, tool = _schema(document)
        return Question(
            messages=messages,
            model=str(document.get("model", "")),
            text=text,
            input_tokens=input_tokens,
            max_tokens=max_tokens,
            schema=None if schema is None else with_stated_bounds(schema),
            stream=bool(document.get("stream")),
            tool=tool,
        )

    def completion(self, question: Question, reply: ModelReply) -> bytes:
        """Return a message."""
        block: dict[str, Any] = {"type": "text", "text": reply.content}
        if question.tool is not None:
            block = {**_tool_use(question.tool, reply), "input": _parsed(reply.content)}
        message = _message(reply, [block], _stop_reason(question, reply))
        if not reply.has_usage:
            del message["usage"]
        return orjson.dumps(message)

    def events(self, question: Question, reply: ModelReply) -> list[bytes]:
        """Return the events of a message."""
        start = _message(reply, [], None)
        start["usage"] = {**start["usage"], "output_tokens": 1}
        block: dict[str, Any] = {"type": "text", "text": ""}
        kind, member = "text_delta", "text"
        if question.tool is not None:
            block, kind, member = _tool_use(question.tool, reply), "input_json_delta", "partial_json"
        stop = {"stop_reason": _stop_reason(question, reply), "stop_sequence": None}
        ended: dict[str, Any] = {"type": "message_delta", "delta": stop}
        if reply.has_usage:
            ended["usage"] = _usage(reply)
        found: list[dict[str, Any]] = [
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "ping"},
            *(
                {"type": "content_block_delta", "index": 0, "delta": {"type": kind, member: piece}}
                for piece in pieces_of(reply.content)
            ),
            {"type": "content_block_stop", "index": 0},
            ended,
            {"type": "message_stop"},
        ]
        return [event(each, each["type"]) for each in found]

    def error(
        self,
        status: int,
        kind: str | None,  # noqa: ARG002 - the API has a type for each status
        message: str,
        retry_after: str | None,
    ) -> tuple[bytes, dict[str, str]]:
        """Return the body and the headers of an error."""
        error = {"type": _TYPES.get(status, "api_error"), "message": message}
        body = orjson.dumps({"type": "error", "error": error, "request_id": "req_simulated"})
        return body, {} if retry_after is None else {"Retry-After": retry_after}

    def rate_headers(self, rates: Mapping[str, RateLevel], wall_now: float) -> dict[str, str]:
        """Return the headers that report `rates`. A reset is a time."""
        headers: dict[str, str] = {}
        for name, rate in rates.items():
            reset = dt.datetime.fromtimestamp(wall_now + rate.reset_s, dt.UTC)
            headers[f"anthropic-ratelimit-{name}-limit"] = str(rate.limit)
            headers[f"anthropic-ratelimit-{name}-remaining"] = str(rate.remaining)
            headers[f"anthropic-ratelimit-{name}-reset"] = f"{reset:%Y-%m-%dT%H:%M:%SZ}"
        return headers


def _message(reply: ModelReply, content: list[dict[str, Any]], stop_reason: str | None) -> dict[str, Any]:
    return {
        "id": f"msg_{reply.id}",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": _usage(reply),
    }


def _usage(reply: ModelReply) -> dict[str, Any]:
    """Return the usage: the input is without what the cache served."""
    return {
        "input_tokens": reply.input_tokens - reply.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": reply.cached_tokens,
        "output_tokens": reply.output_tokens,
        "output_tokens_details": {"thinking_tokens": reply.reasoning_tokens},
        "service_tier": "standard",
    }


def _tool_use(name: str, reply: ModelReply) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{reply.id}", "name": name, "input": {}}


def _parsed(content: str) -> Any:
    """Return the input of a tool. The API shows an input that is no JSON as an object with the text."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return {"raw": content}


def _stop_reason(question: Question, reply: ModelReply) -> str:
    if reply.is_cut:
        return "max_tokens"
    return "end_turn" if question.tool is None else "tool_use"


def _schema(document: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str | None]:
    """Return the schema of the answer and, if it is the input of a tool, the name of the tool."""
    config = document.get("output_config")
    wanted = config.get("format") if isinstance(config, dict) else None
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        return schema_of(wanted.get("schema"), "output_config.format.schema"), None
    choice, tools = document.get("tool_choice"), document.get("tools")
    if not isinstance(choice, dict) or choice.get("type") != "tool" or not isinstance(tools, list):
        return None, None
    for tool in tools:
        if isinstance(tool, dict) and tool.get("name") == choice.get("name"):
            return schema_of(tool.get("input_schema"), "tools.input_schema"), str(choice["name"])
    raise BadQuestionError("tool_choice: the tool is not among tools")
