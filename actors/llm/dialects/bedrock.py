"""The dialect `bedrock`: Converse and ConverseStream of Amazon Bedrock.

An API key of Bedrock is a bearer token. Without one, the credentials of AWS sign each request. A model writes
JSON because of the format of the answer. If it does not know that, it has to call a tool whose input is the
answer, or is asked for JSON in words.
"""

from __future__ import annotations

import enum
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

import orjson
from msgspec import Struct
from msgspec.structs import replace

from actors.core.errors import FailureKind
from actors.core.messages.attempts import RateHeaders, Refusal
from actors.core.messages.calls import Correction
from actors.core.messages.values import Json, TokenCounts
from actors.llm.aws_credentials import AwsCredentials
from actors.llm.credentials import Credentials
from actors.llm.dialects.aws_event_stream import AwsEventStream, AwsFrame
from actors.llm.dialects.common import RESERVED, merged, renamed, stop_list
from actors.llm.dialects.dialect import Adaptation, Dialect, ParsedAnswer, PreparedForm
from actors.llm.dialects.reading import (
    all_reasoning,
    bounded,
    found_in,
    loaded,
    member,
    no_text,
    said,
    said_json,
    tokens,
)
from actors.llm.dialects.turns import correction_request, json_string
from actors.llm.endpoint import NATIVE, NO_KEY, TOOL, EndpointSettings
from actors.llm.forms import AnswerForm, AnswerProblem, Values
from actors.llm.requests.attachments import IMAGES, PDF, AttachedFile
from actors.llm.requests.schemas import strict_schema
from actors.llm.requests.vectors import PreparedVector, read_vector
from actors.llm.translate import ErrorReport, read_error

_NAMES = {"temperature": "temperature", "top_p": "topP"}
_EFFORT = "reasoning_effort"
# The members of a request. Other parameters belong to the model: additionalModelRequestFields.
_MEMBERS = frozenset(
    {
        *("inferenceConfig", "toolConfig", "guardrailConfig", "projectIdentifier", "promptVariables"),
        *("additionalModelRequestFields", "additionalModelResponseFieldPaths", "requestMetadata"),
        *("performanceConfig", "serviceTier", "outputConfig"),
    }
)
# Models that do not know the format of an answer, and those that can be made to call a tool. Sources: AWS's
# pages "Get validated JSON results from models" and "ToolChoice".
_NO_FORMAT = re.compile(
    r"anthropic\.claude-(v|instant|3|(opus|sonnet)-4-(0|1|2025))|(amazon|meta|cohere|ai21|writer)\."
)
_CALLS_TOOL = re.compile(r"anthropic\.claude-(?!v|instant)|amazon\.nova")
_REFUSES_FORMAT = re.compile(r"outputconfig(?!\.effort)|textformat|output_config\.format|structured output")

_FULL = "model_context_window_exceeded"
_CUT = frozenset({"max_tokens", _FULL})
_MAKES_VECTORS = re.compile(r"amazon\.titan-embed-text")
_ENDED = frozenset({"end_turn", "stop_sequence", "tool_use"})
_WITHHELD = frozenset({"guardrail_intervened", "content_filtered"})

_EVENTS = frozenset({"contentBlockDelta", "messageStop", "metadata"})  # the others say nothing that counts

# The statuses of exceptions within a stream, by the model of the service in botocore.
_STATUSES = {
    "internalServerException": 500,
    "modelStreamErrorException": 424,
    "modelTimeoutException": 408,
    "serviceUnavailableException": 503,
    "throttlingException": 429,
    "validationException": 400,
}
_OWN_FAULT = re.compile(
    r"too (long|large|many (input )?tokens)|exceed(s|ed|ing)? (the )?(context|maximum|model)|blank|empty"
)
_TOO_MANY_WANTED = "maximum tokens you requested"  # exceed the limit of the model: max_tokens is too high
_SAME_IN_ALL = re.compile(
    _TOO_MANY_WANTED
    + r"|model identifier|on-demand throughput|extraneous key|not supported|(doesn't|does not) support"
    r"|(inference|tool|output|guardrail)config|additionalmodelrequestfields|schema|max_?tokens|temperature"
)
_DAY_REMEDY = (
    "a quota of the day is used up, until AWS renews it: if the run has stopped, resume it then, or raise the"
    " quota in Service Quotas, or change model or base_url"
)
_REMEDIES = {
    "servicequotaexceededexception": (
        "a quota is used up: raise it in Service Quotas, or change model or base_url"
    ),
    "accessdeniedexception": (
        "the credentials may not use this model: check their policy, the access to models, api_key and model"
    ),
    "expiredtokenexception": "the credentials have expired: log in again, or check api_key",
    "invalidsignatureexception": (
        "AWS does not accept the signature: check the clock of this machine, the secret key and the region in"
        " base_url"
    ),
    "unrecognizedclientexception": "AWS does not know the credentials: check them, or api_key",
}


