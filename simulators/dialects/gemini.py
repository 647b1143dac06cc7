"""The simulated dialect `gemini`: generateContent of the Gemini API and of Vertex AI."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

import orjson

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

_PATH: Final = re.compile(r"/(?:.+/)?models/([^/]+):(generateContent|streamGenerateContent)")
_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_QUOTAS: Final = {
    "requests": "GenerateRequestsPerMinutePerProjectPerModel",
    "tokens": "GenerateContentInputTokensPerModelPerMinute",
}
_SECONDS: Final = re.compile(r"\d{1,9}(\.\d{1,9})?")


class SimulatedGemini(SimulatedDialect):
    """Google's generateContent."""

    def matches(self, method: str, path: str) -> bool:
        """Return whether this is a request to generate content."""
        return method == "POST" and _PATH.fullmatch(path) is not None

    def parse(self, path: str, headers: Mapping[str, str], body: bytes) -> Question:  # noqa: ARG002 - the path and the body have it all
        """Return the question in a request."""
        found = _PATH.fullmatch(path)
        document = loaded(body)
        messages = [_message(each) for each in listed(document.get("contents"), "contents")]
        if isinstance(system := document.get("systemInstruction"), dict):
            messages.insert(0, {"role": "system", "content": _text(system.get("parts"))})
        config = document.get("generationConfig") or {}
        if not isinstance(config, dict):
            raise BadQuestionError("generationConfig must be an object")
        text, input_tokens = size_of(messages)
        return Question(
            messages=messages,
            model=unquote(found[1]) if found else "",
            text=text,
            input_tokens=input_tokens,
            max_tokens=bound_of(config, "maxOutputTokens"),
            schema=_schema(config),
            stream=found is not None and found[2].startswith("stream"),
        )

    def completion(self, question: Question, reply: ModelReply) -> bytes:  # noqa: ARG002 - same
        """Return an answer."""
        return orjson.dumps(_part(reply, reply.content, is_last=True))

    def events(self, question: Question, reply: ModelReply) -> list[bytes]:  # noqa: ARG002 - same
        """Return the parts of an answer."""
        *pieces, last = pieces_of(reply.content) or [""]
        parts = [_part(reply, piece, is_last=False) for piece in pieces]
        return [event(part) for part in [*parts, _part(reply, last, is_last=True)]]

    def error(
        self, status: int, kind: str | None, message: str, retry_after: str | None
    ) -> tuple[bytes, dict[str, str]]:
        """Return an error, whose details have the wait and the quota. Only a wait in seconds fits there."""
        details: list[dict[str, Any]] = []
        if kind in _QUOTAS:
            details.append(_detail("QuotaFailure", violations=[{"quotaId": _QUOTAS[kind]}]))
        headers: dict[str, str] = {}
        if retry_after is not None and _SECONDS.fullmatch(retry_after):
            details.append(_detail("RetryInfo", retryDelay=f"{retry_after}s"))
        elif retry_after is not None:
            headers["Retry-After"] = retry_after
        name = _STATUSES.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
        error = {"code": status, "message": message, "status": name, "details": details}
        return orjson.dumps({"error": error}), headers

    def rate_headers(self, rates: Mapping[str, RateLevel], wall_now: float) -> dict[str, str]:  # noqa: ARG002 - there are none
        """Return no headers: Google reports no rates."""
        return {}


def _detail(kind: str, **members: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **members}


def _message(content: Mapping[str, Any]) -> dict[str, Any]:
    role = "assistant" if content.get("role") == "model" else "user"
    parts = content.get("parts")
    has_files = isinstance(parts, list) and any("inlineData" in part for part in parts)
    return {"role": role, "content": parts if has_files else _text(parts)}


def _text(parts: Any) -> str:
    """Return the text of `parts`, which are a list or, in a system instruction, may be one part."""
    found: Sequence[Any] = parts if isinstance(parts, list) else [parts]
    texts = [part.get("text") for part in found if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def _schema(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the schema of an answer. The older form has the names of types in capitals."""
    if config.get("responseMimeType") != "application/json":
        return None
    if "responseJsonSchema" in config:
        return schema_of(config["responseJsonSchema"], "generationConfig.responseJsonSchema")
    if "responseSchema" in config:
        return _lower(schema_of(config["responseSchema"], "generationConfig.responseSchema"))
    return {"type": "object", "properties": {"answer": {"type": "string"}}}


def _lower(schema: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(schema)
    if isinstance(kind := found.get("type"), str):
        found["type"] = kind.lower()
    if isinstance(inner := found.get("properties"), dict):
        found["properties"] = {name: _lower(each) for name, each in inner.items()}
    if isinstance(items := found.get("items"), dict):
        found["items"] = _lower(items)
    return found


def _part(reply: ModelReply, text: str, *, is_last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    if is_last:
        candidate["finishReason"] = "MAX_TOKENS" if reply.is_cut else "STOP"
    part: dict[str, Any] = {
        "candidates": [candidate],
        "modelVersion": reply.model,
        "responseId": reply.id,
    }
    if reply.has_usage:
        part["usageMetadata"] = _usage(reply, is_last=is_last)
    return part


def _usage(reply: ModelReply, *, is_last: bool) -> dict[str, int]:
    """Return the usage so far. Thoughts are no part of the candidates, and counts of zero are left out."""
    usage = {"promptTokenCount": reply.input_tokens, "cachedContentTokenCount": reply.cached_tokens}
    if is_last:
        usage["candidatesTokenCount"] = reply.output_tokens - reply.reasoning_tokens
        usage["thoughtsTokenCount"] = reply.reasoning_tokens
    total = reply.input_tokens + (reply.output_tokens if is_last else 0)
    return {name: value for name, value in {**usage, "totalTokenCount": total}.items() if value}
