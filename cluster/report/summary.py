"""Summarizes a run: its totals, the state in which it ended, and the exit code.

Pure. Rule: memory grows with the number of sources and of distinct causes of failure, not with the number of
tasks.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from actors.core.messages.journal import ReceiptLine, TaskTally
from actors.core.messages.tasks import Report, TaskState
from actors.core.messages.values import CallCounts, Json, Usage
from cluster.report.exit_codes import FAILED, INCOMPLETE, INTERRUPTED
from cluster.report.failures import FailureCause, FailureCounts
from cluster.report.receipt import receipt_json

# The members of `calls` in a result line; a summary has `failed`, too.
COUNTS = ("planned", "billed", "reused", "in_doubt", "unusable", "refused", "estimated")


class RunState(enum.StrEnum):
    """The state in which a run ended."""

    SUCCEEDED = "succeeded"  # every task succeeded
    PARTIAL = "partial"  # every task ended, and some are partial or failed
    FAILED = "failed"  # an error stopped the run, or every task failed
    INTERRUPTED = "interrupted"  # Ctrl-C or SIGTERM ended the driver; the run can be resumed
    CANCELLED = "cancelled"  # `cancel` ended the run; some tasks are cancelled


_EXIT_CODES = {
    RunState.SUCCEEDED: 0,
    RunState.FAILED: FAILED,
    RunState.PARTIAL: INCOMPLETE,
    RunState.INTERRUPTED: INTERRUPTED,
    RunState.CANCELLED: INTERRUPTED,
}


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """The number of tasks for which a source answered, and for which it failed."""

    fetched: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The summary of a run. `results` are paths. `failures` are the causes, most frequent first.

    `tasks` counts the tasks of the input. `open_tasks` counts all tasks of the run that have not ended,
    including those that only an earlier input had; it is None if the journal did not answer. `is_complete`:
    otherwise `calls` and `usage` lack the calls of tasks without a report, which only the journal knows.
    `is_priced`: otherwise the cost lacks the answers of endpoints without a price. `receipt` divides the
    billed answers of the whole run by endpoint, model and step; it is empty if the journal did not answer.
    """

    run_id: str
    state: RunState
    elapsed_s: float
    results: tuple[str, ...] = ()
    tasks: TaskTally = field(default_factory=TaskTally)
    open_tasks: int | None = 0
    calls: CallCounts = field(default_factory=CallCounts)
    usage: Usage = field(default_factory=Usage)
    sources: Mapping[str, SourceCounts] = field(default_factory=dict)
    failures: tuple[FailureCause, ...] = ()
    stopped_by: str = ""  # the fault of all endpoints that stopped the run, which can be resumed
    is_complete: bool = True
    is_priced: bool = True
    receipt: tuple[ReceiptLine, ...] = ()

    @property
    def skipped(self) -> int:
        """The number of partial tasks that were not asked about, because a value is null."""
        return sum(one.tasks for one in self.failures if one.is_skip)


def summary_json(summary: RunSummary) -> dict[str, Json]:
    """Return the document that ``run --json`` prints."""
    tasks, usage = summary.tasks, summary.usage
    return {
        "run_id": summary.run_id,
        "state": summary.state.value,
        "elapsed_s": round(summary.elapsed_s, 3),
        "stopped_by": summary.stopped_by or None,
        "results": list(summary.results),
        "complete": summary.is_complete and summary.open_tasks is not None,
        "tasks": {
            "submitted": tasks.accepted,
            **{state.value: getattr(tasks, state) for state in TaskState},
            "open": summary.open_tasks,
        },
        "calls": {name: getattr(summary.calls, name) for name in (*COUNTS, "failed")},
        "tokens": usage.kinds(),
        "cost_usd": usage.known_cost(is_priced=summary.is_priced),
        "priced": summary.is_priced,
        "receipt": receipt_json(summary.receipt, is_priced=summary.is_priced),
        "sources": {
            name: {"fetched": counts.fetched, "failed": counts.failed}
            for name, counts in summary.sources.items()
        },
        "failures": [one.document() for one in summary.failures],
    }


def exit_code(summary: RunSummary) -> int:
    """Return the exit code for the state of the run."""
    return _EXIT_CODES[summary.state]


class RunTotals:
    """Adds up the reports of a run."""

    def __init__(self) -> None:
        self._accepted = 0
        self._ended: Counter[TaskState] = Counter()
        self._calls = CallCounts()
        self._usage = Usage()
        self._fetched: Counter[str] = Counter()
        self._unfetched: Counter[str] = Counter()
        self._failures = FailureCounts()

    def accepted(self, tasks: int = 1) -> None:
        """Count tasks of the input."""
        self._accepted += tasks

    def add(self, report: Report) -> None:
        """Count the report of a task."""
        self._ended[report.state] += 1
        self._calls += report.calls
        self._usage += report.usage
        for name, outcome in report.sources.items():
            (self._fetched if outcome.error is None else self._unfetched)[name] += 1
        self._failures.add(report)

    def tasks(self) -> TaskTally:
        """Return the counts of tasks so far."""
        return TaskTally(self._accepted, **{state.value: self._ended[state] for state in TaskState})

    def summary(
        self,
        run_id: str,
        *,
        elapsed_s: float,
        results: Collection[str] = (),
        ended_as: RunState | None = None,
        open_tasks: int | None = 0,
    ) -> RunSummary:
        """Return the totals so far. `ended_as` is None for a run that nothing ended early."""
        tasks = self.tasks()
        names = sorted(self._fetched.keys() | self._unfetched.keys())
        return RunSummary(
            run_id=run_id,
            state=ended_as or state_of(tasks, open_tasks),
            elapsed_s=elapsed_s,
            results=tuple(results),
            tasks=tasks,
            open_tasks=open_tasks,
            calls=self._calls,
            usage=self._usage,
            sources={name: SourceCounts(self._fetched[name], self._unfetched[name]) for name in names},
            failures=self._failures.causes(),
        )


def state_of(tasks: TaskTally, open_tasks: int | None = 0) -> RunState:
    """Return the state of a run, or of a batch, that has ended with these tasks."""
    if open_tasks or tasks.ended != tasks.accepted:
        # A completed run has ended every task. Another state would hide a lost task.
        return RunState.FAILED
    if tasks.succeeded == tasks.accepted:
        return RunState.SUCCEEDED
    if tasks.cancelled:  # cancelled tasks stay cancelled if the run is started again
        return RunState.CANCELLED
    return RunState.PARTIAL if tasks.succeeded + tasks.partial else RunState.FAILED