class _JsonMeans(enum.Enum):
    """The ways to make a model answer with JSON. With words alone, more answers do not fit."""

    FORMAT = enum.auto()
    TOOL = enum.auto()
    WORDS = enum.auto()


class BedrockDialect(Dialect):
    """Amazon Bedrock's Converse."""

    attaches = IMAGES | {PDF}
    ways: ClassVar[tuple[str, ...]] = (NATIVE, TOOL)
    stream_type: ClassVar[str] = "application/vnd.amazon.eventstream"
    is_encoded: ClassVar[bool] = True  # a signature covers the path, with the id of the model encoded
    reserved: ClassVar[Mapping[str, str]] = {**RESERVED, "modelId": "set the model of the endpoint"}

    def __init__(self, settings: EndpointSettings) -> None:
        super().__init__(settings)
        has_key = settings.api_key.get_secret_value() != NO_KEY
        self._aws = None if has_key or settings.credentials else AwsCredentials(settings.base_url)

    @property
    def credentials(self) -> Credentials | None:
        """Those of AWS, unless there is an API key or another source of tokens."""
        return self._aws or super().credentials

    def url(self, *, stream: bool) -> str:
        """Return the URL of requests: the id of a model may be an ARN, with slashes and colons."""
        return self._at("converse-stream" if stream else "converse")

    def vectors_url(self) -> str | None:
        """Return the URL of embeddings of Titan. Other models have forms of their own."""
        return self._at("invoke") if _MAKES_VECTORS.search(self.settings.model) else None

    def _at(self, method: str) -> str:
        return f"{self.settings.base_url}/model/{quote(self.settings.model, safe='')}/{method}"

    def models_url(self) -> str | None:
        """Return None: the list of models has another host."""
        return None

    def prepare(self, form: AnswerForm) -> PreparedForm:
        """Prepare requests of `form`."""
        if form.vector:
            given = merged(self.settings.params, form.parameters)
            return PreparedVector.around(form, given, b'"inputText":')
        body: dict[str, Json] = {"inferenceConfig": {"maxTokens": form.max_tokens}}
        parameters = self.parameters(form)
        if form.fields:
            body |= self._structured(form, is_thinking=_thinks(parameters))
        return PreparedConverse.of(form, merged(body, parameters))

    def with_files(self, prepared: PreparedForm, files: Sequence[AttachedFile]) -> PreparedForm:
        """Return a form whose prompts follow these files."""
        parts = (_file_part(number, file) for number, file in enumerate(files, 1))
        found = b"".join(orjson.dumps(part) + b"," for part in parts)
        return replace(prepared, files=found) if isinstance(prepared, PreparedConverse) else prepared

    def parameters(self, form: AnswerForm) -> dict[str, Json]:
        """Return the parameters as members of a body; the model receives those that Converse lacks."""
        given = merged(self.settings.params, form.parameters)
        config = renamed(given, _NAMES)
        if "stop" in given:
            config["stopSequences"] = stop_list(given["stop"])
        found: dict[str, Json] = {"inferenceConfig": config} if config else {}
        if _EFFORT in given:
            found["outputConfig"] = {"effort": given[_EFFORT]}
        known = {*_NAMES, *_MEMBERS, "stop", _EFFORT}
        if fields := {name: value for name, value in given.items() if name not in known}:
            found["additionalModelRequestFields"] = fields
        return merged(found, {name: value for name, value in given.items() if name in _MEMBERS})

    def read(self, form: AnswerForm, body: bytes) -> ParsedAnswer:
        """Read an answer."""
        document = loaded(body)
        if isinstance(document, ParsedAnswer):
            return document
        if form.vector:
            return read_vector(form, document.get("embedding"), document.get("inputTextTokenCount"))
        return read_converse(form, document)

    def reader(self) -> StreamedConverse:
        """Return a reader of frames."""
        return StreamedConverse()

    def error(self, status: int, headers: Mapping[str, str], body: bytes, wall_now: float) -> ErrorReport:
        """Read an error, whose type is in a header."""
        kind = headers.get("x-amzn-errortype", "").partition(":")[0].rpartition("#")[2].strip().lower()
        report = read_error(status, headers, body, wall_now)
        return _classified(replace(report, codes=(kind, *report.codes)) if kind else report)

    def rate_headers(self, headers: Mapping[str, str]) -> RateHeaders | None:  # noqa: ARG002 - there are none
        """Return None: Bedrock reports no rates."""
        return None

    @property
    def sees_schema(self) -> bool:
        """Whether the model sees the schema: that of a tool, and Anthropic's models that of the format."""
        if self._means is _JsonMeans.FORMAT:
            return "anthropic." in self.settings.model
        return self._means is _JsonMeans.TOOL

    def adapted(self, report: ErrorReport) -> Adaptation | None:
        """Return the form without the format of an answer, for a model that does not know it."""
        is_refused = report.status == 400 and _REFUSES_FORMAT.search(report.text.lower())
        if self._means is not _JsonMeans.FORMAT or not is_refused:
            return None
        settings = self.settings.model_copy(update={"structured": TOOL})
        return Adaptation(type(self)(settings), "the format of an answer", "structured: tool")

    @property
    def _means(self) -> _JsonMeans:
        if self.settings.structured != TOOL and not _NO_FORMAT.search(self.settings.model):
            return _JsonMeans.FORMAT
        return _JsonMeans.TOOL if _CALLS_TOOL.search(self.settings.model) else _JsonMeans.WORDS

    def _structured(self, form: AnswerForm, *, is_thinking: bool) -> dict[str, Json]:
        """Return the members that make the model answer with JSON."""
        if self._means is _JsonMeans.WORDS:
            return {}
        if self._means is _JsonMeans.FORMAT:
            schema = orjson.dumps(strict_schema(form.schema)).decode()
            wanted = {"jsonSchema": {"schema": schema, "name": form.schema_name}}
            return {"outputConfig": {"textFormat": {"type": "json_schema", "structure": wanted}}}
        tool: Json = {"name": form.schema_name, "inputSchema": {"json": form.schema}}
        # A model that thinks cannot be made to call a tool.
        choice: Json = {"auto": {}} if is_thinking else {"tool": {"name": form.schema_name}}
        return {"toolConfig": {"tools": [{"toolSpec": tool}], "toolChoice": choice}}


