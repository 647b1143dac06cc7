"""Messages about tasks: what is submitted, what a source returns, and the report."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from msgspec import Struct, field

from actors.core.errors import Failure
from actors.core.messages.values import CallCounts, Json, Priority, Usage


class TaskState(enum.StrEnum):
    """How a task ended."""

    SUCCEEDED = "succeeded"
    PARTIAL = "partial"  # a report was made, but a source, an evaluation or a dimension is missing
    FAILED = "failed"
    CANCELLED = "cancelled"


class Task(Struct, frozen=True):
    """One thing to report on. `params` are the caller's own values, usable in templates beside ``{key}``."""

    key: str
    params: Mapping[str, Json] = field(default_factory=dict)


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


class Submit(Struct, frozen=True):
    """To a pipeline: make a report on this task, as part of this run.

    Answered by the `Report`; where `until_accepted` is set, as soon as the task is durable, by `Accepted`.
    `expires_in_s` is 0 for the configured deadline. `group` names tasks that were handed in together.
    `idempotency` names the request, once for each tenant; `digest` tells whether a repetition says the same.
    """

    run_id: str
    task: Task
    tenant: str = ""
    priority: Priority = Priority.BATCH
    expires_in_s: float = 0.0
    until_accepted: bool = False
    group: str = ""
    idempotency: str = ""
    digest: str = ""


class Cancel(Struct, frozen=True):
    """To a pipeline, and from there to the dispatcher: end this task, its calls in flight included."""

    task: str
    run_id: str = ""
