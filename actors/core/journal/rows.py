"""The journal's rows as JSON documents.

Numerous rows are lists, since the names of fields would take most of their space. Other rows are objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import asdict

from actors.core.errors import Blame, Failure, FailureKind, StoreError
from actors.core.journal.batch import Codec
from actors.core.journal.format import OLDEST
from actors.core.messages.journal import Answer, LoggedEvent, TaskView
from actors.core.messages.tasks import (
    DimensionResult,
    Fetched,
    Item,
    ItemResult,
    ItemState,
    Report,
    SourceOutcome,
    TaskState,
)
from actors.core.messages.values import CallCounts, Json, Priority, Usage

ACCEPTED = "accepted"  # the state of a task without a report
RUNNING = "running"  # the state of a run that is not closed
INTERRUPTED = "interrupted"  # the state of a run that was closed with open tasks and can be resumed
REMOVING = "removing"  # the state of a run that is being removed
RESTORING = "restoring"  # the state of a run whose rows a backup has not yet restored
DAMAGED = "damaged"  # the state in which a run with an unreadable row is listed; it is never stored
INCOMPLETE = (REMOVING, RESTORING)  # states in which a run lacks rows


class RunRow(Struct, frozen=True):
    """The row of a run. `created_by` is the life of the journal that began it.

    `config_format` is the format version in which `config` was written. Rows of the first version lack it.
    """

    run_id: str
    name: str
    state: str
    began_at: float
    ended_at: float | None
    config: Mapping[str, Json]
    origin: Mapping[str, Json]
    summary: Mapping[str, Json]
    created_by: str
    config_format: int = OLDEST


def dump_run(codec: Codec, row: RunRow) -> bytes:
    """Return the bytes of a run's row."""
    return codec.dumps({name: getattr(row, name) for name in RunRow.__struct_fields__})


def load_run(codec: Codec, data: bytes) -> RunRow:
    """Return a run's row. Raises `StoreError` if it has another form."""
    try:
        return RunRow(**codec.loads(data))
    except TypeError as error:
        raise StoreError(f"the store is damaged: the row of a run has another form: {error}") from error


def dump_task(codec: Codec, view: TaskView) -> bytes:
    """Return the bytes of a task's row."""
    return codec.dumps({name: getattr(view, name) for name in TaskView.__struct_fields__})


def load_task(codec: Codec, data: bytes) -> TaskView:
    """Return a task's row."""
    row = codec.loads(data)
    row["priority"] = Priority(row["priority"])
    return TaskView(**row)


def dump_event(codec: Codec, event: LoggedEvent) -> bytes:
    """Return the bytes of an event."""
    return codec.dumps([event.id, event.task_id, event.task, event.at, event.kind, event.data])


def load_event(codec: Codec, data: bytes) -> LoggedEvent:
    """Return an event."""
    return LoggedEvent(*codec.loads(data))


def dump_answer(codec: Codec, answer: Answer) -> bytes:
    """Return the bytes of an answer that is stored by the content of its call."""
    return codec.dumps([answer.values, answer.usage.as_list()])


def load_answer(codec: Codec, data: bytes) -> Answer:
    """Return an answer that is stored by the content of its call."""
    values, usage = codec.loads(data)
    return Answer(values, Usage(*usage))


# ---- reports ---------------------------------------------------------------------------------------------


def dump_report(codec: Codec, report: Report) -> bytes:
    """Return the bytes of a report, with numbers in full precision."""
    document = {name: getattr(report, name) for name in Report.__struct_fields__}
    document["dimensions"] = [
        [getattr(each, name) for name in DimensionResult.__struct_fields__] for each in report.dimensions
    ]
    document["sources"] = {name: [each.items, each.error] for name, each in report.sources.items()}
    document["calls"] = asdict(report.calls)
    document["usage"] = report.usage.as_list()
    document["items"] = [_list_result(each) for each in report.items]
    return codec.dumps(document)


def load_report(codec: Codec, data: bytes) -> Report:
    """Return a report."""
    document = codec.loads(data)
    document["state"] = TaskState(document["state"])
    document["dimensions"] = tuple(map(_dimension, document["dimensions"]))
    document["sources"] = {name: SourceOutcome(*each) for name, each in document["sources"].items()}
    document["calls"] = CallCounts(**document["calls"])
    document["usage"] = Usage(*document["usage"])
    document["errors"] = tuple(document["errors"])
    document["items"] = tuple(map(_item_result, document.get("items", ())))  # earlier reports lack them
    return Report(**document)


def _dimension(row: list[Json]) -> DimensionResult:
    name, score, low, high, n, finding, evidence, flags = row
    return DimensionResult(name, score, low, high, n, finding, tuple(evidence), tuple(flags))


def _list_result(result: ItemResult) -> list[Json]:
    error = None if result.error is None else _list_failure(result.error)
    usage = result.usage.as_list()
    row = [result.item_id, result.source, result.state.value, result.values, error, result.step, usage]
    return row if result.text is None else [*row, result.text]


def _item_result(row: list[Json]) -> ItemResult:
    item_id, source, state, values, error, step, usage, *text = row
    failure = None if error is None else _failure(error)
    return ItemResult(item_id, source, ItemState(state), values, failure, step, Usage(*usage), *text)


# ---- data from sources -----------------------------------------------------------------------------------


def dump_fetched(codec: Codec, fetched: Iterable[Fetched]) -> bytes:
    """Return the bytes of the data from a task's sources."""
    return codec.dumps(
        [
            [
                each.source,
                [_list_item(item) for item in each.items],
                None if each.error is None else _list_failure(each.error),
                each.attempts,
            ]
            for each in fetched
        ]
    )


def load_fetched(codec: Codec, data: bytes) -> tuple[Fetched, ...]:
    """Return the data from a task's sources."""
    return tuple(
        Fetched(source, tuple(map(_item, items)), error and _failure(error), attempts)
        for source, items, error, attempts in codec.loads(data)
    )


def _list_item(item: Item) -> list[Json]:
    row: list[Json] = [item.id, item.source, item.text, item.fields]
    return row if item.error is None else [*row, _list_failure(item.error)]


def _item(row: list[Json]) -> Item:
    item_id, source, text, fields, *error = row
    return Item(item_id, source, text, fields, _failure(error[0]) if error else None)


def _list_failure(failure: Failure) -> list[Json]:
    return [failure.kind.value, failure.blame.value, failure.message, failure.retry_after_s]


def _failure(row: list[Json]) -> Failure:
    kind, blame, message, retry_after_s = row
    return Failure(FailureKind(kind), Blame(blame), message, retry_after_s)
