"""The dialect `anthropic`: Anthropic's Messages API.

A model writes JSON because of the format of the answer or, if it does not know that, because it has to call a
tool whose input is the answer.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson
from msgspec.structs import replace

from actors.core.messages.attempts import RateHeaders
from actors.core.messages.values import Json, TokenCounts
from actors.llm.dialects.common import RESERVED, merged, stop_list
from actors.llm.dialects.dialect import Adaptation, Dialect, ParsedAnswer, PreparedForm
from actors.llm.dialects.event_reader import EventReader
from actors.llm.dialects.reading import (
    bounded,
    found_in,
    loaded,
    member,
    said,
    said_json,
    tokens,
)
from actors.llm.dialects.turns import USER, PreparedTurns, encodable
from actors.llm.endpoint import NATIVE, TOOL
from actors.llm.forms import AnswerForm, AnswerProblem
from actors.llm.requests.attachments import IMAGES, PDF, AttachedFile
from actors.llm.requests.schemas import strict_schema, unions
from actors.llm.translate import ErrorReport, count, report_of

_PATH = "/messages"
_VERSION = "2023-06-01"  # the next one rejects temperature, top_p and top_k
_LONGEST_RESET_S = 30 * 86400.0

# Models that do not know the format: up to Claude 3, and Opus 4 and Sonnet 4 (4.0).
_NEEDS_TOOL = re.compile(r"claude-(2|3|instant|(opus|sonnet)-4-(0|2025))")

_MOST_UNIONS = 16  # of a format, by the page "Structured outputs"; a tool that is not strict may have more

# The statuses of errors that are reported under the status 200. Source: the page "Errors".
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_NO_FORMAT = re.compile(
    r"(output_config|output[ _]format|structured output).{0,80}(not (support|permit|available)|unsupported)"
    r"|(not support|unsupported).{0,80}(output_config|output[ _]format|structured output)"
)
_OWN_LIMIT = re.compile(r"usage limits?|spend(ing)? limit|credit balance")
_RENAMED = frozenset({"stop", "reasoning_effort"})
_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation")
_OUTPUT_COUNTS = ("output_tokens", "output_tokens_details")


class AnthropicDialect(Dialect):
    """Anthropic's Messages API. `base_url` may end with ``/v1`` or ``/v1/messages``."""

    attaches = IMAGES | {PDF}
    ways: ClassVar[tuple[str, ...]] = (NATIVE, TOOL)
    reserved: ClassVar[Mapping[str, str]] = {
        **RESERVED,
        "tool_choice": "use output",
    }
    unsupported: ClassVar[Mapping[str, str]] = {"seed": "remove it"}

    def url(self, *, stream: bool) -> str:  # noqa: ARG002 - streams have the same URL
        """Return the URL of requests."""
        return self._base_url + _PATH

    def models_url(self) -> str | None:
        """Return the URL of the list of models. Without a limit it names twenty."""
        return self._base_url + "/models?limit=1000"

    @property
    def _base_url(self) -> str:
        url = self.settings.base_url.removesuffix(_PATH)
        return url if url.endswith("/v1") else f"{url}/v1"

    def key_header(self, key: str) -> tuple[str, str]:
        """Return the header of the API key."""
        return "x-api-key", key

    def headers(self) -> Mapping[str, str]:
        """Return the version of the API, which `headers` of the settings may replace."""
        return {"anthropic-version": _VERSION}

    def parameters(self, form: AnswerForm) -> dict[str, Json]:
        """Return the parameters by the names of this API: of the common ones, two differ."""
        given = merged(self.settings.params, form.parameters)
        found = {name: value for name, value in given.items() if name not in _RENAMED}
        if "stop" in given:
            found = merged({"stop_sequences": stop_list(given["stop"])}, found)
        if "reasoning_effort" in given:
            found = merged({"output_config": {"effort": given["reasoning_effort"]}}, found)
        return found

    def prepare(self, form: AnswerForm) -> PreparedTurns:
        """Prepare requests of `form`."""
        members = self.parameters(form) | {"model": self.settings.model, "max_tokens": form.max_tokens}
        if form.instructions is not None:
            members["system"] = _system(form.instructions, members.pop("cache_control", None))
        if form.fields:
            self._ask_for_json(form, members)
        return PreparedTurns(form, orjson.dumps(members)[:-1] + b',"messages":[' + USER, skips_blank=True)

    def with_files(self, prepared: PreparedForm, files: Sequence[AttachedFile]) -> PreparedForm:
        """Return a form whose prompts follow these files."""
        if not isinstance(prepared, PreparedTurns):
            return prepared
        return prepared.with_parts([_file_part(file) for file in files], "text")

    def _ask_for_json(self, form: AnswerForm, members: dict[str, Json]) -> None:
        schema = strict_schema(form.schema)
        needs_tool = _NEEDS_TOOL.search(self.settings.model) or unions(schema) > _MOST_UNIONS
        if self.settings.structured != TOOL and not needs_tool:
            wanted = {"format": {"type": "json_schema", "schema": schema}}
            members["output_config"] = merged(members, {"output_config": wanted})["output_config"]
            return
        tool = {"name": form.schema_name, "description": "Receives your answer.", "input_schema": schema}
        given = members.get("tools")
        members["tools"] = [tool, *(given if isinstance(given, list) else [])]
        members["tool_choice"] = {
            # A model that thinks cannot be made to call a tool; the API answers 400.
            **({"type": "auto"} if _thinks(members) else {"type": "tool", "name": form.schema_name}),
            "disable_parallel_tool_use": True,
        }

    def adapted(self, report: ErrorReport) -> Adaptation | None:
        """Return the form with a tool for a model that does not know the format of answers."""
        is_refused = report.status == 400 and _NO_FORMAT.search(report.text.lower()) is not None
        if not is_refused or self.settings.structured == TOOL:
            return None
        settings = self.settings.model_copy(update={"structured": TOOL})
        return Adaptation(type(self)(settings), "output_config.format", f"structured: {TOOL}")

    def read(self, form: AnswerForm, body: bytes) -> ParsedAnswer:
        """Read a message."""
        document = loaded(body)
        return document if isinstance(document, ParsedAnswer) else read_message(form, document)

    def reader(self) -> StreamedMessage:
        """Return a reader of events."""
        return StreamedMessage()

    def error(self, status: int, headers: Mapping[str, str], body: bytes, wall_now: float) -> ErrorReport:
        """Read an error. A limit on spending that the account has set itself is reported with status 400."""
        report = super().error(status, headers, body, wall_now)
        if status == 400 and _OWN_LIMIT.search(report.text.lower()):
            return replace(report, codes=(*report.codes, "spend_limit"))
        return report

    def rate_headers(self, headers: Mapping[str, str]) -> RateHeaders | None:
        """Read ``anthropic-ratelimit-*``: of the limits on tokens, the API names the most restrictive one."""
        values = {name: headers.get(f"anthropic-ratelimit-{name}") for name in _RATES}
        if not any(value is not None for name, value in values.items() if not name.endswith("-reset")):
            return None
        kind = "tokens" if values["tokens-limit"] is not None else "input-tokens"
        now = headers.get("date")
        return RateHeaders(
            limit_requests=count(values["requests-limit"]),
            remaining_requests=count(values["requests-remaining"]),
            reset_requests_s=_seconds_until(values["requests-reset"], now),
            limit_tokens=count(values[f"{kind}-limit"]),
            remaining_tokens=count(values[f"{kind}-remaining"]),
            reset_tokens_s=_seconds_until(values[f"{kind}-reset"], now),
        )


