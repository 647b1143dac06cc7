"""Cases of conformance as data: what a dialect sends, and how it reads answers, streams, errors and headers.

A module `cases_<dialect>.py` has one `DialectCases` named ``CASES``; `test_conformance.py` and the property
tests run all of them.
"""

from __future__ import annotations

import copy
import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from actors.core.errors import FailureKind
from actors.core.messages.attempts import RateHeaders, Refusal
from actors.core.messages.calls import Correction
from actors.core.messages.values import TokenCounts
from actors.llm.dialects.dialect import Dialect
from actors.llm.dialects.registry import dialect_of
from actors.llm.endpoint import EndpointSettings
from actors.llm.fields import FieldSpec
from actors.llm.forms import AnswerForm

Document = Any

NOW = 1_795_694_400.0  # Thursday, 26 November 2026, 12:00:00 GMT
NOW_DATE = "Thu, 26 Nov 2026 12:00:00 GMT"
NO_TOKENS = TokenCounts()


def dumped(document: Document) -> bytes:
    """Return a JSON document, which may be nested more deeply than orjson writes."""
    return json.dumps(document, separators=(",", ":")).encode()


def places(document: Document, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in `document`."""
    yield path
    pairs = enumerate(document) if isinstance(document, list) else ()
    for key, value in document.items() if isinstance(document, dict) else pairs:
        yield from places(value, (*path, key))


def with_value(document: Document, path: tuple[Any, ...], value: Document) -> Document:
    """Return `document` with `value` at `path`."""
    if not path:
        return value
    found = copy.copy(document)
    found[path[0]] = with_value(document[path[0]], path[1:], value)
    return found


def form_of(fields: Mapping[str, Mapping[str, Any]] = {}, **more: Any) -> AnswerForm:
    """Return a form with these fields, plain text without any."""
    specs = TypeAdapter(dict[str, FieldSpec]).validate_python(dict(fields))
    return AnswerForm("rating", specs, 50, **more)


SCORE = form_of({"x": {"type": "number", "min": 0, "max": 1}})
PLAIN = form_of()


@dataclass(frozen=True)
class RequestCase:
    """A question and the body that asks it."""

    name: str
    body: Mapping[str, Document]
    form: AnswerForm = PLAIN
    correction: Correction | None = None
    stream: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Expected:
    """What an answer is read as: values, or a problem whose text contains `problem`.

    content: the text that a correction quotes.
    kind, refusal: of the failure, for an error that is reported with the status 200.
    """

    values: Mapping[str, Document] | None = None
    problem: str = ""
    content: str | None = None
    tokens: TokenCounts = NO_TOKENS
    is_completion: bool = True
    kind: FailureKind | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True)
class AnswerCase:
    """The body of an answer."""

    name: str
    body: Document | bytes
    expected: Expected
    form: AnswerForm = SCORE
    settings: Mapping[str, Any] = field(default_factory=dict)

    def bytes(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else dumped(self.body)


@dataclass(frozen=True)
class StreamCase:
    """The events of a streamed answer.

    has_failed: an error in it explains its end. streamed: the characters received, with those of reasoning.
    """

    name: str
    events: Sequence[Document]
    expected: Expected
    is_whole: bool = True
    has_usage: bool = True
    has_failed: bool = False
    streamed: int | None = None
    form: AnswerForm = SCORE
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ErrorCase:
    """An answer with a status other than 2xx."""

    name: str
    status: int
    body: Document | bytes
    kind: FailureKind
    refusal: Refusal | None = None
    retry_after_s: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    says: str = ""

    def bytes(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else dumped(self.body)


@dataclass(frozen=True)
class RateCase:
    """Headers, with names in lower case, and the rates that they report."""

    name: str
    headers: Mapping[str, str]
    expected: RateHeaders | None


def server_sent(events: Sequence[Document]) -> bytes:
    """Return events as the bytes of a stream of server-sent events; an event that is bytes stays as it is."""
    return b"".join(
        b"data: " + (each if isinstance(each, bytes) else dumped(each)) + b"\n\n" for each in events
    )


@dataclass(frozen=True, repr=False)
class DialectCases:
    """All cases of one dialect.

    refused: parameters that cannot be sent. encode: makes the bytes of a stream of its events.
    """

    dialect: str
    settings: Mapping[str, Any]
    url: str
    headers: Mapping[str, str]
    requests: Sequence[RequestCase]
    answers: Sequence[AnswerCase]
    streams: Sequence[StreamCase]
    errors: Sequence[ErrorCase]
    rates: Sequence[RateCase]
    refused: Sequence[str]
    encode: Callable[[Sequence[Document]], bytes] = server_sent

    def __repr__(self) -> str:
        return f"<DialectCases {self.dialect}>"

    def make(self, settings: Mapping[str, Any] = {}) -> Dialect:
        """Return the dialect of an endpoint with these settings beside the usual ones."""
        usual = {"name": "main", "dialect": self.dialect, "model": "m", "api_key": "sk-test"}
        return dialect_of(EndpointSettings.model_validate({**usual, **self.settings, **settings}))


def all_cases() -> dict[str, DialectCases]:
    """Return the cases of every dialect by its name."""
    modules = [path.stem for path in sorted(Path(__file__).parent.glob("cases_*.py"))]
    found = [importlib.import_module(f"tests.unit.llm.dialects.{module}").CASES for module in modules]
    return {cases.dialect: cases for cases in found}


def slug(text: str) -> str:
    """Return `text` as an id of a test."""
    return re.sub(r"\W+", "-", text)
