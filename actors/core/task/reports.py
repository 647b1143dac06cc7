"""Builds a task's report: its state, its overall score, and its gaps.

Rule 1: a report never hides a gap. A missing source, evaluation or dimension makes the task partial and is
listed in `errors` with its cause. A task without any result has failed.
Rule 2: the size of a report is bounded: equal causes share a line, and the number of lines is bounded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct, field

from actors.core.errors import Failure
from actors.core.messages.tasks import (
    DimensionResult,
    Fetched,
    ItemResult,
    ItemState,
    Report,
    SourceOutcome,
    Task,
    TaskState,
)
from actors.core.messages.values import CallCounts, Json, Usage
from actors.core.task.dimensions import DimensionSettings
from actors.core.task_names import given_name
from actors.core.texts import cut

MAX_ERRORS = 50  # lines
MAX_ERROR = 2_000  # characters
NAMED = 3  # items named on a line about many


class TaskOutcome(Struct, frozen=True):
    """The outcome of a task. `fetched` has one entry per source, and `items` one per item.

    A task without sources has no `fetched`, and is its own single item.

    `failed_dimensions` is keyed by dimension name. A dimension may have both a result and a failure: if only
    its finding failed, its numbers are kept.
    """

    fetched: tuple[Fetched, ...]
    items: tuple[ItemResult, ...]
    results: tuple[DimensionResult, ...]
    failed_dimensions: Mapping[str, Failure] = field(default_factory=dict)
    calls: CallCounts = field(default_factory=CallCounts)
    usage: Usage = field(default_factory=Usage)
    elapsed_s: float = 0.0


def combine(
    task: Task,
    settings: Sequence[DimensionSettings],
    outcome: TaskOutcome,
    required_sources: Collection[str] = (),
) -> Report:
    """Return the task's report, with dimensions and sources in a fixed order.

    A task has failed if a required source failed, if there is no item or no evaluation, or if dimensions are
    configured and none has a score. A task that is its own item has failed if that has. A task is partial if
    anything else is missing. Otherwise it has succeeded.
    """
    by_name = {result.name: result for result in outcome.results}
    results = tuple(by_name[dimension.name] for dimension in settings if dimension.name in by_name)
    if outcome.fetched:
        fatal = list(_fatal(task, settings, outcome, results, required_sources))
        missing = [*_missing_items(outcome), *_missing_dimensions(settings, outcome, by_name)]
    else:
        fatal, missing = _gaps_of_own_item(outcome.items[0])
        if not fatal and not missing:
            missing = list(_missing_dimensions(settings, outcome, by_name))
    if fatal:
        state = TaskState.FAILED
    elif missing:
        state = TaskState.PARTIAL
    else:
        state = TaskState.SUCCEEDED
    return Report(
        key=task.key,
        state=state,
        overall=overall(settings, results),
        dimensions=results,
        sources={
            fetched.source: SourceOutcome(
                len(fetched.items), None if fetched.error is None else cut(str(fetched.error), MAX_ERROR)
            )
            for fetched in sorted(outcome.fetched, key=lambda fetched: fetched.source)
        },
        calls=outcome.calls,
        usage=outcome.usage,
        elapsed_s=outcome.elapsed_s,
        errors=_bounded([*fatal, *missing]),
        items=outcome.items,
    )


def overall(settings: Sequence[DimensionSettings], results: Iterable[DimensionResult]) -> float | None:
    """Return the weighted mean of the scores, from 0 (worst) to 1 (best), None if no score has a weight.

    Each score counts as its position on its field's scale. With a negative weight lower is better, and the
    position is measured from the upper end.
    """
    return _mean(settings, {result.name: result.score for result in results})


def overall_interval(
    settings: Sequence[DimensionSettings], results: Sequence[DimensionResult]
) -> tuple[float, float] | None:
    """Return the interval of `overall`: the weighted means of the ends of the scores' intervals.

    It is the widest that is possible: the dimensions rest on the same items, so their errors may add up.
    """
    ends = {
        result.name: [result.score if end is None else end for end in (result.low, result.high)]
        for result in results
        if result.score is not None
    }
    known = [one for one in settings if one.name in ends]
    worst = _mean(known, {one.name: ends[one.name][one.weight < 0] for one in known})
    best = _mean(known, {one.name: ends[one.name][one.weight > 0] for one in known})
    return None if worst is None or best is None else (worst, best)


def _mean(settings: Sequence[DimensionSettings], values: Mapping[str, float | None]) -> float | None:
    total = weight = 0.0
    for dimension in settings:
        value = values.get(dimension.name)
        if value is None:
            continue
        position = (value - dimension.minimum) / (dimension.maximum - dimension.minimum)
        position = min(max(position, 0.0), 1.0)
        total += abs(dimension.weight) * (position if dimension.weight > 0 else 1 - position)
        weight += abs(dimension.weight)
    return total / weight if weight else None


def report_line(report: Report, *, is_priced: bool) -> dict[str, Json]:
    """Return the report as a line of the results file: a JSON document, scores with six decimals.

    `is_priced`: the prices of all endpoints are known.
    """
    return {
        "key": report.key,
        "state": report.state.value,
        "overall": _rounded(report.overall),
        "dimensions": [
            {
                "name": dimension.name,
                "score": _rounded(dimension.score),
                "low": _rounded(dimension.low),
                "high": _rounded(dimension.high),
                "n": dimension.n,
                "finding": dimension.finding,
                "evidence": list(dimension.evidence),
                "flags": list(dimension.flags),
            }
            for dimension in report.dimensions
        ],
        "sources": {
            name: {"items": source.items, "error": source.error} for name, source in report.sources.items()
        },
        "calls": {
            "planned": report.calls.planned,
            "billed": report.calls.billed,
            "reused": report.calls.reused,
            "in_doubt": report.calls.in_doubt,
            "unusable": report.calls.unusable,
            "refused": report.calls.refused,
            "estimated": report.calls.estimated,
        },
        "tokens": report.usage.kinds(),
        "cost_usd": report.usage.known_cost(is_priced=is_priced),
        "elapsed_s": round(report.elapsed_s, 3),
        "errors": list(report.errors),
    }


def _gaps_of_own_item(item: ItemResult) -> tuple[list[str], list[str]]:
    """Return why a task that is its own item failed, and what it lacks. `item` holds the cause in full."""
    if item.error is None:
        return [], []
    if item.state is ItemState.SKIPPED:
        return [], [item.error.message]
    return [" ".join(str(item.error).split())], []


def _fatal(
    task: Task,
    settings: Sequence[DimensionSettings],
    outcome: TaskOutcome,
    results: Sequence[DimensionResult],
    required_sources: Collection[str],
) -> Iterator[str]:
    """Yield the reasons why the task failed, none if it did not fail."""
    answered = {fetched.source for fetched in outcome.fetched if fetched.error is None}
    for source in sorted(set(required_sources) - answered):
        yield f"required source {source} failed"
    if not any(fetched.items for fetched in outcome.fetched):
        if answered:
            yield f"no data: no source has an item about {given_name(task.key)}"
        else:
            yield f"no data: all sources failed for {given_name(task.key)}"
    elif not any(item.values or item.error is None for item in outcome.items):
        yield "no item could be evaluated"
    elif settings and all(result.score is None for result in results):
        yield "no dimension has a score"


def _missing_items(outcome: TaskOutcome) -> Iterator[str]:
    """Yield the sources and items that are missing, with their causes."""
    for fetched in sorted(outcome.fetched, key=lambda fetched: fetched.source):
        if fetched.error is not None:
            tries = "1 try" if fetched.attempts == 1 else f"{fetched.attempts} tries"
            yield f"source {fetched.source} failed after {tries}: {fetched.error}"
    by_cause: dict[tuple[ItemState, str], list[str]] = {}
    for item in sorted(outcome.items, key=lambda item: item.item_id):
        if item.error is not None:
            by_cause.setdefault((item.state, str(item.error)), []).append(item.item_id)
    for (state, cause), item_ids in by_cause.items():
        yield f"evaluation of {_enumerated(item_ids)} {state}: {cause}"


def _missing_dimensions(
    settings: Sequence[DimensionSettings], outcome: TaskOutcome, by_name: Mapping[str, DimensionResult]
) -> Iterator[str]:
    """Yield the dimensions that failed or have no score, with the cause."""
    for dimension in settings:
        failure_of_dimension = outcome.failed_dimensions.get(dimension.name)
        result = by_name.get(dimension.name)
        if failure_of_dimension is not None:
            yield f"dimension {dimension.name} failed: {failure_of_dimension}"
        elif result is None or result.score is None:
            yield f"dimension {dimension.name} has no score: no evaluation says anything about it"


def _enumerated(item_ids: Sequence[str]) -> str:
    named = ", ".join(item_ids[:NAMED])
    rest = len(item_ids) - NAMED
    return f"{named} and {rest} more" if rest > 0 else named


def _bounded(lines: Sequence[str]) -> tuple[str, ...]:
    if len(lines) <= MAX_ERRORS:
        return tuple([cut(line, MAX_ERROR) for line in lines])
    shown = [cut(line, MAX_ERROR) for line in lines[: MAX_ERRORS - 1]]
    return (*shown, f"and {len(lines) - len(shown)} more errors")


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 6)
