"""The dialect `chat`: OpenAI's chat completions, which most endpoints speak.

The bytes that are the same in all requests of a form (model, bounds, schema) are built once. Each call only
adds its prompt. A streamed answer is assembled and then read like any other one, so a call has the same
result whether or not it was streamed.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson
from msgspec.structs import replace
from yarl import URL

from actors.core.errors import FailureKind
from actors.core.messages.values import Json, TokenCounts
from actors.llm.dialects.common import RESERVED
from actors.llm.dialects.dialect import Adaptation, Dialect, ParsedAnswer, PreparedForm
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
from actors.llm.dialects.turns import USER, PreparedTurns, json_string
from actors.llm.endpoint import JSON, MAX_COMPLETION_TOKENS, MAX_TOKENS, NATIVE, EndpointSettings
from actors.llm.forms import AnswerForm, AnswerProblem, Values
from actors.llm.requests import ranking, vectors
from actors.llm.requests.attachments import IMAGES, PDF, AttachedFile
from actors.llm.translate import ErrorReport, report_of

PATH = "/chat/completions"
_SEED = "seed"
_STREAMED = b',"stream":true,"stream_options":{"include_usage":true}}'
_ANY_JSON = b'{"type":"json_object"}'
_INVALID = frozenset({400, 422})
_UNSUPPORTED = "unsupported_parameter"
_NO_FIT = frozenset({"json_validate_failed"})  # of Groq: the answer does not fit the schema
_NO_FORMAT = re.compile(  # of Groq, OpenAI and DeepSeek, for models that know no schema
    r"(response[ _.]format|json_schema).{0,80}(not support|unsupported|unavailable|not available)"
    r"|(not support|unsupported|unavailable).{0,80}(response[ _.]format|json_schema)"
)
_CUT = frozenset({"length", "model_length"})  # model_length, of Mistral: the context of the model is full
_ERROR = "error"
_ERRORS = (400, 599)
_GROQ = "x_groq"
# Providers that show the schema to the model and bill it as input. Others, such as Fireworks, vLLM, llama.cpp
# and Ollama, document that they only restrict the answer by it.
_SHOWS_SCHEMA = ("api.openai.com", "openai.azure.com", "generativelanguage.googleapis.com")


class ChatDialect(Dialect):
    """OpenAI's chat completions. `base_url` may end with ``/chat/completions``."""

    attaches = IMAGES | {PDF}
    ways: ClassVar[tuple[str, ...]] = (NATIVE, JSON)
    reserved: ClassVar[Mapping[str, str]] = RESERVED
    unsupported: ClassVar[Mapping[str, str]] = {"stop_sequences": "use stop"}

    def url(self, *, stream: bool) -> str:  # noqa: ARG002 - streams have the same URL
        """Return the URL of requests."""
        return self._base_url + PATH

    def vectors_url(self) -> str | None:
        """Return the URL of embeddings, which is next to that of requests."""
        return self._base_url + vectors.PATH

    def ranking_url(self) -> str | None:
        """Return the URL of rankings, which is next to that of requests."""
        return self._base_url + ranking.PATH

    def models_url(self) -> str | None:
        """Return the URL of the list of models, which is next to that of requests."""
        return self._base_url + "/models"

    @property
    def sees_schema(self) -> bool:
        """Whether requests carry a schema, and the provider is known to show it to the model."""
        host = "." + (URL(self._base_url).host or "")
        is_shown = host.endswith(tuple(f".{name}" for name in _SHOWS_SCHEMA))
        return is_shown and self.settings.structured != JSON

    @property
    def _base_url(self) -> str:
        return self.settings.base_url.removesuffix(PATH)

    def prepare(self, form: AnswerForm) -> PreparedForm:
        """Prepare requests of `form`."""
        if form.vector:
            names = {str(name): given for name, given in self.settings.vectors_as.items()}
            return vectors.PreparedVector.of(form, self.settings.model, self.parameters(form), names)
        if form.ranking:
            return ranking.PreparedRanking.of(form, self.settings.model, self.parameters(form))
        return _prepared(form, self.settings, self.parameters(form))

    def parameters(self, form: AnswerForm) -> dict[str, Json]:
        """Return the parameters, with the name that the endpoint has for `seed`."""
        found, name = super().parameters(form), self.settings.seed_as
        return {name if each == _SEED else each: value for each, value in found.items()}

    def adapted(self, report: ErrorReport) -> Adaptation | None:
        """Return the form for a model that refuses ``max_tokens``, or the format of an answer."""
        if self._refuses_format(report):
            # Endpoints accept JSON without a schema only if the prompt speaks of JSON.
            settings = self.settings.model_copy(update={"structured": JSON, "describe_output": True})
            return Adaptation(type(self)(settings), "the format of an answer", f"structured: {JSON}")
        is_refused = report.status in _INVALID and report.param == MAX_TOKENS
        if not is_refused or self.settings.max_tokens_as != MAX_TOKENS:
            return None
        if _UNSUPPORTED not in report.codes and MAX_COMPLETION_TOKENS not in report.text:
            return None  # the number is too large
        settings = self.settings.model_copy(update={"max_tokens_as": MAX_COMPLETION_TOKENS})
        return Adaptation(type(self)(settings), MAX_TOKENS, f"max_tokens_as: {MAX_COMPLETION_TOKENS}")

    def _refuses_format(self, report: ErrorReport) -> bool:
        if report.status not in _INVALID or self.settings.structured == JSON:
            return False
        return _NO_FORMAT.search(report.text.lower()) is not None

    def error(self, status: int, headers: Mapping[str, str], body: bytes, wall_now: float) -> ErrorReport:
        """Read an error. Another answer to the same question may fit."""
        report = super().error(status, headers, body, wall_now)
        return replace(report, kind=FailureKind.TRANSIENT) if _NO_FIT & {*report.codes} else report

    def with_files(self, prepared: PreparedForm, files: Sequence[AttachedFile]) -> PreparedForm:
        """Return a form whose prompts follow these files."""
        if not isinstance(prepared, PreparedTurns):
            return prepared
        return prepared.with_parts([_file_part(file) for file in files], "text")

    def read(self, form: AnswerForm, body: bytes) -> ParsedAnswer:
        """Read a completion."""
        document = loaded(body)
        if isinstance(document, ParsedAnswer):
            return document
        if form.vector:
            return vectors.read_embedding(form, document)
        if form.ranking:
            return ranking.read_ranking(form, document)
        answer = read_completion(form, document)
        is_empty = answer.tokens.input is None and answer.tokens.output is None
        if not document.get("choices") and is_empty:
            return replace(answer, is_completion=False)
        return answer

    def reader(self) -> StreamedCompletion:
        """Return a reader of chunks."""
        return StreamedCompletion()