def _thinks(parameters: Mapping[str, Json]) -> bool:
    thinking = member(parameters.get("additionalModelRequestFields"), "thinking", "type")
    return thinking not in (None, "disabled")


# ---- requests --------------------------------------------------------------------------------------------


class PreparedConverse(Struct, frozen=True):
    """The bytes of a request's body after the prompt."""

    form: AnswerForm
    tail: bytes
    files: bytes = b""  # their blocks, each with a comma after it

    @classmethod
    def of(cls, form: AnswerForm, members: Mapping[str, Json]) -> PreparedConverse:
        """Prepare `form` with these members in the body."""
        system = b""
        if form.instructions is not None:
            system = b',"system":[{"text":' + json_string(form.instructions) + b"}]"
        return cls(form, b"}]}]" + system + b"," + orjson.dumps(members)[1:])

    def body(self, prompt: str, correction: Correction | None, *, stream: bool = False) -> bytes:  # noqa: ARG002 - a stream has another URL
        """Return the body for `prompt`."""
        asked = b'{"messages":[{"role":"user","content":[' + self.files + b'{"text":' + json_string(prompt)
        if correction is None:
            return asked + self.tail
        # A message must not be blank, and two of the user must not follow each other.
        answer = b'},{"text":'
        if correction.answer.strip():
            answer = b'}]},{"role":"assistant","content":[{"text":' + json_string(correction.answer)
            answer += b'}]},{"role":"user","content":[{"text":'
        request = json_string(correction_request(self.form, correction.problem))
        return b"".join((asked, answer, request, self.tail))


