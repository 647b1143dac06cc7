"""The dialect `gemini`: generateContent of Google's Gemini API and of Vertex AI.

``base_url`` ends with the version, or on Vertex AI with the project and the location, whose requests carry a
token in place of an API key. An answer has no mark of its end: a stream is whole once it has a reason to end.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

import orjson
from msgspec import Struct
from msgspec.structs import replace

from actors.core.errors import FailureKind
from actors.core.limits.retry import LONGEST_RETRY_AFTER_S
from actors.core.messages.attempts import Refusal
from actors.core.messages.calls import Correction
from actors.core.messages.values import Json, TokenCounts
from actors.llm.dialects.common import RESERVED, merged, renamed, stop_list
from actors.llm.dialects.dialect import Dialect, ParsedAnswer, PreparedForm
from actors.llm.dialects.event_reader import EventReader
from actors.llm.dialects.reading import (
    all_reasoning,
    bounded,
    found_in,
    loaded,
    member,
    no_text,
    said,
    tokens,
)
from actors.llm.dialects.turns import correction_request, json_string
from actors.llm.fields import object_schema
from actors.llm.forms import AnswerForm, AnswerProblem, Values
from actors.llm.requests.attachments import IMAGES, PDF, AttachedFile
from actors.llm.requests.vectors import PreparedVector, read_vector
from actors.llm.translate import ErrorReport, duration_s, error_object, read_error

_PROJECT = "/projects/"  # in a URL of Vertex AI
_NAMES = {"temperature": "temperature", "top_p": "topP", "top_k": "topK", "seed": "seed"}
_COMMON = frozenset({*_NAMES, "stop", "reasoning_effort"})

# Models up to 2.5 have a budget of thoughts in tokens, later ones a level. The budgets are those that the
# guide "OpenAI compatibility" gives for the same efforts.
_HAS_BUDGET = re.compile(r"(.*/)?gemini-(1|2)\b")
_BUDGETS: Mapping[str, Json] = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
_LEVELS: Mapping[str, Json] = {
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "XHIGH",
}

_CUT = frozenset({"MAX_TOKENS", "CONTINUATION"})
_BLOCKED = re.compile(
    r"SAFETY|RECITATION|LANGUAGE|BLOCKLIST|PROHIBITED_CONTENT|SPII|ESCALATION|MODEL_ARMOR|PUP_.*|.*IMAGE.*"
)
# The error of an invalid request names the wrong part. These parts are the same in all requests of a form.
_SAME_IN_ALL = re.compile(
    r"unknown name|generation_?config|response_?(json_?)?schema|thinking_?(budget|level|config)"
    r"|max_?output_?tokens|safety_?settings|cached_?content"
)
_CONDITION_REMEDY = "the account must meet a condition, such as billing or a region: check api_key and model"
_DAY_REMEDY = (
    "a quota of the day is used up, and the provider renews it at midnight Pacific Time: if the run has"
    " stopped, resume it then, or raise the quota, or change api_key or model"
)


class GeminiDialect(Dialect):
    """Google's generateContent."""

    attaches = (IMAGES - {"image/gif"}) | {PDF}
    reserved: ClassVar[Mapping[str, str]] = {
        **RESERVED,
        "contents": "use prompt",
        "systemInstruction": "use system",
        "system_instruction": "use system",
    }
    unsupported: ClassVar[Mapping[str, str]] = {"stop_sequences": "use stop"}

    def url(self, *, stream: bool) -> str:
        """Return the URL of requests. A model whose name has a slash is a path, as of a tuned model."""
        return self._at("streamGenerateContent?alt=sse" if stream else "generateContent")

    def vectors_url(self) -> str | None:
        """Return the URL of embeddings. A project has another method for models that are not Gemini's."""
        return self._at("predict" if self._predicts else "embedContent")

    def _at(self, method: str) -> str:
        base, model = self.settings.base_url, quote(self.settings.model, safe="/@:")
        if "/" not in model:
            model = f"models/{model}"
            if self._is_project and "/publishers/" not in base:
                model = f"publishers/google/{model}"
        return f"{base}/{model}:{method}"

    def models_url(self) -> str | None:
        """Return the URL of the list of models. A project has none."""
        return None if self._is_project else self.settings.base_url + "/models?pageSize=1000"

    def key_header(self, key: str) -> tuple[str, str]:
        """Return the header of an API key, or of a token for a project of Vertex AI."""
        return super().key_header(key) if self._is_project else ("x-goog-api-key", key)

    def prepare(self, form: AnswerForm) -> PreparedForm:
        """Prepare requests of `form`."""
        if form.vector:
            given = merged(self.settings.params, form.parameters)
            renames = {"dimensions": "outputDimensionality"}
            members: dict[str, Json] = {renames.get(name, name): value for name, value in given.items()}
            if self._predicts:
                return _predicted(form, members)
            if self._is_project:
                members = {"embedContentConfig": members} if members else {}
            return PreparedVector.around(form, members, b'"content":{"parts":[{"text":', b"}]}")
        return PreparedContents.of(form, self.parameters(form))

    def with_files(self, prepared: PreparedForm, files: Sequence[AttachedFile]) -> PreparedForm:
        """Return a form whose prompts follow these files."""
        parts = b"".join(orjson.dumps(_file_part(file)) + b"," for file in files)
        return replace(prepared, files=parts) if isinstance(prepared, PreparedContents) else prepared

    def read(self, form: AnswerForm, body: bytes) -> ParsedAnswer:
        """Read an answer."""
        document = loaded(body)
        if isinstance(document, ParsedAnswer):
            return document
        if form.vector:
            count = member(document, "usageMetadata", "promptTokenCount")
            found = document.get("embedding")
            match document.get("predictions"):
                case [{"embeddings": found}, *_]:
                    count = member(found, "statistics", "token_count")
            whole = int(count) if isinstance(count, float) and count.is_integer() else count
            return read_vector(form, member(found, "values"), whole, document.get("error"))
        return read_content(form, document)

    def reader(self) -> StreamedContent:
        """Return a reader of the parts of an answer."""
        return StreamedContent()

    def error(self, status: int, headers: Mapping[str, str], body: bytes, wall_now: float) -> ErrorReport:
        """Read an error, which may be an object or a list of one."""
        return _with_details(read_error(status, headers, body, wall_now), error_object(body))

    def parameters(self, form: AnswerForm) -> dict[str, Json]:
        """Return the parameters as members of a body; the common ones are members of generationConfig."""
        given = merged(self.settings.params, form.parameters)
        config = renamed(given, _NAMES)
        if "stop" in given:
            config["stopSequences"] = stop_list(given["stop"])
        if "reasoning_effort" in given:
            config["thinkingConfig"] = _thinking(self.settings.model, given["reasoning_effort"])
        rest = {name: value for name, value in given.items() if name not in _COMMON}
        return merged({"generationConfig": config}, rest)

    @property
    def _is_project(self) -> bool:
        return _PROJECT in self.settings.base_url

    @property
    def _predicts(self) -> bool:
        """Whether vectors are made by ``predict``. Source: google-genai 3.6.1, `_transformers.py`."""
        return self._is_project and "gemini" not in self.settings.model.rpartition("/")[2]

    def problem(self, parameters: Mapping[str, Json]) -> str | None:
        """Return why `parameters` cannot be sent: an effort may have no budget or level."""
        effort = parameters.get("reasoning_effort")
        known = _efforts(self.settings.model)
        if effort is not None and effort not in known:
            names = ", ".join(known)
            return f"reasoning_effort must be one of {names} for {self.settings.model}, not {said(effort)}"
        return super().problem(parameters)