# ---- requests --------------------------------------------------------------------------------------------


def _prepared(form: AnswerForm, settings: EndpointSettings, parameters: Mapping[str, Json]) -> PreparedTurns:
    """Prepare `form` for requests with these members in the body."""
    system = b""
    if form.instructions is not None:
        role = json_string(settings.system_as)
        system = b'{"role":' + role + b',"content":' + json_string(form.instructions) + b"},"
    head = b'{"model":' + json_string(settings.model) + b',"messages":[' + system + USER
    tail = b"}]"
    # The models that know max_completion_tokens reject max_tokens beside it.
    if MAX_COMPLETION_TOKENS not in parameters:
        tail += b',"%s":%d' % (settings.max_tokens_as.encode(), form.max_tokens)
    if form.response_format is not None:
        is_plain = settings.structured == JSON
        tail += b',"response_format":' + (_ANY_JSON if is_plain else form.response_format)
    if parameters:
        tail += b"," + orjson.dumps(parameters)[1:-1]
    return PreparedTurns(form, head, tail + b"}", _STREAMED)


def _file_part(file: AttachedFile) -> dict[str, Json]:
    url = f"data:{file.type};base64,{file.base64}"
    if file.type == PDF:
        return {"type": "file", "file": {"filename": file.name, "file_data": url}}
    return {"type": "image_url", "image_url": {"url": url}}


# ---- answers ---------------------------------------------------------------------------------------------


def read_completion(form: AnswerForm, document: dict[str, Json]) -> ParsedAnswer:
    """Read a completion that answers a question of `form`. Never raises."""
    found, content = _read_choice(form, document)
    counts = read_usage(document.get("usage"))
    error = None if counts.output else _late_error(document)
    return ParsedAnswer(found, content, counts, error=error)


