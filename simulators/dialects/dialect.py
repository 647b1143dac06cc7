"""The interface of a simulated dialect: reads questions, writes answers, streams and errors. Pure.

One server speaks all dialects. `simulators.llm_model` decides the content of an answer and what it costs, so
that the same question has the same answer in every dialect.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import orjson

from simulators.answers import contents
from simulators.capacity import RateLevel, duration
from simulators.files import TOKENS, count_files

_PIECES: Final = 8


class BadQuestionError(ValueError):
    """A request is not a question to a model. The message gives the reason."""


@dataclass(frozen=True, slots=True)
class VectorFormat:
    """How vectors are written: with this many dimensions, in base64 or as numbers."""

    dimensions: int
    is_base64: bool


@dataclass(frozen=True, slots=True)
class Question:
    """A question to a model. `input_tokens` is the size of its prompt; `schema` is None for plain text.

    messages: in the format of chat completions, with the system message first.
    vectors: how a vector of the text is written; None if the answer is text.
    ranking: the version of the API, if the answer is how relevant the other messages are to the first one.
    tool: the name of the tool that the answer has to call, None if it is ordinary content.
    include_usage: whether a stream reports its usage.
    """

    messages: Sequence[Mapping[str, Any]]
    model: str
    text: str
    input_tokens: int
    max_tokens: int | None
    schema: Mapping[str, Any] | None
    stream: bool
    include_usage: bool = True
    tool: str | None = None
    vectors: VectorFormat | None = None
    ranking: str | None = None


@dataclass(frozen=True, slots=True)
class ModelReply:
    """The answer of the model.

    id: an id without the prefix that a dialect gives it.
    is_cut: whether the answer ended at the bound of tokens.
    input_tokens, output_tokens: include `cached_tokens` and `reasoning_tokens`.
    has_usage: whether the answer reports its tokens.
    """

    id: str
    model: str
    created: int
    content: str
    is_cut: bool
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    has_usage: bool


class SimulatedDialect(ABC):
    """One format of requests and answers."""

    stream_type: ClassVar[str] = "text/event-stream"  # the media type of a stream
    end: ClassVar[bytes] = b""  # the end of a stream, which follows its last event at once

    @abstractmethod
    def matches(self, method: str, path: str) -> bool:
        """Return whether a request with this method and path (not decoded, without query) is a question."""

    @abstractmethod
    def parse(self, path: str, headers: Mapping[str, str], body: bytes) -> Question:
        """Return the question in a request. Raises `BadQuestionError`. `headers`: in any case."""

    @abstractmethod
    def completion(self, question: Question, reply: ModelReply) -> bytes:
        """Return the body of an answer that is not streamed."""

    @abstractmethod
    def events(self, question: Question, reply: ModelReply) -> list[bytes]:
        """Return the events of a streamed answer, except `end`."""

    def error(
        self, status: int, kind: str | None, message: str, retry_after: str | None
    ) -> tuple[bytes, dict[str, str]]:
        """Return the body and the headers of an error.

        kind: the reason, such as ``concurrency``; None if only the status is known.
        retry_after: the text of the header ``Retry-After``: seconds, a date or, by a plan, anything.
        """
        kind = kind or error_type(status)
        body = orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": kind}})
        return body, {} if retry_after is None else {"Retry-After": retry_after}

    def rate_headers(self, rates: Mapping[str, RateLevel], wall_now: float) -> dict[str, str]:  # noqa: ARG002 - some resets are dates
        """Return the headers that report `rates`, whose names are ``requests`` and ``tokens``."""
        headers: dict[str, str] = {}
        for name, rate in rates.items():
            headers[f"x-ratelimit-limit-{name}"] = str(rate.limit)
            headers[f"x-ratelimit-remaining-{name}"] = str(rate.remaining)
            headers[f"x-ratelimit-reset-{name}"] = duration(rate.reset_s)
        return headers


# ---- helpers ---------------------------------------------------------------------------------------------


def loaded(body: bytes) -> dict[str, Any]:
    """Return the JSON object `body`. Raises `BadQuestionError`."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadQuestionError(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadQuestionError("the body must be an object")
    return document


def listed(messages: Any, name: str) -> list[dict[str, Any]]:
    """Return `messages` if they are a list of at least one object. Raises `BadQuestionError`."""
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise BadQuestionError(f"{name} must be a list of at least one message")
    return messages


def bound_of(document: Mapping[str, Any], name: str) -> int | None:
    """Return the bound of tokens `name`, None if there is none. Raises `BadQuestionError`."""
    bound = document.get(name)
    if bound is not None and (type(bound) is not int or bound < 1):
        raise BadQuestionError(f"{name} must be a whole number of at least 1")
    return bound


def schema_of(schema: Any, name: str) -> Mapping[str, Any]:
    """Return `schema` if it is an object. Raises `BadQuestionError`."""
    if not isinstance(schema, dict):
        raise BadQuestionError(f"{name} must be an object")
    return schema


def size_of(messages: Sequence[Mapping[str, Any]]) -> tuple[str, int]:
    """Return the text of `messages`, and their tokens: one for each four characters begun, more for files.

    Raises `BadQuestionError` if a file is not what it says it is.
    """
    texts = contents(messages)
    try:
        files = count_files(messages)
    except ValueError as error:
        raise BadQuestionError(str(error)) from error
    return "\n".join(texts), -(-sum(map(len, texts)) // 4) + files * TOKENS


def pieces_of(content: str) -> list[str]:
    """Return `content` in the pieces of a stream."""
    size = max(1, -(-len(content) // _PIECES))
    return [content[start : start + size] for start in range(0, len(content), size)]


def event(document: Mapping[str, Any], name: str | None = None) -> bytes:
    """Return a server-sent event with its name if it has one."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + orjson.dumps(document) + b"\n\n"


def error_type(status: int) -> str:
    """Return the type of an error of which only the HTTP status is known."""
    if status == 429:
        return "rate_limit_exceeded"
    return "invalid_request_error" if status < 500 else "server_error"
