"""What answers look like, for OpenAPI and its readers: tests hold the answers against it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from cluster.http.guard.problems import MEDIA_TYPE

STREAM_TYPE = "text/event-stream"


EventKind = Literal["accepted", "started", "collected", "evaluated", "dimension", "ended", "reopened"]


def _ref(model: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model}"}


class FaultDocument(BaseModel):
    """One thing that is wrong with a request."""

    pointer: Annotated[str, Field(description="where: a JSON pointer, or the name of a header or parameter")]
    detail: str


class ProblemDocument(BaseModel):
    """RFC 9457: what went wrong, and what to do."""

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
    """A task. `calls`, `tokens`, `cost_usd` and `elapsed_s` are there once it has ended."""

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


class ReportDocument(BaseModel):
    """What was found: a line of a result file."""

    key: str
    state: str
    overall: float | None
    dimensions: list[dict[str, Any]]
    sources: dict[str, Any]
    calls: dict[str, int]
    tokens: dict[str, int]
    cost_usd: float
    elapsed_s: float
    errors: list[str] = Field(default_factory=list)


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
    """What became of the lines of a batch. Of the refusals the first hundred are told."""

    id: str
    accepted: int
    new: int
    refused: int
    errors: list[BatchRefusal]
    links: dict[str, str]


class BatchDocument(BaseModel):
    """How far a batch has come."""

    id: str
    state: str
    tasks: dict[str, int]
    links: dict[str, str]


class EventDocument(BaseModel):
    """The data of an event. What `data` holds depends on its `kind`; most have a few numbers or a state."""

    task: Annotated[str, Field(description="the task's id")]
    at: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    kind: EventKind
    data: dict[str, Any]


class StreamedEvent(BaseModel):
    """A server-sent event, as OpenAPI 3.2 models it. Comments between events keep the connection open.

    An event `error` has no id; its data is a problem document, and the stream ends with it: come back.
    """

    event: EventKind | Literal["error"]
    id: Annotated[str | None, Field(pattern="^[0-9]{1,19}$", description="for Last-Event-ID")] = None
    data: Annotated[str, Field(json_schema_extra={"contentMediaType": "application/json"})]


class PipelineDocument(BaseModel):
    """What the actors say of themselves now; what does not answer is null or missing."""

    binding: Annotated[str, Field(description="what keeps it from going faster, in words")]
    stopped_by: Annotated[
        str | None, Field(description="why no endpoint can answer a call, with the remedy; tasks wait")
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
    """Whether it lives, or is ready."""

    status: str


_WHAT = {
    400: "The body is not JSON, or was cut off; or the cursor is none of this list.",
    401: "A known bearer token is needed.",
    403: "No token is configured, and the call comes from beyond this machine or from another web page.",
    404: "There is no such thing.",
    405: "Not this method: see Allow.",
    408: "The body did not come in time.",
    409: "The task has not ended yet: see Retry-After.",
    410: "The task was cancelled and has no report.",
    413: "The body is too large.",
    414: "The address is too long.",
    415: "The body has another media type.",
    422: "The request does not fit, or contradicts an earlier one.",
    429: "You hold your share of the backlog, or of streams and batches: see Retry-After.",
    431: "The headers are too large.",
    500: "A defect of this program.",
    503: "Full, or an actor or the store is away: see Retry-After.",
}
_EVERYWHERE = (401, 403, 405, 414, 431, 500, 503)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return how OpenAPI describes these problems and those that any call may meet."""
    schema = _ref("ProblemDocument")
    return {
        status: {"description": _WHAT[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({*statuses, *_EVERYWHERE})
    }


def event_stream(description: str) -> dict[str, Any]:
    """Return how OpenAPI describes an answer that is a stream of events."""
    schema = {"type": "array", "items": _ref("StreamedEvent")}
    return {"content": {STREAM_TYPE: {"schema": schema}}, "description": description}


def with_content(streamed_event: dict[str, Any]) -> None:
    """Have the schema of a streamed event name that of its data, a reference that pydantic does not take."""
    data = streamed_event["properties"]["data"]
    data["contentSchema"] = {"anyOf": [_ref("EventDocument"), _ref("ProblemDocument")]}
