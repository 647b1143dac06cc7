"""What actors say to each other: one frozen struct per message, and no behaviour.

Rule 1: every message pickles, and carries the key of the thing it is about, so that a log line can be traced.
Rule 2: times are seconds. A deadline travels as the time that is left, because clocks of hosts differ.
Rule 3: nothing here holds a secret.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from actors.core.errors import Failure

Json = Any  # what a JSON document can hold


class TaskState(enum.StrEnum):
    """How a task ended."""

    SUCCEEDED = "succeeded"
    PARTIAL = "partial"  # a report was made, but a source, an evaluation or a dimension is missing
    FAILED = "failed"
    CANCELLED = "cancelled"


class Priority(enum.IntEnum):
    """Who goes first. Lower is sooner; no class starves."""

    INTERACTIVE = 0
    BATCH = 1


# ---- the courier: many small messages in few large ones --------------------------------------------------


class Hello(Struct, frozen=True):
    """Courier to inbox, first on each connection: who asks. `number` grows with each of a sender's.

    `singly` asks for replies that are `Packed`: one on an earlier connection could not be read.
    """

    sender: str
    number: int
    singly: bool = False


class Welcome(Struct, frozen=True):
    """Inbox to courier, in answer to `Hello`: which life of the actor this is."""

    epoch: str


class Delivery(Struct, frozen=True):
    """Courier to inbox: work on these items; those replies have come."""

    items: tuple[tuple[int, Any], ...]
    acked: tuple[int, ...]


class Replies(Struct, frozen=True):
    """Inbox to courier: some replies, by item id."""

    replies: tuple[tuple[int, Any], ...]


class Packed(Struct, frozen=True):
    """One item or reply, pickled by itself: where it cannot be read, the others of its message can."""

    body: bytes


# ---- tasks -----------------------------------------------------------------------------------------------


class Task(Struct, frozen=True):
    """One thing to report on. `params` are the caller's own values, usable in templates beside ``{key}``."""

    key: str
    params: Mapping[str, Json] = field(default_factory=dict)


# ---- sources ---------------------------------------------------------------------------------------------


class Item(Struct, frozen=True):
    """One piece of data about a task. `id` is unique within the task: it begins with the source's name.

    An item with an `error` has no text: it could not be read, and is reported as failed without a call.
    """

    id: str
    source: str
    text: str
    fields: Mapping[str, Json] = field(default_factory=dict)
    error: Failure | None = None


class Fetch(Struct, frozen=True):
    """Pipeline to source: everything you have about this task."""

    task: Task
    expires_in_s: float


class Fetched(Struct, frozen=True):
    """Source to pipeline: what there is, or why there is nothing. `attempts` counts the tries made.

    `size` is the number of bytes of the items as JSON, as far as the source measured it.
    """

    source: str
    items: tuple[Item, ...]
    error: Failure | None = None
    attempts: int = 1
    size: int = 0


# ---- calls -----------------------------------------------------------------------------------------------


class Usage(Struct, frozen=True):
    """What an endpoint says an answer took, in tokens; and what that costs, in US dollars."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_usd + other.cost_usd,
        )

    def less(self, other: Usage) -> Usage:
        """Return what is left without `other`; nothing is below 0, as a sum of floats could be by a hair."""
        return Usage(
            max(0, self.input_tokens - other.input_tokens),
            max(0, self.output_tokens - other.output_tokens),
            max(0.0, self.cost_usd - other.cost_usd),
        )


class CallCounts(Struct, frozen=True):
    """What became of a number of calls. All are counts of HTTP requests, but `planned` and `reused`.

    planned: questions that had to be answered. billed: answers that the endpoint counted. reused: questions
    answered without a request. in_doubt: requests sent whose fate is unknown. unusable: billed answers that
    did not fit. refused: requests turned away unbilled. failed: requests that failed otherwise, unbilled.
    estimated: billed answers whose usage the endpoint did not report; their estimate is counted as usage.
    """

    planned: int = 0
    billed: int = 0
    reused: int = 0
    in_doubt: int = 0
    unusable: int = 0
    refused: int = 0
    failed: int = 0
    estimated: int = 0

    def __add__(self, other: CallCounts) -> CallCounts:
        return CallCounts(
            self.planned + other.planned,
            self.billed + other.billed,
            self.reused + other.reused,
            self.in_doubt + other.in_doubt,
            self.unusable + other.unusable,
            self.refused + other.refused,
            self.failed + other.failed,
            self.estimated + other.estimated,
        )


class Call(Struct, frozen=True):
    """Pipeline to dispatcher: one question to the model.

    `form` names the shape of the answer (known to the clients by their settings). `tokens` is an estimate of
    input plus output, and `output_tokens` the part of it that the answer may take. `content` names equal
    calls of all tasks and runs, and is empty where each is to have an answer of its own.
    """

    key: str
    form: str
    prompt: str
    tokens: int
    task: str
    tenant: str = ""
    priority: Priority = Priority.BATCH
    expires_in_s: float = 600.0
    run_id: str = ""
    content: str = ""
    output_tokens: int = 0


class Completion(Struct, frozen=True):
    """Dispatcher to pipeline: the end of a call. Either `values` (the fitting answer) or `error` is set."""

    key: str
    values: Mapping[str, Json] | None
    error: Failure | None
    usage: Usage
    counts: CallCounts


class Cancel(Struct, frozen=True):
    """To a pipeline, and from there to the dispatcher: end this task, its calls in flight included."""

    task: str
    run_id: str = ""


class Correction(Struct, frozen=True):
    """An answer that did not fit, and what was wrong with it: asked again with both."""

    answer: str
    problem: str


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


class Done(Struct, frozen=True):
    """The answer to a message that asks for no other."""


# ---- results ---------------------------------------------------------------------------------------------


class Evaluation(Struct, frozen=True):
    """The model's verdict on one item: the fields of ``evaluate.output``."""

    item_id: str
    source: str
    values: Mapping[str, Json]


class DimensionResult(Struct, frozen=True):
    """One aspect of a task. `score` lies in [`low`, `high`] and rests on `n` evaluations."""

    name: str
    score: float | None
    low: float | None
    high: float | None
    n: int
    finding: str
    evidence: tuple[str, ...]
    flags: tuple[str, ...] = ()


class SourceOutcome(Struct, frozen=True):
    """What one source gave for one task."""

    items: int
    error: str | None = None


class Report(Struct, frozen=True):
    """The end of a task: all that was found, what is missing, and what it cost."""

    key: str
    state: TaskState
    overall: float | None
    dimensions: tuple[DimensionResult, ...]
    sources: Mapping[str, SourceOutcome]
    calls: CallCounts
    usage: Usage
    elapsed_s: float
    errors: tuple[str, ...] = ()
