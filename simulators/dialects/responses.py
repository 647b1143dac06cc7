"""The simulated dialect `responses`: OpenAI's Responses API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

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

_PATH: Final = "/v1/responses"


class SimulatedResponses(SimulatedDialect):
    """OpenAI's Responses API."""

    def matches(self, method: str, path: str) -> bool:
        """Return whether a response is asked for."""
        return path == _PATH and method == "POST"

    def parse(self, path: str, headers: Mapping[str, str], body: bytes) -> Question:  # noqa: ARG002 - the body has it all
        """Return the question in a request."""
        document = loaded(body)
        given = document.get("input")
        messages = [{"role": "user", "content": given}] if isinstance(given, str) else listed(given, "input")
        if instructions := document.get("instructions"):
            messages = [{"role": "system", "content": instructions}, *messages]
        text, input_tokens = size_of(messages)
        return Question(
            messages=messages,
            model=str(document.get("model", "")),
            text=text,
            input_tokens=input_tokens,
            max_tokens=bound_of(document, "max_output_tokens"),
            schema=_schema(document.get("text")),
            stream=bool(document.get("stream")),
        )

    def completion(self, question: Question, reply: ModelReply) -> bytes:  # noqa: ARG002 - a call of a tool needs it
        """Return a response."""
        return orjson.dumps(_response(reply, _status(reply), [_message(reply)]))

    def events(self, question: Question, reply: ModelReply) -> list[bytes]:  # noqa: ARG002 - same
        """Return the events of a response."""
        place = {"item_id": f"msg_{reply.id}", "output_index": 0, "content_index": 0}
        empty = {**_message(reply), "status": "in_progress", "content": []}
        started = _response(reply, "in_progress", [])
        events: list[tuple[str, dict[str, Any]]] = [
            ("created", {"response": started}),
            ("in_progress", {"response": started}),
            ("output_item.added", {"output_index": 0, "item": empty}),
            ("content_part.added", {**place, "part": _part("")}),
            *(
                ("output_text.delta", {**place, "delta": piece, "logprobs": []})
                for piece in pieces_of(reply.content)
            ),
            ("output_text.done", {**place, "text": reply.content, "logprobs": []}),
            ("content_part.done", {**place, "part": _part(reply.content)}),
            ("output_item.done", {"output_index": 0, "item": _message(reply)}),
            (_status(reply), {"response": _response(reply, _status(reply), [_message(reply)])}),
        ]
        return [
            event({"type": f"response.{name}", "sequence_number": number, **members}, f"response.{name}")
            for number, (name, members) in enumerate(events)
        ]


def _response(reply: ModelReply, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    is_ended = status != "in_progress"
    return {
        "id": f"resp_{reply.id}",
        "object": "response",
        "created_at": reply.created,
        "model": reply.model,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": _usage(reply) if is_ended and reply.has_usage else None,
    }


def _usage(reply: ModelReply) -> dict[str, Any]:
    return {
        "input_tokens": reply.input_tokens,
        "input_tokens_details": {"cached_tokens": reply.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": reply.output_tokens,
        "output_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
        "total_tokens": reply.input_tokens + reply.output_tokens,
    }


def _message(reply: ModelReply) -> dict[str, Any]:
    return {
        "id": f"msg_{reply.id}",
        "type": "message",
        "role": "assistant",
        "status": _status(reply),
        "content": [_part(reply.content)],
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _status(reply: ModelReply) -> str:
    return "incomplete" if reply.is_cut else "completed"


def _schema(text: Any) -> Mapping[str, Any] | None:
    wanted = text.get("format") if isinstance(text, dict) else None
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        return None
    if not isinstance(wanted.get("name"), str):
        raise BadQuestionError("text.format.name must be a string")
    return schema_of(wanted.get("schema"), "text.format.schema")