def _efforts(model: str) -> Mapping[str, Json]:
    return _BUDGETS if _HAS_BUDGET.match(model) else _LEVELS


def _thinking(model: str, effort: Json) -> dict[str, Json]:
    name = "thinkingBudget" if _HAS_BUDGET.match(model) else "thinkingLevel"
    return {name: _efforts(model).get(str(effort), effort)}


# ---- requests --------------------------------------------------------------------------------------------


def _predicted(form: AnswerForm, members: Mapping[str, Json]) -> PreparedVector:
    """Prepare requests of the method ``predict``: some members belong to the text, the others to all."""
    names = {"taskType": "task_type", "task_type": "task_type", "title": "title"}
    of_text = {names[name]: value for name, value in members.items() if name in names}
    parameters = {name: value for name, value in members.items() if name not in names}
    head = orjson.dumps(of_text)[1:-1]
    before = b'"instances":[{' + (head + b"," if head else b"") + b'"content":'
    return PreparedVector.around(form, {"parameters": parameters} if parameters else {}, before, b"}]")


class PreparedContents(Struct, frozen=True):
    """The bytes of a request's body after the prompt."""

    form: AnswerForm
    tail: bytes
    files: bytes = b""  # their parts, each with a comma after it

    @classmethod
    def of(cls, form: AnswerForm, parameters: Mapping[str, Json]) -> PreparedContents:
        """Prepare `form` with these members in the body."""
        config: dict[str, Json] = {"maxOutputTokens": form.max_tokens}
        if form.fields:
            config["responseMimeType"] = "application/json"
            config["responseJsonSchema"] = _without_null_choices(object_schema(form.fields))
        system = b""
        if form.instructions is not None:
            system = b',"systemInstruction":{"parts":[{"text":' + json_string(form.instructions) + b"}]}"
        rest = orjson.dumps(merged({"generationConfig": config}, parameters))
        return cls(form, b"}]}]" + system + b"," + rest[1:])

    def body(self, prompt: str, correction: Correction | None, *, stream: bool = False) -> bytes:  # noqa: ARG002 - a stream has another URL
        """Return the body for `prompt`."""
        asked = b'{"contents":[{"role":"user","parts":[' + self.files + b'{"text":' + json_string(prompt)
        if correction is None:
            return asked + self.tail
        return b"".join(
            (
                asked,
                b'}]},{"role":"model","parts":[{"text":',
                json_string(correction.answer),
                b'}]},{"role":"user","parts":[{"text":',
                json_string(correction_request(self.form, correction.problem)),
                self.tail,
            )
        )


