"""The interface of a dialect: the format of an endpoint's requests, answers, streams and errors. Pure.

A dialect only translates. `actors.llm.http_endpoint` sends the bytes, and is the same for all dialects.

Rule 1: nothing that an endpoint sends makes a dialect raise. An answer is billed, whatever its content, so
    that every unusable one is an `AnswerProblem`, and its usage still counts.
Rule 2: token counts have one meaning: the input contains what a cache served or stored, and the output
    contains what the model reasoned. A dialect converts the counts of endpoints that report otherwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from msgspec import Struct

from actors.core.messages.attempts import RateHeaders
from actors.core.messages.calls import Correction
from actors.core.messages.values import Json, TokenCounts
from actors.llm.access_tokens import TokenCredentials
from actors.llm.credentials import Credentials
from actors.llm.dialects.common import value_problem
from actors.llm.endpoint import NATIVE, EndpointSettings
from actors.llm.forms import AnswerForm, AnswerProblem, Values
from actors.llm.requests.attachments import AttachedFile
from actors.llm.translate import ErrorReport, rate_headers, read_error

NO_COUNTS = TokenCounts()


class ParsedAnswer(Struct, frozen=True):
    """The result of reading an answer.

    found: the values, or the problem.
    content: the text of the model, None if there is none; without it no correction is possible.
    tokens: the usage that the endpoint reports.
    is_completion: False for a body that is no answer of a model, which may come from a gateway.
    error: the error that the endpoint reports in place of an answer, although the status is 2xx. If it is
    set, nothing was billed.
    """

    found: Values | AnswerProblem
    content: str | None = None
    tokens: TokenCounts = NO_COUNTS
    is_completion: bool = True
    error: ErrorReport | None = None


class PreparedForm(Protocol):
    """The parts of a request's body that are the same for every prompt of a form, built once."""

    @property
    def form(self) -> AnswerForm:
        """The form of the answer."""
        ...

    def body(self, prompt: str, correction: Correction | None, *, stream: bool = False) -> bytes:
        """Return the body for `prompt`, followed by `correction` if given. `stream`: request a stream."""
        ...


class StreamReader(Protocol):
    """Reads one streamed answer.

    streamed: the number of characters received, including reasoning.
    size: the approximate number of bytes kept.
    is_done: whether the last event of the stream has arrived.
    is_whole: whether the model has finished.
    has_usage: whether the endpoint has reported the usage.
    has_failed: whether the stream contains an error, which explains its end.
    """

    @property
    def streamed(self) -> int: ...  # noqa: D102 - the class describes it
    @property
    def size(self) -> int: ...  # noqa: D102 - same
    @property
    def is_done(self) -> bool: ...  # noqa: D102 - same
    @property
    def is_whole(self) -> bool: ...  # noqa: D102 - same
    @property
    def has_usage(self) -> bool: ...  # noqa: D102 - same
    @property
    def has_failed(self) -> bool: ...  # noqa: D102 - same

    def feed(self, piece: bytes) -> None:
        """Process the next bytes. Never raises: an invalid event results in a problem of the answer."""
        ...

    def close(self) -> None:
        """Process the end of the stream."""
        ...

    def answer(self, form: AnswerForm) -> ParsedAnswer:
        """Return what the stream amounts to so far. Never raises."""
        ...


class LibraryAnswer(Struct, frozen=True):
    """The response that a library received, as one of HTTP: the headers have names in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}


class LibraryClient(Protocol):
    """Sends the requests of one endpoint by a library, in place of HTTP. Belongs to one event loop."""

    async def send(self, body: bytes, idempotency_key: str) -> LibraryAnswer:
        """Send a request and return its answer or its error. It must not repeat a request by itself.

        Raises `OSError` if no answer came; the request may have been billed. Any other exception is a defect.
        It is cancelled when its time is up, so that code that blocks belongs on a thread.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class Adaptation(Struct, frozen=True):
    """Another form of requests, for an endpoint that refused a request.

    refused: what the endpoint refused. setting: what the configuration must set to have this form at once.
    """

    dialect: Dialect
    refused: str
    setting: str