def _file_part(number: int, file: AttachedFile) -> dict[str, Json]:
    source: Json = {"bytes": file.base64}
    if file.type == PDF:
        # The API rejects names with a dot or an underscore, and advises against those of users.
        return {"document": {"name": f"document {number}", "format": "pdf", "source": source}}
    return {"image": {"format": file.type.removeprefix("image/"), "source": source}}


# ---- answers ---------------------------------------------------------------------------------------------


def read_converse(form: AnswerForm, document: dict[str, Json]) -> ParsedAnswer:
    """Read an answer to a question of `form`. Never raises."""
    counts = read_token_usage(document.get("usage"))
    content = member(document, "output", "message", "content")
    if not isinstance(content, list):
        problem = AnswerProblem("the endpoint answered without a message")
        return ParsedAnswer(problem, None, counts, is_completion=counts.is_complete)
    return ParsedAnswer(*_read_content(form, content, document.get("stopReason")), counts)


def read_token_usage(usage: Json) -> TokenCounts:
    """Read the member ``usage``, whose input does not contain what a cache served or stored."""
    found, output = tokens(member(usage, "inputTokens")), tokens(member(usage, "outputTokens"))
    cached = tokens(member(usage, "cacheReadInputTokens")) or 0
    written = tokens(member(usage, "cacheWriteInputTokens")) or 0
    details = member(usage, "cacheDetails")
    of_hours = [one for one in details if member(one, "ttl") == "1h"] if isinstance(details, list) else []
    hour = sum(tokens(member(one, "inputTokens")) or 0 for one in of_hours)
    whole = None if found is None else found + cached + written
    return TokenCounts(whole, output, cached, written, cache_write_hour=hour)


def _read_content(
    form: AnswerForm, content: list[Json], reason: Json
) -> tuple[Values | AnswerProblem, str | None]:
    """Return the values or the problem of an answer, and its text if there is any."""
    reason = reason if isinstance(reason, str) else None
    if reason in _WITHHELD:
        return AnswerProblem(f"the endpoint withheld the answer: {reason}"), None
    if reason is not None and reason not in _ENDED and reason not in _CUT:
        return AnswerProblem(f"the model failed to answer: {said(reason)}"), None
    text = _text(content)
    if text is None and reason in _CUT and reason != _FULL:
        return all_reasoning(form), None
    if text is None:
        return no_text(None, reason), None
    found = found_in(form, text, is_cut=reason in _CUT)
    if reason == _FULL and isinstance(found, AnswerProblem):
        return AnswerProblem("the answer was cut off at the context window of the model"), text
    return found, text


def _text(content: list[Json]) -> str | None:
    """Return the input of the first tool that the model calls, or the text; None if there is neither."""
    texts = []
    for block in content:
        call = member(block, "toolUse")
        if isinstance(call, dict) and "input" in call:
            return said_json(call["input"])
        text = member(block, "text")
        if isinstance(text, str):
            texts.append(text)
    return "".join(texts) if texts else None


# ---- streams ---------------------------------------------------------------------------------------------