def _file_part(file: AttachedFile) -> dict[str, Json]:
    return {"inlineData": {"mimeType": file.type, "data": file.base64}}


def _without_null_choices(schema: Mapping[str, Json]) -> dict[str, Json]:
    """Return `schema` with `anyOf` for a choice that may be null, since an enum of Gemini has only texts."""
    found: dict[str, Json] = {}
    for name, value in schema.items():
        found[name] = _without_null_choices(value) if isinstance(value, dict) else value
    choices, kind = found.get("enum"), found.get("type")
    if isinstance(choices, list) and None in choices and kind == ["string", "null"]:
        del found["enum"], found["type"]
        texts: Json = [choice for choice in choices if choice is not None]
        found["anyOf"] = [{"type": "string", "enum": texts}, {"type": "null"}]
    return found


# ---- answers ---------------------------------------------------------------------------------------------


def read_content(form: AnswerForm, document: dict[str, Json]) -> ParsedAnswer:
    """Read an answer to a question of `form`. Never raises."""
    counts = read_counts(document.get("usageMetadata"))
    candidates = document.get("candidates")
    match candidates:
        case [dict(candidate), *_]:
            return ParsedAnswer(*_read_candidate(form, candidate), counts)
    if reason := member(document, "promptFeedback", "blockReason"):
        return ParsedAnswer(AnswerProblem(f"the endpoint refused the prompt: {said(reason)}"), None, counts)
    problem, error = AnswerProblem("the endpoint answered without candidates"), document.get("error")
    if error and not counts.is_complete:
        return ParsedAnswer(problem, is_completion=False, error=_late_error(error))
    return ParsedAnswer(problem, None, counts, is_completion=counts.is_complete)


def read_counts(usage: Json) -> TokenCounts:
    """Read the member ``usageMetadata``: thoughts and the input of tools are outside of the other counts."""
    prompt, candidates = (
        tokens(member(usage, "promptTokenCount")),
        tokens(member(usage, "candidatesTokenCount")),
    )
    thoughts = tokens(member(usage, "thoughtsTokenCount")) or 0
    total = tokens(member(usage, "totalTokenCount"))
    asked = None if prompt is None else prompt + (tokens(member(usage, "toolUsePromptTokenCount")) or 0)
    written = None if candidates is None else candidates + thoughts
    if written is None and asked is not None and total is not None:
        written = max(total - asked, thoughts)  # JSON leaves out a count of zero
    return TokenCounts(asked, written, tokens(member(usage, "cachedContentTokenCount")) or 0, 0, thoughts)


def _read_candidate(form: AnswerForm, candidate: dict[str, Any]) -> tuple[Values | AnswerProblem, str | None]:
    """Return the values or the problem of a candidate, and its text if there is any."""
    reason = candidate.get("finishReason")
    if isinstance(reason, str) and reason not in _CUT and reason != "STOP":
        if _BLOCKED.fullmatch(reason):
            return AnswerProblem(f"the endpoint withheld the answer: {said(reason)}"), None
        return AnswerProblem(f"the model failed to answer: {said(reason)}"), None
    is_cut = isinstance(reason, str) and reason in _CUT
    text = _text(member(candidate, "content", "parts"))
    if text is None and is_cut:
        return all_reasoning(form), None
    if text is None:
        return no_text(None, reason), None
    return found_in(form, text, is_cut=is_cut), text


def _text(parts: Json) -> str | None:
    """Return the text of the parts that are no thoughts, None if there is none."""
    texts = []
    for part in parts if isinstance(parts, list) else ():
        text = member(part, "text")
        if isinstance(text, str) and member(part, "thought") is not True:
            texts.append(text)
    return "".join(texts) if texts else None


# ---- streams ---------------------------------------------------------------------------------------------