class Dialect(ABC):
    """The format that one endpoint speaks. Made once for each endpoint of each client.

    A package adds a dialect with the entry point ``headrace.dialects`` of its name.
    """

    stream_type: ClassVar[str] = "text/event-stream"  # the media type of a streamed answer
    reserved: ClassVar[Mapping[str, str]] = {}  # members of a body that Headrace sets, each with the remedy
    unsupported: ClassVar[Mapping[str, str]] = {}  # parameters that it cannot send, each with the remedy
    lists_model: ClassVar[bool] = True  # whether the list of models has the name that `settings.model` is
    attaches: ClassVar[frozenset[str]] = frozenset()  # the media types of files that requests may hold
    uses_library: ClassVar[bool] = False  # whether `client` sends requests, which are not streamed then
    ways: ClassVar[tuple[str, ...]] = (NATIVE,)  # what `settings.structured` may be
    is_encoded: ClassVar[bool] = False  # whether `url` returns a URL that must be sent exactly as it is

    def __init__(self, settings: EndpointSettings) -> None:
        self.settings = settings
        source = settings.credentials
        self._tokens = None if source is None else TokenCredentials(source.fetch)

    @property
    def credentials(self) -> Credentials | None:
        """The credentials of requests; None if the API key authorizes them: see `key_header`."""
        return self._tokens

    @abstractmethod
    def url(self, *, stream: bool) -> str:
        """Return the URL of requests, without `settings.query`."""

    @abstractmethod
    def prepare(self, form: AnswerForm) -> PreparedForm:
        """Prepare requests of `form`. Their bodies contain `self.parameters(form)`."""

    def with_files(self, prepared: PreparedForm, files: Sequence[AttachedFile]) -> PreparedForm:  # noqa: ARG002 - of a dialect that attaches none
        """Return a form whose prompts follow these files, which are of the types in `attaches`."""
        return prepared

    @abstractmethod
    def read(self, form: AnswerForm, body: bytes) -> ParsedAnswer:
        """Read `body`, the complete body of a 2xx answer to a question of `form`. Never raises."""

    @abstractmethod
    def reader(self) -> StreamReader:
        """Return a reader of one streamed answer."""

    def client(self) -> LibraryClient:
        """Return what sends the requests of a dialect that uses a library. `url` only names the endpoint."""
        raise NotImplementedError

    def vectors_url(self) -> str | None:
        """Return the URL of requests of forms with a `vector`; None if this dialect makes no vectors."""
        return None

    def ranking_url(self) -> str | None:
        """Return the URL of requests of forms with a `ranking`; None if this dialect ranks no documents.

        Their prompts are JSON objects with the members ``query`` and ``documents``.
        """
        return None

    def key_header(self, key: str) -> tuple[str, str]:
        """Return the name and the value of the header that carries the API key."""
        return "Authorization", f"Bearer {key}"

    def headers(self) -> Mapping[str, str]:
        """Return the headers of every request that only this dialect has."""
        return {}

    def models_url(self) -> str | None:
        """Return the URL of the list of models, None if there is no list.

        Its answer is free of charge and shows that the endpoint is reachable and accepts the key.
        """
        return self.settings.base_url + "/models"

    def error(self, status: int, headers: Mapping[str, str], body: bytes, wall_now: float) -> ErrorReport:
        """Read an answer with a status other than 2xx. Never raises.

        headers: with names in lower case. wall_now: in seconds since 1970; ``Retry-After`` may be a date.
        """
        return read_error(status, headers, body, wall_now)

    def adapted(self, report: ErrorReport) -> Adaptation | None:  # noqa: ARG002 - for subclasses
        """Return the form in which the endpoint takes a request that it refused with `report`, None if none.

        The request is sent once more, and all later ones have that form.
        """
        return None

    def rate_headers(self, headers: Mapping[str, str]) -> RateHeaders | None:
        """Return the rate limits that `headers`, with names in lower case, report; None if they have none."""
        return rate_headers(headers)

    def asked(self, form: AnswerForm) -> AnswerForm:
        """Return `form` as requests have it: with the endpoint's system message and words for fields.

        `prepare` receives the result.
        """
        form = form.instructed(self.settings.system)
        return form.described() if self.describes_output else form

    def problem(self, parameters: Mapping[str, Json]) -> str | None:
        """Return why `parameters` cannot be sent, with the remedy; None if they can."""
        for name, value in parameters.items():
            if name in (reserved := {"model": "set the model of the endpoint", **self.reserved}):
                return f"params must not contain {name!r}, which Headrace sets: {reserved[name]}"
            if name in self.unsupported:
                return (
                    f"the dialect {self.settings.dialect} has no parameter {name!r}: {self.unsupported[name]}"
                )
            if name in self.settings.refuses:
                model, endpoint = self.settings.model, self.settings.name
                return f"the model {model} of endpoint {endpoint} does not accept {name!r}: remove it"
            if problem := value_problem(name, value):
                return problem
        return None

    @property
    def describes_output(self) -> bool:
        """Whether requests state the fields of the answer in words: as set, else if the model needs it."""
        is_set = self.settings.describe_output
        return not self.sees_schema if is_set is None else is_set

    @property
    def sees_schema(self) -> bool:
        """Whether the model sees the schema of the answer, which otherwise only restricts what it writes."""
        return True

    def parameters(self, form: AnswerForm) -> dict[str, Json]:
        """Return the parameters of the endpoint, and those of `form`, which replace them."""
        return {**self.settings.params, **form.parameters}
