"""The dialect `responses`: OpenAI's Responses API, the only one of some models.

Answers are not stored by the provider unless `params` say so. A stream ends with the whole response, so that
its deltas only show how far it is.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson
from msgspec.structs import replace

from actors.core.errors import FailureKind
from actors.core.messages.values import Json, TokenCounts
from actors.llm.dialects.common import RESERVED, merged
from actors.llm.dialects.dialect import Dialect, ParsedAnswer, PreparedForm
from actors.llm.dialects.event_reader import EventReader
from actors.llm.dialects.reading import (
    bounded,
    found_in,
    loaded,
    member,
    no_text,
    said,
    tokens,
)
from actors.llm.dialects.turns import USER, PreparedTurns, encodable
from actors.llm.forms import AnswerForm, AnswerProblem, Values
from actors.llm.requests.attachments import IMAGES, PDF, AttachedFile
from actors.llm.translate import ErrorReport, report_of

_PATH = "/responses"
_KEPT = ("status", "error", "usage", "incomplete_details")  # of the response at the end of a stream
_ENDED = frozenset({"response.completed", "response.incomplete", "response.failed"})

# The statuses that codes of failed responses amount to. Other codes, such as invalid_prompt and bio_policy,
# name what is wrong with one question.
_STATUSES = {"server_error": 500, "rate_limit_exceeded": 429, "vector_store_timeout": 504}
_OWN_STATUS = 400


class ResponsesDialect(Dialect):
    """OpenAI's Responses API. `base_url` may end with ``/responses``."""

    attaches = IMAGES | {PDF}
    reserved: ClassVar[Mapping[str, str]] = {
        **RESERVED,
        "input": "use prompt",
        "instructions": "use system",
        "background": "Headrace waits for each answer",
    }
    unsupported: ClassVar[Mapping[str, str]] = dict.fromkeys(("seed", "stop", "stop_sequences"), "remove it")

    def url(self, *, stream: bool) -> str:  # noqa: ARG002 - streams have the same URL
        """Return the URL of requests."""
        return self._base_url + _PATH

    def models_url(self) -> str | None:
        """Return the URL of the list of models."""
        return self._base_url + "/models"

    @property
    def _base_url(self) -> str:
        return self.settings.base_url.removesuffix(_PATH)

    def parameters(self, form: AnswerForm) -> dict[str, Json]:
        """Return the parameters by the names of this API."""
        given = merged(self.settings.params, form.parameters)
        effort = given.pop("reasoning_effort", None)
        return given if effort is None else merged({"reasoning": {"effort": effort}}, given)

    def prepare(self, form: AnswerForm) -> PreparedTurns:
        """Prepare requests of `form`."""
        members: dict[str, Json] = {"store": False, **self.parameters(form)}
        members |= {"model": self.settings.model, "max_output_tokens": form.max_tokens}
        if form.instructions is not None:
            members["instructions"] = encodable(form.instructions)
        if form.fields:
            name, schema = form.schema_name, form.schema
            wanted = {"type": "json_schema", "name": name, "schema": schema, "strict": True}
            members = merged(members, {"text": {"format": wanted}})
        return PreparedTurns(form, orjson.dumps(members)[:-1] + b',"input":[' + USER)

    def with_files(self, prepared: PreparedForm, files: Sequence[AttachedFile]) -> PreparedForm:
        """Return a form whose prompts follow these files."""
        if not isinstance(prepared, PreparedTurns):
            return prepared
        return prepared.with_parts([_file_part(file) for file in files], "input_text")

    def read(self, form: AnswerForm, body: bytes) -> ParsedAnswer:
        """Read a response."""
        document = loaded(body)
        return document if isinstance(document, ParsedAnswer) else read_response(form, document)

    def reader(self) -> StreamedResponse:
        """Return a reader of events."""
        return StreamedResponse()


# ---- requests --------------------------------------------------------------------------------------------


def _file_part(file: AttachedFile) -> dict[str, Json]:
    url = f"data:{file.type};base64,{file.base64}"
    if file.type == PDF:
        return {"type": "input_file", "filename": file.name, "file_data": url}
    return {"type": "input_image", "image_url": url, "detail": "auto"}


# ---- answers ---------------------------------------------------------------------------------------------


def read_response(form: AnswerForm, document: dict[str, Json]) -> ParsedAnswer:
    """Read a response to a question of `form`. Never raises."""
    counts, error, output = read_usage(document.get("usage")), document.get("error"), document.get("output")
    if error is not None or document.get("status") == "failed":
        problem = AnswerProblem(f"the response failed: {said(error)}")
        return ParsedAnswer(problem, None, counts, error=None if counts.output else _report(error))
    if not isinstance(output, list):
        is_completion = counts.input is not None or counts.output is not None
        return ParsedAnswer(
            AnswerProblem("the endpoint answered without output"), None, counts, is_completion
        )
    found, content = _read_output(form, output, member(document, "incomplete_details", "reason"))
    return ParsedAnswer(found, content, counts)


def read_usage(usage: Json) -> TokenCounts:
    """Read the member ``usage`` of a response."""
    return TokenCounts(
        tokens(member(usage, "input_tokens")),
        tokens(member(usage, "output_tokens")),
        tokens(member(usage, "input_tokens_details", "cached_tokens")) or 0,
        tokens(member(usage, "input_tokens_details", "cache_write_tokens")) or 0,
        tokens(member(usage, "output_tokens_details", "reasoning_tokens")) or 0,
    )