class StreamedConverse:
    """Assembles the answer of one stream. See `StreamReader` for the contract."""

    def __init__(self) -> None:
        self.streamed = 0
        self.is_done = False
        self.is_whole = False
        self.has_usage = False
        self._frames = AwsEventStream()
        self._text: io.StringIO | None = None
        self._tool: io.StringIO | None = None  # the input of the first tool that the model calls
        self._tool_block: Json = None
        self._document: dict[str, Json] = {}
        self._problem = ""
        self._error: ErrorReport | None = None

    @property
    def size(self) -> int:
        """The approximate number of bytes kept."""
        return self.streamed + self._frames.held

    @property
    def has_failed(self) -> bool:
        """Whether the stream contains an error."""
        return bool(self._problem)

    def feed(self, piece: bytes) -> None:
        """Process the next bytes."""
        for frame in self._frames.feed(piece):
            self._take(frame)
        if self._frames.damage and not self._problem:
            self._problem = self._frames.damage

    def close(self) -> None:
        """Process the end of the stream."""

    def answer(self, form: AnswerForm) -> ParsedAnswer:
        """Read the answer that the stream amounts to so far."""
        if self._problem:
            # The text before an error may be billed.
            error = None if self.streamed else self._error
            return ParsedAnswer(AnswerProblem(self._problem), is_completion=False, error=error)
        content: list[Json] = [] if self._text is None else [{"text": self._text.getvalue()}]
        if self._tool is not None:
            content.append({"toolUse": {"input": self._tool.getvalue()}})
        return read_converse(form, {**self._document, "output": {"message": {"content": content}}})

    def _take(self, frame: AwsFrame) -> None:
        kind = frame.headers.get(":message-type")
        if kind != "event":
            self._fail(frame, kind)
            return
        name = frame.headers.get(":event-type")
        if name not in _EVENTS:
            return
        try:
            event = orjson.loads(frame.payload)
        except orjson.JSONDecodeError:
            self._problem = self._problem or "an event of the stream is not JSON"
            return
        match name, event:
            case "contentBlockDelta", {"delta": dict(delta)}:
                self._add(event.get("contentBlockIndex"), delta)
            case "messageStop", {"stopReason": reason}:
                self._document["stopReason"] = bounded(reason)
                self.is_whole = True
            case "metadata", {"usage": dict(usage)}:
                self._document["usage"] = bounded(usage)
                self.has_usage = True
        self.is_done = self.is_whole and self.has_usage

    def _add(self, block: Json, delta: dict[str, Any]) -> None:
        text, call = delta.get("text"), member(delta, "toolUse", "input")
        if isinstance(text, str):
            self._text = self._text or io.StringIO()
            self.streamed += self._text.write(text)
        if isinstance(call, str):
            if self._tool is None:
                self._tool, self._tool_block = io.StringIO(), bounded(block)
            self.streamed += self._tool.write(call) if block == self._tool_block else len(call)
        thought = member(delta, "reasoningContent", "text")  # billed as output, but not part of the answer
        self.streamed += len(thought) if isinstance(thought, str) else 0

    def _fail(self, frame: AwsFrame, kind: str | None) -> None:
        if self._problem:
            return
        name = frame.headers.get(":exception-type") or frame.headers.get(":error-code") or str(kind)
        text = frame.headers.get(":error-message")
        report = read_error(_STATUSES.get(name, 500), {}, frame.payload, 0.0)
        report = replace(report, text=text or report.text, codes=(name.lower(), *report.codes))
        self._error = _classified(report)
        self._problem = f"the stream ended with an error, {said(name)}: {said(report.text)}"


# ---- errors ----------------------------------------------------------------------------------------------


def _classified(report: ErrorReport) -> ErrorReport:
    """Return `report` with what its type, the first of its codes, says."""
    kind, text = (report.codes or ("",))[0], report.text.lower()
    if kind in _REMEDIES:
        return replace(report, kind=FailureKind.MISCONFIGURED, remedy=_REMEDIES[kind])
    if kind == "modelnotreadyexception":
        return replace(report, refusal=Refusal.OVERLOADED)
    if report.status == 429:
        return _throttled(report, text)
    if report.status == 400:
        is_own = _OWN_FAULT.search(text) and _TOO_MANY_WANTED not in text
        is_ours = not is_own and _SAME_IN_ALL.search(text)
        return replace(report, kind=FailureKind.MISCONFIGURED) if is_ours else report
    if report.status == 424:  # the model failed
        return replace(report, kind=FailureKind.TRANSIENT)
    return report


def _throttled(report: ErrorReport, text: str) -> ErrorReport:
    if "per day" in text:
        # As a refusal the calls would wait for hours: see `gemini`.
        return replace(report, kind=FailureKind.MISCONFIGURED, remedy=_DAY_REMEDY)
    refusal = Refusal.TOKENS if "token" in text else Refusal.REQUESTS if "request" in text else None
    return replace(report, refusal=refusal)
