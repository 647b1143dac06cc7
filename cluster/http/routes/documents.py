"""The form of the answers, for the OpenAPI document. Tests compare the answers with it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from cluster.http.guard.problems import MEDIA_TYPE

STREAM_TYPE = "text/event-stream"


EventKind = Literal["accepted", "started", "collected", "evaluated", "dimension", "ended", "reopened"]


def _ref(model: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model}"}


class FaultDocument(BaseModel):
    """One mistake in a request."""

    pointer: Annotated[str, Field(description="where: a JSON pointer, or the name of a header or parameter")]
    detail: str


class ProblemDocument(BaseModel):
    """An error as RFC 9457 defines it: what happened, and what to do."""

    type: Annotated[str, Field(examples=["urn:headrace:problem:backlog-full"])]
    title: str
    status: int
    detail: str
    errors: list[FaultDocument] = Field(default_factory=list)
    retry_after_s: float | None = None


class TaskAccepted(BaseModel):
    """A task is durable and will end exactly once."""

    id: str
    key: str
    state: str
    is_new: Annotated[bool, Field(description="false: it was accepted before, and this changed nothing")]
    accepted_at: str
    links: dict[str, str]


class TaskDocument(BaseModel):
    """A task. `calls`, `tokens`, `cost_usd` and `elapsed_s` are present once it has ended.

    `cost_usd` is null if no price is known, here and in the other documents.
    """

    id: str
    key: str
    state: Annotated[str, Field(description="accepted, succeeded, partial, failed or cancelled")]
    params: dict[str, Any]
    priority: str
    batch: str | None
    accepted_at: str
    ended_at: str | None
    links: dict[str, str]
    elapsed_s: float | None = None
    calls: dict[str, int] | None = None
    tokens: dict[str, int] | None = None
    cost_usd: float | None = None


class ItemDocument(BaseModel):
    """The outcome of one item. `values` are the answers by step and field; a step not asked has none."""

    source: str
    item: str
    state: str
    values: dict[str, dict[str, Any]]
    error: str | None
    cost_usd: float | None


class ReportDocument(BaseModel):
    """A report: a line of a result file. `items` is present if it was asked for."""

    key: str
    state: str
    overall: float | None
    dimensions: list[dict[str, Any]]
    sources: dict[str, Any]
    calls: dict[str, int]
    tokens: dict[str, int]
    cost_usd: float | None
    elapsed_s: float
    errors: list[str] = Field(default_factory=list)
    items: list[ItemDocument] | None = None


class TaskPage(BaseModel):
    """Some tasks in order of acceptance. `next` is a cursor, null on the last page."""

    tasks: list[TaskDocument]
    next: str | None


class BatchRefusal(BaseModel):
    """A line of a batch, or an entry counted from 1, that was not accepted."""

    line: int
    status: int
    detail: str


class BatchAccepted(BaseModel):
    """The result of submitting a batch. `errors` describes the first hundred refused lines."""

    id: str
    accepted: int
    new: int
    refused: int
    errors: list[BatchRefusal]
    links: dict[str, str]


class BatchDocument(BaseModel):
    """The progress of a batch."""

    id: str
    state: Annotated[str, Field(description="running, succeeded, partial, failed or cancelled")]
    tasks: dict[str, int]
    links: dict[str, str]


class EventDocument(BaseModel):
    """The data of an event. The members of `data` depend on its `kind`; most are a few numbers or a state."""

    task: Annotated[str, Field(description="the task's id")]
    at: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    kind: EventKind
    data: dict[str, Any]


class StreamedEvent(BaseModel):
    """A server-sent event, as OpenAPI 3.2 models it. Comments between events keep the connection open.

    An event `error` has no id; its data is a problem document, and it ends the stream: connect again.
    """

    event: EventKind | Literal["error"]
    id: Annotated[str | None, Field(pattern="^[0-9]{1,19}$", description="for Last-Event-ID")] = None
    data: Annotated[str, Field(json_schema_extra={"contentMediaType": "application/json"})]


class AttemptDocument(BaseModel):
    """One attempt at a call. `outcome` is null while it is in flight, or if its end is not known."""

    call: str
    number: int
    endpoint: str
    began_at: str
    ended_at: str | None
    outcome: Annotated[str | None, Field(description="answered, reused, or the kind of the failure")]
    message: str
    billed: bool
    in_doubt: bool
    hedge: bool
    repeats: Annotated[int, Field(description="attempts with this outcome that the entry stands for")]
    tokens: dict[str, int]
    cost_usd: float | None


class AttemptPage(BaseModel):
    """The first attempts of a task. `has_more`: there are further ones."""

    attempts: list[AttemptDocument]
    has_more: bool


class GaugeDocument(BaseModel):
    """The values of a gauge in each point: the least, the mean over time, and the most."""

    least: list[int]
    mean: list[float]
    most: list[int]


class EndpointHistoryDocument(BaseModel):
    """What happened at an endpoint, a value for each point. Counts are of the point alone."""

    name: str
    limit: GaugeDocument
    in_flight: GaugeDocument
    refused: list[int]
    cuts: Annotated[list[int], Field(description="the limit was cut, or the breaker opened")]
    queued: GaugeDocument | None = None
    answered: list[int] | None = None
    failed: list[int] | None = None
    in_doubt: list[int] | None = None


class HistoryDocument(BaseModel):
    """The history of the endpoints since the run began, in at most 240 points of unequal length.

    Point i covers `at[i]` to `until[i]`, in seconds since 1970. Divide a count by `active_s[i]` for a rate.
    """

    at: list[float]
    until: list[float]
    active_s: list[float]
    gaps: Annotated[
        list[int], Field(description="the numbers of the points before which no dispatcher was running")
    ]
    endpoints: list[EndpointHistoryDocument]


class CauseDocument(BaseModel):
    """A cause of failures: the number of tasks, the error of one, and similar errors of others."""

    tasks: int
    cause: str
    others: list[str]


class FailuresDocument(BaseModel):
    """Why tasks failed or are partial: of the latest tasks, as many as `looked_at` had such an end."""

    looked_at: int
    causes: list[CauseDocument]


class PipelineDocument(BaseModel):
    """The state of the actors now; an actor that does not answer is null or missing."""

    binding: Annotated[str, Field(description="what limits the rate now, in words")]
    stopped_by: Annotated[
        str | None,
        Field(description="why no endpoint can answer the calls of a step, with the remedy; tasks wait"),
    ]
    tasks: dict[str, Any]
    limits: dict[str, Any]
    calls: dict[str, int] | None
    tokens: dict[str, int] | None
    cost_usd: float | None
    endpoints: list[dict[str, Any]]
    sources: list[dict[str, Any]]
    recent_failures: list[str]
    journal: dict[str, Any] | None


class Health(BaseModel):
    """Whether the service is alive, or ready."""

    status: str


_WHAT = {
    400: "The body is not JSON, or is incomplete; or the cursor belongs to another list.",
    401: "A valid bearer token is required.",
    403: "No token is configured, and the call comes from beyond this machine or from another web page.",
    404: "It does not exist.",
    405: "The method is not allowed: see Allow.",
    408: "The body did not arrive in time.",
    409: "The task has not ended yet: see Retry-After.",
    410: "The task was cancelled and has no report.",
    413: "The body is too large.",
    414: "The address is too long.",
    415: "The body has another media type.",
    422: "The request is invalid, or contradicts an earlier one.",
    429: "Your share of the backlog, or of streams and batches, is full: see Retry-After.",
    431: "The headers are too large.",
    500: "A defect of this program.",
    503: "The backlog is full, or an actor or the store does not answer: see Retry-After.",
}
_EVERYWHERE = (401, 403, 405, 414, 431, 500, 503)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of these problems and of those of every request."""
    schema = _ref("ProblemDocument")
    return {
        status: {"description": _WHAT[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({*statuses, *_EVERYWHERE})
    }


def event_stream(description: str) -> dict[str, Any]:
    """Return the OpenAPI description of an answer that is a stream of events."""
    schema = {"type": "array", "items": _ref("StreamedEvent")}
    return {"content": {STREAM_TYPE: {"schema": schema}}, "description": description}


def with_content(streamed_event: dict[str, Any]) -> None:
    """Add to the schema of a streamed event a reference to its data, which pydantic cannot express."""
    data = streamed_event["properties"]["data"]
    data["contentSchema"] = {"anyOf": [_ref("EventDocument"), _ref("ProblemDocument")]}
