"""Messages between the dispatcher and an LLM client: attempts, slots, and streams."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from msgspec import Struct, field

from actors.core.errors import Failure
from actors.core.messages.calls import Correction
from actors.core.messages.values import Json, Usage


class Attempt(Struct, frozen=True):
    """Dispatcher to client: make this one HTTP request as soon as a slot of your share is free.

    `idempotency_key` is the same for every attempt at the same question, and another once that is corrected,
    since an endpoint that honours it would repeat the answer that did not fit. `stream`, the same for all of
    a key: have it streamed if that can be. `first`: before all that wait at the client and are not.
    `estimate` is what it may take at this endpoint. `is_hedge`: it is made beside another one on purpose.
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


class RateHeaders(Struct, frozen=True):
    """What the endpoint said of its rates in an answer's headers; None where it said nothing."""

    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests_s: float | None = None
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens_s: float | None = None


class Refusal(enum.StrEnum):
    """Why an endpoint turned a request away, where it said so."""

    UNKNOWN = "unknown"
    CONCURRENCY = "concurrency"
    REQUESTS = "requests"  # the rate of requests
    TOKENS = "tokens"  # the rate of tokens
    OVERLOADED = "overloaded"


class AttemptEnded(Struct, frozen=True):
    """Client to dispatcher: what became of an attempt.

    Exactly one of `values` and `error` is set. `usage` is what was billed, which an unusable answer is too;
    `unmetered`: the endpoint did not report it, or not in full.
    `correction` goes with `FailureKind.UNUSABLE`. `replayed`: the endpoint repeated an answer that it had
    billed before under the same idempotency key. `waited_s` was spent in the client's backlog, `took_s` on
    the wire; both 0 where it never started. `reused`: the journal had the answer. `streamed`: characters that
    were, the first `began_s` after the start. `is_second`: one that did or did not ask for a stream failed.
    `sent`: bytes of the request may have left, so that it may have been billed.
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


class SetShare(Struct, frozen=True):
    """Dispatcher to client: your slots at this endpoint from now on, `reserved` for what goes `first`."""

    endpoint: str
    slots: int
    reserved: int = 0


class Abort(Struct, frozen=True):
    """Dispatcher to client: stop these attempts, started or not; each ends as cancelled."""

    ids: tuple[int, ...]


class TakeOver(Struct, frozen=True):
    """A dispatcher that begins to a client: drop what waits, and tell me what you have in flight.

    Answered by a tuple of `Held`. What ends from then on is kept until `Adopt` asks for it.
    """


class Held(Struct, frozen=True):
    """Client to dispatcher: an attempt that an earlier dispatcher had me make is under way."""

    id: int
    call_key: str
    endpoint: str
    number: int
    estimate: Usage
    task: str = ""
    run_id: str = ""


class Adopt(Struct, frozen=True):
    """Dispatcher to client: tell me the end of this attempt. Answered by `AttemptEnded`."""

    id: int


class StreamMark(Struct, frozen=True):
    """How far the stream of an attempt had come: so many characters, `after_s` seconds after its start."""

    attempt: int
    streamed: int
    after_s: float


class WatchStreams(Struct, frozen=True):
    """Dispatcher to client: tell me as soon as something has been streamed."""


class StreamProgress(Struct, frozen=True):
    """Client to dispatcher: what has been streamed since the last time, in the order in which it came."""

    marks: tuple[StreamMark, ...]