def _read_output(
    form: AnswerForm, output: list[Json], incomplete: Json
) -> tuple[Values | AnswerProblem, str | None]:
    """Return the values or the problem, and the text. `incomplete`: why the response is not complete."""
    if incomplete == "content_filter":
        return AnswerProblem("the endpoint's content filter withheld the answer"), None
    refusal, content = _said_in(output)
    if refusal is not None:
        return AnswerProblem(f"the model refused: {refusal}"), None
    is_cut = incomplete == "max_output_tokens"
    if content is None and not is_cut:
        return no_text(None, incomplete), None
    return found_in(form, content or "", is_cut=is_cut), content or ""


def _said_in(output: list[Json]) -> tuple[str | None, str | None]:
    """Return the refusal of the model and its text, each None if there is none."""
    texts: list[str] = []
    for part in _parts(output):
        if part.get("type") == "refusal":
            return said(part.get("refusal")), None
        text = part.get("text")
        if part.get("type") == "output_text" and isinstance(text, str):
            texts.append(text)
    return None, "".join(texts) if texts else None


def _parts(output: list[Json]) -> list[dict[str, Json]]:
    """Return the parts of the final messages: what a model says while it works is no part of its answer."""
    messages = [
        item
        for item in output
        if isinstance(item, dict) and item.get("type") == "message" and item.get("phase") != "commentary"
    ]
    contents = [message.get("content") for message in messages]
    return [
        part
        for content in contents
        if isinstance(content, list)
        for part in content
        if isinstance(part, dict)
    ]


def _report(error: Json) -> ErrorReport:
    """Return the report of the error of a failed response: all of them have the status 200."""
    if not isinstance(error, dict):
        return ErrorReport(500, "" if error is None else said(error))
    code = error.get("code")
    if not isinstance(code, str):
        return report_of(500, error)
    status = _STATUSES.get(code, _OWN_STATUS)
    report = report_of(status, error)
    return replace(report, kind=FailureKind.PERMANENT) if status == _OWN_STATUS else report


# ---- streams ---------------------------------------------------------------------------------------------


class StreamedResponse(EventReader):
    """Reads the response at the end of one stream."""

    def __init__(self) -> None:
        super().__init__()
        self._text = io.StringIO()
        self._refusal = io.StringIO()
        self._response: dict[str, Json] | None = None  # only the members that are read
        self._response_size = self._dropped = 0

    @property
    def size(self) -> int:
        """The approximate number of bytes kept."""
        # The deltas are not kept beside the response.
        return super().size - self._dropped + self._response_size

    def answer(self, form: AnswerForm) -> ParsedAnswer:
        """Read the response that the stream amounts to so far."""
        answer = read_response(form, self.document())
        # Text before an error is billed.
        return replace(answer, error=None) if self.streamed else answer

    def document(self) -> dict[str, Json]:
        """Return the response, or as much of it as there is if the stream has broken off."""
        if self._response is not None:
            return self._response
        if self.has_failed:
            return {"error": self.error}
        refusal, text = self._refusal.getvalue() or None, self._text.getvalue() or None
        return {} if refusal is text is None else {"output": _output(refusal, text)}

    def take(self, event: dict[str, Any]) -> None:
        """Process one event."""
        kind = event.get("type")
        if kind == "response.output_text.delta":
            self._write(self._text, event.get("delta"))
        elif kind == "response.refusal.delta":
            self._write(self._refusal, event.get("delta"))
        elif kind in ("response.reasoning_text.delta", "response.reasoning_summary_text.delta"):
            self._write(None, event.get("delta"))  # billed as output, but not part of the answer
        elif kind == "error":
            self.fail(_of_event(event))
            self.is_done = True
        elif isinstance(kind, str) and kind in _ENDED and isinstance(event.get("response"), dict):
            self._end(event["response"])

    def _write(self, parts: io.StringIO | None, text: Json) -> None:
        if isinstance(text, str):
            self.streamed += len(text)
            if parts is not None:
                parts.write(text)

    def _end(self, response: dict[str, Json]) -> None:
        self._response = {name: bounded(response.get(name)) for name in _KEPT}
        self._response_size, self._dropped = 0, self.streamed
        if isinstance(output := response.get("output"), list):
            refusal, text = _said_in(output)
            self._response["output"] = _output(refusal, text)
            self._response_size = len(refusal or text or "")
        self._text, self._refusal = io.StringIO(), io.StringIO()
        self.has_usage = isinstance(response.get("usage"), dict)
        self.is_done = self.is_whole = True
        if response.get("status") == "failed":
            self.fail(response.get("error") or "the response failed")


def _output(refusal: str | None, text: str | None) -> Json:
    """Return the output of a response that says this."""
    parts: list[Json] = [] if text is None else [{"type": "output_text", "text": text}]
    if refusal is not None:
        parts.append({"type": "refusal", "refusal": refusal})
    return [{"type": "message", "content": parts}]


def _of_event(event: Mapping[str, Json]) -> Json:
    """Return the error of an event: its members are those of an error, or it contains one."""
    error = event.get("error")
    return (
        error if isinstance(error, dict) else {name: event.get(name) for name in ("code", "message", "param")}
    )
