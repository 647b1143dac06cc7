"""Messages between the dispatcher and an LLM client: attempts, slots, and streams."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from msgspec import Struct, field

from actors.core.errors import Failure
from actors.core.messages.calls import Correction, question_size
from actors.core.messages.values import Json, Usage


class Attempt(Struct, frozen=True):
    """Dispatcher to client: make one HTTP request as soon as a slot of the client's share is free.

    `idempotency_key` is the same for every attempt at the same question. A correction has a new key: an
    endpoint that honours the old one would repeat the unusable answer. `stream` asks for a streamed answer
    if the dialect allows it; all attempts under one key agree in it. `first` places the attempt before all
    attempts in the client's queue that lack it. `estimate` is the expected usage at this endpoint.
    `is_hedge`: the attempt is made in addition to one that is in flight. `attachments`: see `Call`.
    """

    id: int
    call_key: str
    endpoint: str
    form: str
    prompt: str
    number: int
    idempotency_key: str
    expires_in_s: float
    correction: Correction | None = None
    task: str = ""
    run_id: str = ""
    content: str = ""
    estimate: Usage = field(default_factory=Usage)
    stream: bool = False
    first: bool = False
    is_hedge: bool = False
    attachments: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The approximate number of bytes of the message."""
        return question_size(self.prompt, self.attachments)


class RateHeaders(Struct, frozen=True):
    """The rate limits that an answer's headers report; None for each value that is absent."""

    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests_s: float | None = None
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens_s: float | None = None


class Refusal(enum.StrEnum):
    """Why an endpoint refused a request, as far as the endpoint says."""

    UNKNOWN = "unknown"
    CONCURRENCY = "concurrency"
    REQUESTS = "requests"  # the rate of requests
    TOKENS = "tokens"  # the rate of tokens
    OVERLOADED = "overloaded"


class AttemptEnded(Struct, frozen=True):
    """Client to dispatcher: the end of an attempt.

    Exactly one of `values` and `error` is set. `usage` is the billed usage, also of an unusable answer;
    `unmetered`: the endpoint did not report it completely. `correction` is set with `FailureKind.UNUSABLE`.
    `replayed`: the endpoint repeated an answer that it had billed before under the same idempotency key.
    `waited_s` is the time in the client's queue and `took_s` the time of the request; both are 0 if it never
    started. `reused`: the journal already had the answer. `streamed` is the number of streamed characters;
    the first arrived `began_s` after the start. `is_second`: a first request, in another form,
    failed. `sent`: bytes of the request may have left this host, so that it may be billed.
    `is_page`: the error is a successful response that has no JSON object, such as a web page. `is_final`: an
    unusable answer that the same question would have again.
    """

    id: int
    values: Mapping[str, Json] | None = None
    error: Failure | None = None
    usage: Usage = field(default_factory=Usage)
    correction: Correction | None = None
    refusal: Refusal | None = None
    headers: RateHeaders | None = None
    replayed: bool = False
    waited_s: float = 0.0
    took_s: float = 0.0
    reused: bool = False
    streamed: int = 0
    began_s: float = 0.0
    is_second: bool = False
    sent: bool = True
    unmetered: bool = False
    is_page: bool = False
    is_final: bool = False


class SetShare(Struct, frozen=True):
    """Dispatcher to client: the client's slots at an endpoint, `reserved` of them for `first` attempts."""

    endpoint: str
    slots: int
    reserved: int = 0


class Abort(Struct, frozen=True):
    """Dispatcher to client: stop these attempts, started or not. Each ends as cancelled."""

    ids: tuple[int, ...]


class TakeOver(Struct, frozen=True):
    """New dispatcher to client: drop the queue and list the attempts in flight.

    Answered by a tuple of `Held`. The client keeps the end of each attempt until `Adopt` asks for it.
    """


class Held(Struct, frozen=True):
    """Client to dispatcher: an attempt that an earlier dispatcher placed is in flight."""

    id: int
    call_key: str
    endpoint: str
    number: int
    estimate: Usage
    task: str = ""
    run_id: str = ""


class Adopt(Struct, frozen=True):
    """Dispatcher to client: report the end of this attempt. Answered by `AttemptEnded`."""

    id: int


class StreamMark(Struct, frozen=True):
    """The progress of a stream: `streamed` characters, `after_s` seconds after the attempt's start."""

    attempt: int
    streamed: int
    after_s: float


class WatchStreams(Struct, frozen=True):
    """Dispatcher to client: report the next progress of any stream. Answered by `StreamProgress`."""


class StreamProgress(Struct, frozen=True):
    """Client to dispatcher: the progress of streams since the last report, in order of arrival.

    `is_leaving`: the client begins no further attempt, because its host is about to stop.
    """

    marks: tuple[StreamMark, ...]
    is_leaving: bool = False