_RATES = [
    f"{kind}-{what}"
    for kind in ("requests", "tokens", "input-tokens")
    for what in ("limit", "remaining", "reset")
]


def _seconds_until(value: str | None, now: str | None) -> float | None:
    """Return the seconds from `now`, the header ``Date``, to `value` in RFC 3339; None if one is unknown."""
    if value is None or now is None:
        return None
    try:
        wait_s = (dt.datetime.fromisoformat(value) - email.utils.parsedate_to_datetime(now)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, wait_s) if wait_s <= _LONGEST_RESET_S else None


def _system(text: str, cache_control: Json) -> Json:
    """Return the system prompt. A cache that covered the prompt too would never be read again."""
    if cache_control is None:
        return encodable(text)
    return [{"type": "text", "text": encodable(text), "cache_control": cache_control}]


def _thinks(members: Mapping[str, Json]) -> bool:
    return member(members.get("thinking"), "type") not in (None, "disabled")


# ---- requests --------------------------------------------------------------------------------------------


def _file_part(file: AttachedFile) -> dict[str, Json]:
    source: Json = {"type": "base64", "media_type": file.type, "data": file.base64}
    return {"type": "document" if file.type == PDF else "image", "source": source}


# ---- answers ---------------------------------------------------------------------------------------------


def read_message(form: AnswerForm, document: dict[str, Json]) -> ParsedAnswer:
    """Read a message that answers a question of `form`. Never raises."""
    counts = read_usage(document.get("usage"))
    content, error = document.get("content"), document.get("error")
    if not isinstance(content, list) or error is not None:
        problem = AnswerProblem(f"the endpoint answered without content{f': {said(error)}' if error else ''}")
        is_completion = counts.input is not None or counts.output is not None
        return ParsedAnswer(problem, None, counts, is_completion, error=_report(error))
    reason = document.get("stop_reason")
    if reason == "refusal":
        details = document.get("stop_details")
        cause = member(details, "explanation") or member(details, "category")
        problem = AnswerProblem("the model refused" + (f": {said(cause)}" if cause else ""))
        return ParsedAnswer(problem, None, counts)
    text = _text(content)
    found = found_in(form, text, is_cut=reason == "max_tokens")
    is_full = reason == "model_context_window_exceeded"
    if is_full and (isinstance(found, AnswerProblem) or not form.fields):
        found = AnswerProblem(
            "the answer was cut off at the context window of the model: wanted a shorter one"
        )
    return ParsedAnswer(found, text, counts)