class StreamedContent(EventReader):
    """Assembles the answer of one stream."""

    def __init__(self) -> None:
        super().__init__()
        self._document: dict[str, Json] = {}
        self._text: io.StringIO | None = None  # a list of parts would take much more memory
        self._candidate: dict[str, Json] | None = None

    def answer(self, form: AnswerForm) -> ParsedAnswer:
        """Read the answer that the stream amounts to so far."""
        if self.has_failed:
            problem = AnswerProblem(f"the stream ended with an error: {said(self.error)}")
            # The part of an answer before an error may be billed.
            is_free = isinstance(self.error, dict) and self._candidate is None
            error = _late_error(self.error) if is_free else None
            return ParsedAnswer(problem, is_completion=False, error=error)
        document = dict(self._document)
        if self._candidate is not None:
            text = [] if self._text is None else [{"text": self._text.getvalue()}]
            document["candidates"] = [{**self._candidate, "content": {"parts": [*text]}}]
        return read_content(form, document)

    def take(self, event: dict[str, Any]) -> None:
        """Process one part of an answer."""
        if error := event.get("error"):
            self.fail(error)
        if isinstance(event.get("usageMetadata"), dict):  # every part has it: the last one counts
            self._document["usageMetadata"] = bounded(event["usageMetadata"])
            self.has_usage = True
        if isinstance(event.get("promptFeedback"), dict):
            reason = bounded(event["promptFeedback"].get("blockReason"))
            self._document["promptFeedback"] = {"blockReason": reason}
            self.is_whole |= bool(reason)
        match event.get("candidates"):
            case [dict(candidate), *_]:
                self._take_candidate(candidate)

    def _take_candidate(self, candidate: dict[str, Any]) -> None:
        reason = candidate.get("finishReason")
        if self._candidate is None or reason is not None:
            self._candidate = {"finishReason": bounded(reason)}
        self.is_whole |= reason is not None
        parts = member(candidate, "content", "parts")
        for part in parts if isinstance(parts, list) else ():
            text = member(part, "text")
            if not isinstance(text, str):
                continue
            self.streamed += len(text)
            if member(part, "thought") is not True:  # thoughts are billed, but not part of the answer
                if self._text is None:
                    self._text = io.StringIO()
                self._text.write(text)


# ---- errors ----------------------------------------------------------------------------------------------


def _late_error(error: Json) -> ErrorReport:
    """Return the report of an error within a 2xx answer, which has its status as a code."""
    found = error if isinstance(error, dict) else {"message": error}
    code, name = found.get("code"), found.get("status")
    status = code if type(code) is int and 400 <= code < 600 else 500
    codes = (name.lower(),) if isinstance(name, str) else ()
    return _with_details(ErrorReport(status, said(found.get("message")), codes), found)


def _with_details(report: ErrorReport, error: Mapping[str, Json]) -> ErrorReport:
    """Return `report` with what the details of `error` say: reasons, a wait, a quota that is used up."""
    details = error.get("details")
    found = [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
    reasons = [reason.lower() for detail in found if isinstance(reason := detail.get("reason"), str)]
    waits = [detail["retryDelay"] for detail in found if "retryDelay" in detail]
    wait_s = duration_s(waits[0]) if waits and isinstance(waits[0], str) else None
    if wait_s is not None:
        report = replace(report, retry_after_s=min(wait_s, LONGEST_RETRY_AFTER_S))
    report = replace(report, codes=(*report.codes, *reasons))
    if report.status == 429:
        return _of_quota(report, list(_quotas(found)))
    return _of_request(report) if report.status == 400 else report


def _quotas(details: list[dict[str, Any]]) -> list[str]:
    """Return the ids of the quotas that are used up."""
    found = []
    for detail in details:
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            quota = member(violation, "quotaId")
            if isinstance(quota, str):
                found.append(quota.lower())
    return found


def _of_quota(report: ErrorReport, quotas: list[str]) -> ErrorReport:
    if any("perday" in quota for quota in quotas):
        # The wait that the endpoint asks for is shorter than the quota takes to renew. As a refusal the calls
        # would wait for hours, while this ends the run so that it can be resumed, or leaves the calls to
        # other endpoints and tries this one again from time to time.
        return replace(report, kind=FailureKind.MISCONFIGURED, remedy=_DAY_REMEDY, retry_after_s=None)
    if not quotas:
        return report
    refusal = Refusal.TOKENS if any("token" in quota for quota in quotas) else Refusal.REQUESTS
    return replace(report, refusal=refusal)


def _of_request(report: ErrorReport) -> ErrorReport:
    """Return `report` of an invalid request as a configuration error if every other request would get it."""
    if "failed_precondition" in report.codes:
        return replace(report, kind=FailureKind.MISCONFIGURED, remedy=_CONDITION_REMEDY)
    if _SAME_IN_ALL.search(report.text.lower()):
        return replace(report, kind=FailureKind.MISCONFIGURED)
    return report