def _late_error(document: dict[str, Json]) -> ErrorReport | None:
    """Return the error that is reported with status 200 in place of an answer, as OpenRouter does."""
    error = document.get("error")
    match document.get("choices"):
        case [{"error": dict(inner)}, *_] if not error:
            error = inner
    if not isinstance(error, dict):
        return None
    code = error.get("code")
    status = int(code) if isinstance(code, str) and code.isascii() and code.isdigit() else code
    if type(status) is not int or not _ERRORS[0] <= status <= _ERRORS[1]:
        return None
    return report_of(status, error)


def read_usage(usage: Json) -> TokenCounts:
    """Read the member ``usage`` of a completion."""
    return TokenCounts(
        tokens(member(usage, "prompt_tokens")),
        tokens(member(usage, "completion_tokens")),
        tokens(member(usage, "prompt_tokens_details", "cached_tokens")) or 0,
        tokens(member(usage, "prompt_tokens_details", "cache_write_tokens")) or 0,
        tokens(member(usage, "completion_tokens_details", "reasoning_tokens"))
        or tokens(member(usage, "reasoning_tokens"))  # of SGLang
        or 0,
    )


def _read_choice(form: AnswerForm, document: dict[str, Json]) -> tuple[Values | AnswerProblem, str | None]:
    """Return the values or the problem of the first choice, and its content if there is any."""
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if choice is None or not isinstance(message, dict):
        error = document.get("error")
        cause = f": {said(error)}" if error else ""
        return AnswerProblem(f"the endpoint answered without choices{cause}"), None
    reason = choice.get("finish_reason")
    if not isinstance(reason, str):
        reason = None
    if reason == "content_filter":
        return AnswerProblem("the endpoint's content filter withheld the answer"), None
    if message.get("refusal"):
        return AnswerProblem(f"the model refused: {said(message['refusal'])}"), None
    content = message.get("content")
    if content is None and reason in _CUT:
        content = ""
    if not isinstance(content, str):
        return no_text(content, reason), None
    if reason == _ERROR:
        return AnswerProblem("the endpoint ended the answer with an error"), None
    return found_in(form, content, is_cut=reason in _CUT), content


# ---- streams ---------------------------------------------------------------------------------------------


class StreamedCompletion(EventReader):
    """Assembles the completion of one stream."""

    end: ClassVar[bytes | None] = b"[DONE]"

    def __init__(self) -> None:
        super().__init__()
        self._usage: Json = None
        # A list of parts would take sixty bytes per character if each arrives in its own chunk.
        self._message: dict[str, io.StringIO] = {}
        self._finish_reason: Json = None
        self._has_choice = False

    def answer(self, form: AnswerForm) -> ParsedAnswer:
        """Read the completion that the stream amounts to so far."""
        answer = read_completion(form, self.document())
        # Text before an error is billed.
        return replace(answer, error=None) if self.streamed else answer

    def document(self) -> dict[str, Json]:
        """Return the completion in the format of an answer that was not streamed."""
        document: dict[str, Json] = {} if self._usage is None else {"usage": self._usage}
        # An error in the stream is the result, whatever was written before it.
        if self.has_failed:
            document["error"] = self.error
        elif self._has_choice:
            message = {name: parts.getvalue() for name, parts in self._message.items()}
            document["choices"] = [{"message": message, "finish_reason": self._finish_reason}]
        return document

    def take(self, event: dict[str, Any]) -> None:
        """Process one chunk."""
        if error := event.get("error"):
            self.fail(error)
        usage = event.get("usage")
        if isinstance(extra := event.get(_GROQ), dict):  # Groq reports usage and errors of a stream there
            usage = usage or extra.get("usage")
            if error := extra.get("error"):
                self.fail(error)
        if isinstance(usage, dict):  # some endpoints report it in every chunk: the last one counts
            self._usage = bounded(usage)
            self.has_usage = True
        match event.get("choices"):
            case [dict(choice), *_]:
                self._take_choice(choice)

    def _take_choice(self, choice: dict[str, Any]) -> None:
        self._has_choice = True
        if error := choice.get("error"):
            self.fail(error)
        if choice.get("finish_reason") is not None:
            self._finish_reason = bounded(choice["finish_reason"])
            self.is_whole = True
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return
        for name in ("content", "refusal"):
            text = delta.get(name)
            if isinstance(text, str):
                self._message.setdefault(name, io.StringIO()).write(text)
                self.streamed += len(text)
        for name in ("reasoning_content", "reasoning"):  # billed as output, but not part of the answer
            text = delta.get(name)
            if isinstance(text, str):
                self.streamed += len(text)