def read_usage(usage: Json) -> TokenCounts:
    """Read the member ``usage`` of a message, whose input does not contain what a cache served or stored."""
    found, output = tokens(member(usage, "input_tokens")), tokens(member(usage, "output_tokens"))
    cached = tokens(member(usage, "cache_read_input_tokens")) or 0
    written = tokens(member(usage, "cache_creation_input_tokens"))
    if written is None:
        parts = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
        written = sum(tokens(member(usage, "cache_creation", part)) or 0 for part in parts)
    reasoning = tokens(member(usage, "output_tokens_details", "thinking_tokens")) or 0
    hour = tokens(member(usage, "cache_creation", "ephemeral_1h_input_tokens")) or 0
    whole = None if found is None else found + cached + written
    return TokenCounts(whole, output, cached, written, reasoning, cache_write_hour=hour)


def _text(content: list[Json]) -> str:
    """Return the input of the tool that the model calls, or the text. Its thoughts are left out."""
    parts: list[str] = []
    for block in content:
        kind = member(block, "type")
        if kind == "tool_use":
            return said_json(member(block, "input"))
        text = member(block, "text")
        if kind == "text" and isinstance(text, str):
            parts.append(text)
    return "".join(parts)


def _report(error: Json) -> ErrorReport | None:
    """Return the report of an error under the status 200, None if it is no error of the API."""
    if not isinstance(error, dict):
        return None
    kind = error.get("type")
    return report_of(_STATUSES.get(kind, 500) if isinstance(kind, str) else 500, error)


# ---- streams ---------------------------------------------------------------------------------------------


class StreamedMessage(EventReader):
    """Assembles the message of one stream."""

    def __init__(self) -> None:
        super().__init__()
        self._has_content = False
        self._text = io.StringIO()
        self._tool: io.StringIO | None = None  # the input of the first tool that the model calls
        self._tool_index: Json = None
        self._stop: dict[str, Json] = {}
        self._usage: dict[str, Json] = {}

    def answer(self, form: AnswerForm) -> ParsedAnswer:
        """Read the message that the stream amounts to so far."""
        answer = read_message(form, self.document())
        # Text before an error is billed.
        return replace(answer, error=None) if self.streamed else answer

    def document(self) -> dict[str, Json]:
        """Return the message in the format of an answer that was not streamed."""
        document: dict[str, Json] = {"usage": self._usage, **self._stop}
        if self.has_failed:
            document["error"] = self.error
        elif self._tool is not None:
            document["content"] = [{"type": "tool_use", "input": _whole(self._tool.getvalue())}]
        elif self._has_content:
            document["content"] = [{"type": "text", "text": self._text.getvalue()}]
        return document

    def take(self, event: dict[str, Any]) -> None:
        """Process one event."""
        kind = event.get("type")
        if kind == "content_block_delta":
            self._add(event.get("index"), event.get("delta"))
        elif kind == "content_block_start":
            self._begin(event.get("index"), event.get("content_block"))
        elif kind == "message_start":
            self._has_content = True
            self._count(member(event, "message", "usage"), _COUNTS)
        elif kind == "message_delta":
            self._finish(event)
        elif kind == "message_stop":
            self.is_done = self.is_whole = True
        elif kind == "error":
            self.fail(event.get("error") or "the stream reported an error")
            self.is_done = True

    def _finish(self, event: Mapping[str, Json]) -> None:
        self._count(event.get("usage"), (*_COUNTS, *_OUTPUT_COUNTS))
        self.has_usage = "output_tokens" in self._usage
        reason = member(event, "delta", "stop_reason")
        if reason is not None:
            details = bounded(member(event, "delta", "stop_details"))
            self._stop = {"stop_reason": bounded(reason), "stop_details": details}
            self.is_whole = True

    def _count(self, usage: Json, names: tuple[str, ...]) -> None:
        """Note the counts of `names` so far: those of the last event that has them."""
        self._usage |= {name: bounded(value) for name in names if (value := member(usage, name)) is not None}

    def _begin(self, index: Json, block: Json) -> None:
        if not isinstance(block, dict):
            return
        self._has_content = True
        if block.get("type") == "tool_use" and self._tool is None:
            self._tool, self._tool_index = io.StringIO(), bounded(index)
        elif block.get("type") == "text":
            self._write(self._text, block.get("text"))

    def _add(self, index: Json, delta: Json) -> None:
        if not isinstance(delta, dict):
            return
        kind = delta.get("type")
        if kind == "text_delta":
            self._write(self._text, delta.get("text"))
        elif kind == "input_json_delta" and self._tool is not None and index == self._tool_index:
            self._write(self._tool, delta.get("partial_json"))
        elif kind == "thinking_delta":  # billed as output, but not part of the answer
            self._write(None, delta.get("thinking"))

    def _write(self, parts: io.StringIO | None, text: Json) -> None:
        if isinstance(text, str):
            self.streamed += len(text)
            if parts is not None:
                self._has_content = True
                parts.write(text)


def _whole(partial_json: str) -> Json:
    """Return the input of a tool: an object if its JSON is complete, else its text."""
    try:
        return orjson.loads(partial_json or "{}")
    except orjson.JSONDecodeError:
        return partial_json
