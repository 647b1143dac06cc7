"""Selects the fields that a review asks about by default, and checks its options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from actors.core.errors import ConfigError
from actors.core.journal import keys
from actors.core.journal.rows import load_report
from actors.core.messages.journal import RunView
from actors.core.messages.tasks import Report, Task
from actors.journal.stores.base import Store
from cluster.config.problem import nearest
from cluster.golden.figures import CONFIDENCE, confidence_column
from cluster.golden.records import Order
from cluster.golden.standing import GoldenSet
from cluster.records.records import CODEC, found_run
from cluster.report.item_columns import ItemColumn
from cluster.report.tables.columns import Layout
from cluster.review.choosing import CHANGED, FAILED, REVIEWED, Chosen, ReviewSelection


@dataclass(frozen=True, slots=True)
class ReviewOptions:
    """The options of the command. `other` is a run that is compared with, openly or blind."""

    fields: tuple[str, ...] = ()
    confidence: str | None = None
    order: Order | None = None
    other: str = ""
    is_blind: bool = False
    only: str | None = None
    most: int = 100
    seed: int = 0


def selection_of(store: Store, run: RunView, options: ReviewOptions) -> ReviewSelection:
    """Return what a review of a run shows. Raises `ConfigError` for options that do not fit the run."""
    known = Layout.stored(run.config).outputs
    columns = _columns(known, options)
    if options.other:
        _refuse_other(store, run, options, columns)
    confidence = confidence_column(known, columns[0], options.confidence)
    if confidence is None and options.confidence is not None:
        raise ConfigError(f"--confidence {options.confidence}: {_unknown(options.confidence, known)}")
    selection = ReviewSelection(
        columns=columns,
        all_columns=known,
        order=Order.RANDOM,
        confidence=confidence,
        other=options.other,
        is_blind=options.is_blind,
        only=_only(options.only),
        most=options.most,
        seed=options.seed,
    )
    has_agreement = bool(options.other) or any(selection.peers(column) for column in columns)
    if options.only == CHANGED and not has_agreement:
        raise ConfigError("--only changed needs another run: --against RUN_ID or --blind RUN_ID")
    order = options.order or _order(has_agreement=has_agreement, has_confidence=confidence is not None)
    if order is Order.AGREEMENT and not has_agreement:
        raise ConfigError("--order agreement needs another run, or two steps that answer the same field")
    if order is Order.CONFIDENCE and confidence is None:
        raise ConfigError("--order confidence needs a field with numbers: --confidence NAME")
    return replace(selection, order=order)


def _order(*, has_agreement: bool, has_confidence: bool) -> Order:
    if has_agreement:
        return Order.AGREEMENT
    return Order.CONFIDENCE if has_confidence else Order.RANDOM


def _columns(known: Sequence[ItemColumn], options: ReviewOptions) -> tuple[ItemColumn, ...]:
    """Return the named columns. By default a blind comparison shows all, and other reviews judge one."""
    by_name = {column.name: column for column in known}
    for name in options.fields:
        if name not in by_name:
            raise ConfigError(f"--field {name}: {_unknown(name, known)}")
        if by_name[name].spec.type == "vector":
            raise ConfigError(f"--field {name}: a person cannot judge a vector")
    if options.fields:
        return tuple(by_name[name] for name in dict.fromkeys(options.fields))
    usable = [
        column
        for column in known
        if column.spec.type != "vector" and column.field != CONFIDENCE and options.confidence != column.name
    ]
    if not usable:
        raise ConfigError("the run has no answer that a person can judge; --field NAME chooses a column")
    if options.is_blind:
        return tuple(usable)
    return (next((column for column in usable if column.has_choices), usable[0]),)


def _unknown(name: str, known: Sequence[ItemColumn]) -> str:
    names = [column.name for column in known]
    near = nearest(name, names)
    return f"the run has no such field; did you mean {near}?" if near else f"known: {', '.join(names)}"


def _refuse_other(store: Store, run: RunView, options: ReviewOptions, columns: Sequence[ItemColumn]) -> None:
    """Raise `ConfigError` if the other run cannot be compared with."""
    other = found_run(store, options.other)
    if other.run_id == run.run_id:
        raise ConfigError(f"{run.run_id} cannot be compared with itself")
    theirs = {(column.step, column.field) for column in Layout.stored(other.config).outputs}
    lacking = [column.name for column in columns if (column.step, column.field) not in theirs]
    if lacking:
        raise ConfigError(
            f"run {other.run_id} does not answer {', '.join(lacking)}: choose a common field with --field"
        )


def _only(text: str | None) -> str | tuple[str, str] | None:
    if text is None or text in (FAILED, CHANGED, REVIEWED):
        return text
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ConfigError(f"--only {text}: wanted is {FAILED}, {CHANGED}, {REVIEWED}, or COLUMN=VALUE")
    return name, value


def report_of(store: Store, run_id: str, key: str) -> Report | None:
    """Return the report of a task, None if it has not ended."""
    data = store.get(keys.report(run_id, key))
    return None if data is None else load_report(CODEC, data)


def decided_entries(store: Store, run_id: str, golden: GoldenSet) -> Iterator[tuple[Task, Report]]:
    """Yield the tasks with decisions, and their reports."""
    for key in dict.fromkeys(record.task for record in golden):
        report = report_of(store, run_id, key)
        if report is not None:
            yield Task(key, {}), report


def left_out_text(chosen: Chosen) -> str:
    """Return how many items are not shown, and why; empty if none."""
    counts = (
        (chosen.decided, "in the golden set already (--only reviewed)"),
        (chosen.failed, "without an answer (--only failed)"),
        (chosen.equal, "with equal answers in both runs"),
        (chosen.unmatched, "that the other run lacks"),
    )
    return ", ".join(f"{count:,} {text}" for count, text in counts if count)
