"""Messages about tasks: submission, the data from sources, and the report."""

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
    """One subject of a report. `params` are values of the caller, usable in templates besides ``{key}``."""

    key: str
    params: Mapping[str, Json] = field(default_factory=dict)


class Item(Struct, frozen=True):
    """One piece of data about a task. `id` begins with the source's name and is unique within the task.

    An item with an `error` could not be read. It has no text, and fails without a call.
    """

    id: str
    source: str
    text: str
    fields: Mapping[str, Json] = field(default_factory=dict)
    error: Failure | None = None


class Fetch(Struct, frozen=True):
    """Pipeline to source: return all data about this task. Answered by `Fetched`."""

    task: Task
    expires_in_s: float


class Fetched(Struct, frozen=True):
    """Source to pipeline: the items, or the error. `attempts` counts the tries.

    `size` is the number of bytes of the items as JSON, 0 if the source did not measure it.
    """

    source: str
    items: tuple[Item, ...]
    error: Failure | None = None
    attempts: int = 1
    size: int = 0


class ItemState(enum.StrEnum):
    """How the evaluation of an item ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"  # a placeholder of the prompt had no value: nothing was asked


RAW = "_raw"  # the name under which a form keeps the text of an answer; no field has it


class ItemResult(Struct, frozen=True):
    """The outcome of one item: the answers by name of step, and the failure, if a step failed.

    A step that was not asked has no entry in `values`. `step` names the step that failed. `usage` is that of
    the calls about the item. `text` is the item's text if the configuration asks for it (``output.text``).
    """

    item_id: str
    source: str
    state: ItemState
    values: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    error: Failure | None = None
    step: str = ""
    usage: Usage = field(default_factory=Usage)
    text: str | None = None


class DimensionResult(Struct, frozen=True):
    """One aspect of a task. `score` is within [`low`, `high`] and is computed from `n` evaluations."""

    name: str
    score: float | None
    low: float | None
    high: float | None
    n: int
    finding: str
    evidence: tuple[str, ...]
    flags: tuple[str, ...] = ()


class SourceOutcome(Struct, frozen=True):
    """The number of items that one source returned for one task, or its error."""

    items: int
    error: str | None = None


class Report(Struct, frozen=True):
    """The result of a task: findings, gaps, and cost. `items` are in the order of the sources."""

    key: str
    state: TaskState
    overall: float | None
    dimensions: tuple[DimensionResult, ...]
    sources: Mapping[str, SourceOutcome]
    calls: CallCounts
    usage: Usage
    elapsed_s: float
    errors: tuple[str, ...] = ()
    items: tuple[ItemResult, ...] = ()


class Submit(Struct, frozen=True):
    """To a pipeline: make a report on this task, as part of this run.

    Answered by the `Report`; with `until_accepted`, by `Accepted` as soon as the task is durable.
    `expires_in_s` 0 means the configured deadline. `group` names tasks that were submitted together.
    `idempotency` is a key that is unique for each tenant; a repeated request must have the same `digest`.
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
    """To a pipeline, which passes it to the dispatcher: end this task, including its calls in flight."""

    task: str
    run_id: str = ""
