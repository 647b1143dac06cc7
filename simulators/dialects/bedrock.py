"""The simulated dialect `bedrock`: Converse and ConverseStream of Amazon Bedrock."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import unquote

import orjson

from simulators.answers import with_stated_bounds
from simulators.capacity import RateLevel
from simulators.dialects.dialect import (
    BadQuestionError,
    ModelReply,
    Question,
    SimulatedDialect,
    bound_of,
    listed,
    loaded,
    pieces_of,
    schema_of,
    size_of,
)

_PATH: Final = re.compile(r"/model/([^/]+)/(converse|converse-stream)")
_ERRORS: Final = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}
_STRING: Final = 7  # the type of a header's value


class SimulatedBedrock(SimulatedDialect):
    """Amazon Bedrock's Converse."""

    stream_type: ClassVar[str] = "application/vnd.amazon.eventstream"

    def matches(self, method: str, path: str) -> bool:
        """Return whether this is a request to converse."""
        return method == "POST" and _PATH.fullmatch(path) is not None

    def parse(self, path: str, headers: Mapping[str, str], body: bytes) -> Question:  # noqa: ARG002 - the path and the body have it all
        """Return the question in a request."""
        found = _PATH.fullmatch(path)
        document = loaded(body)
        messages = [_message(each) for each in listed(document.get("messages"), "messages")]
        if system := document.get("system"):
            messages.insert(0, {"role": "system", "content": _text(listed(system, "system"))})
        config = document.get("inferenceConfig") or {}
        if not isinstance(config, dict):
            raise BadQuestionError("inferenceConfig must be an object")
        text, input_tokens = size_of(messages)
        schema, tool = _schema(document)
        return Question(
            messages=messages,
            model=unquote(found[1]) if found else "",
            text=text,
            input_tokens=input_tokens,
            max_tokens=bound_of(config, "maxTokens"),
            schema=None if schema is None else with_stated_bounds(schema),
            stream=found is not None and found[2] == "converse-stream",
            tool=tool,
        )

    def completion(self, question: Question, reply: ModelReply) -> bytes:
        """Return an answer."""
        block: dict[str, Any] = {"text": reply.content}
        if question.tool is not None:
            block = {"toolUse": {**_call(question.tool, reply), "input": _input(reply.content)}}
        document: dict[str, Any] = {
            "output": {"message": {"role": "assistant", "content": [block]}},
            "stopReason": _stop_reason(question, reply),
            "metrics": {"latencyMs": 1},
        }
        if reply.has_usage:
            document["usage"] = _usage(reply)
        return orjson.dumps(document)

    def events(self, question: Question, reply: ModelReply) -> list[bytes]:
        """Return the frames of an answer."""
        found = [event_frame("messageStart", {"role": "assistant"})]
        if question.tool is not None:
            start = {"toolUse": _call(question.tool, reply)}
            found.append(event_frame("contentBlockStart", {"start": start, "contentBlockIndex": 0}))
        for piece in pieces_of(reply.content):
            delta = {"text": piece} if question.tool is None else {"toolUse": {"input": piece}}
            found.append(event_frame("contentBlockDelta", {"delta": delta, "contentBlockIndex": 0}))
        found.append(event_frame("contentBlockStop", {"contentBlockIndex": 0}))
        found.append(event_frame("messageStop", {"stopReason": _stop_reason(question, reply)}))
        if reply.has_usage:
            found.append(event_frame("metadata", {"usage": _usage(reply), "metrics": {"latencyMs": 1}}))
        return found

    def error(
        self,
        status: int,
        kind: str | None,
        message: str,
        retry_after: str | None,
    ) -> tuple[bytes, dict[str, str]]:
        """Return an error, whose type is in a header."""
        name = _ERRORS.get(status, "InternalServerException" if status >= 500 else "ValidationException")
        if status == 429 and kind in ("requests", "tokens"):
            message = f"Too many {kind}, please wait before trying again."
        headers = {"x-amzn-ErrorType": f"{name}:http://internal.amazon.com/coral/"}
        if retry_after is not None:
            headers["Retry-After"] = retry_after
        return orjson.dumps({"message": message}), headers

    def rate_headers(self, rates: Mapping[str, RateLevel], wall_now: float) -> dict[str, str]:  # noqa: ARG002 - there are none
        """Return no headers: Bedrock reports no rates."""
        return {}


# ---- frames ----------------------------------------------------------------------------------------------


def event_frame(name: str, payload: Mapping[str, Any]) -> bytes:
    """Return an event as a frame of an AWS event stream."""
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, orjson.dumps(payload))


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return a frame: lengths, their sum, headers, payload, and the sum of all."""
    packed = b"".join(_header(name, value) for name, value in headers.items())
    lengths = struct.pack("!II", len(packed) + len(payload) + 16, len(packed))
    data = lengths + struct.pack("!I", zlib.crc32(lengths)) + packed + payload
    return data + struct.pack("!I", zlib.crc32(data))


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return bytes([len(key)]) + key + struct.pack("!BH", _STRING, len(text)) + text


# ---- parts -----------------------------------------------------------------------------------------------


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    blocks = listed(message.get("content"), "content")
    has_files = any("image" in block or "document" in block for block in blocks)
    return {"role": str(message.get("role", "user")), "content": blocks if has_files else _text(blocks)}


def _text(blocks: Sequence[Mapping[str, Any]]) -> str:
    return "".join(text for block in blocks if isinstance(text := block.get("text"), str))


def _schema(document: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str | None]:
    """Return the schema of an answer, and the name of the tool that it calls if there is one."""
    match document:
        case {"outputConfig": {"textFormat": {"structure": {"jsonSchema": {"schema": str(text)}}}}}:
            return schema_of(loaded(text.encode()), "outputConfig"), None
        case {"toolConfig": {"tools": [{"toolSpec": {"name": str(name), "inputSchema": inner}}, *_]}}:
            schema = inner.get("json") if isinstance(inner, dict) else None
            return schema_of(schema, "toolConfig.tools[0].toolSpec.inputSchema.json"), name
    return None, None


def _call(tool: str, reply: ModelReply) -> dict[str, str]:
    return {"toolUseId": f"tooluse_{reply.id}", "name": tool}


def _input(content: str) -> Any:
    """Return the input of a tool: an answer that is cut or prose is no JSON."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return {"answer": content}


def _stop_reason(question: Question, reply: ModelReply) -> str:
    if reply.is_cut:
        return "max_tokens"
    return "end_turn" if question.tool is None else "tool_use"


def _usage(reply: ModelReply) -> dict[str, int]:
    """Return the usage: what a cache served is no part of the input."""
    usage = {
        "inputTokens": reply.input_tokens - reply.cached_tokens,
        "outputTokens": reply.output_tokens,
        "totalTokens": reply.input_tokens + reply.output_tokens,
    }
    if reply.cached_tokens:
        usage["cacheReadInputTokens"] = reply.cached_tokens
    return usage
