"""Reads from a store what the sampled rows of a run have cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from actors.core.journal import keys
from actors.core.journal.reads import read_attempts
from actors.core.journal.rows import load_report
from actors.core.messages.journal import AttemptView
from actors.core.messages.tasks import Report, TaskState
from actors.journal.stores.base import Store
from cluster.estimate.count import DrawnRow
from cluster.records.reading import all_tasks
from cluster.records.records import CODEC

_ANSWERED = "answered"  # the outcome of an attempt with a usable answer


@dataclass(frozen=True, slots=True)
class RowCost:
    """The cost of one sampled row. `steps` are the names of those that were answered."""

    counted: int
    input_tokens: int
    output_tokens: int
    usd: float
    calls: int
    steps: frozenset[str]
    failed: bool


@dataclass(frozen=True, slots=True)
class SampleCost:
    """The cost of the sample. `latency_s` and `in_flight` are means, None if no attempt is stored."""

    rows: tuple[RowCost, ...]
    latency_s: float | None
    in_flight: float | None
    repeated: int

    @property
    def failed(self) -> int:
        """The number of rows that failed."""
        return sum(row.failed for row in self.rows)


def ended_tasks(store: Store | None, run_id: str) -> dict[str, str]:
    """Return the states of the tasks of a run that have ended, by key."""
    if store is None or not run_id:
        return {}
    return {task.key: task.state for task in all_tasks(store, run_id) if task.ended_at is not None}


def sample_cost(store: Store | None, run_id: str, drawn: Sequence[DrawnRow]) -> SampleCost | None:
    """Return what the sample `drawn` has cost in a run; None unless the run has ended all of its rows.

    Those that ended first are no random sample: short answers end first.
    """
    if store is None or not drawn:
        return None
    rows, repeated = [], 0
    attempts: list[AttemptView] = []
    for row in drawn:
        data = store.get(keys.report(run_id, row.task.key))
        if data is None:
            return None
        report = load_report(CODEC, data)
        rows.append(_row_cost(row, report))
        repeated += report.calls.unusable
        attempts += read_attempts(store, CODEC, run_id, row.task.key)
    latency_s, in_flight = _pace(attempts)
    return SampleCost(tuple(rows), latency_s, in_flight, repeated)


def _row_cost(row: DrawnRow, report: Report) -> RowCost:
    return RowCost(
        counted=row.counted,
        input_tokens=report.usage.input_tokens,
        output_tokens=report.usage.output_tokens,
        usd=report.usage.cost_usd,
        calls=report.calls.billed,
        steps=frozenset(name for item in report.items for name in item.values),
        failed=report.state in (TaskState.FAILED, TaskState.CANCELLED),
    )


def _pace(attempts: Iterable[AttemptView]) -> tuple[float | None, float | None]:
    """Return the mean latency of the answered attempts, and how many of them were in flight on average."""
    spans = [
        (attempt.began_at, attempt.ended_at)
        for attempt in attempts
        if attempt.ended_at is not None and attempt.outcome == _ANSWERED
    ]
    if not spans:
        return None, None
    latency_s = fmean(ended - began for began, ended in spans)
    wall_s = max(ended for _, ended in spans) - min(began for began, _ in spans)
    return latency_s, max(1.0, latency_s * len(spans) / wall_s) if wall_s > 0 else None
