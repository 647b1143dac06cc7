"""A run in figures: what `RunTotals` adds up from reports, how the run ended, and the exit code that says so.

Pure: no I/O and no clock. Rule: memory grows with the number of sources and kinds of failure, never with
the number of tasks.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from actors.core.messages.tasks import Report, TaskState
from actors.core.messages.values import CallCounts, Json, Usage

_COUNTS = ("planned", "billed", "reused", "in_doubt", "unusable", "refused", "estimated")

MAX_CAUSES = 50  # distinct causes counted by name; a defect that words each failure anew must not fill memory
MAX_CAUSE = 200  # characters
_MAX_SEARCHED = 5 * MAX_CAUSE  # characters of an error
OTHER_CAUSES = "other causes"


class RunState(enum.StrEnum):
    """How a run ended."""

    SUCCEEDED = "succeeded"  # every task did
    PARTIAL = "partial"  # it went to its end, and a task is partial or failed
    FAILED = "failed"  # an error stopped it, or no task gave a report
    INTERRUPTED = "interrupted"  # Ctrl-C or SIGTERM ended its driver; it can be resumed
    CANCELLED = "cancelled"  # `cancel` ended it: some tasks of it are cancelled


_EXIT_CODES = {
    RunState.SUCCEEDED: 0,
    RunState.FAILED: 1,
    RunState.PARTIAL: 3,
    RunState.INTERRUPTED: 130,
    RunState.CANCELLED: 130,
}


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """How many tasks were submitted, and how those ended that did. `open`: of the whole run, have not ended.

    A task may be open that was not submitted: an earlier input had it.
    """

    submitted: int = 0
    succeeded: int = 0
    partial: int = 0
    failed: int = 0
    cancelled: int = 0
    open: int = 0

    @property
    def ended(self) -> int:
        """Tasks that came to their end, whatever it was."""
        return self.succeeded + self.partial + self.failed + self.cancelled


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """For how many tasks a source answered, and for how many it could not."""

    fetched: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in figures. `results` are paths; `failures` counts tasks by cause, the most frequent first."""

    run_id: str
    state: RunState
    elapsed_s: float
    results: tuple[str, ...] = ()
    tasks: TaskCounts = field(default_factory=TaskCounts)
    calls: CallCounts = field(default_factory=CallCounts)
    usage: Usage = field(default_factory=Usage)
    sources: Mapping[str, SourceCounts] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    stopped_by: str = ""  # why no call could be answered: the run was stopped, and can be resumed


def summary_json(summary: RunSummary) -> dict[str, Json]:
    """Return the document that ``run --json`` prints."""
    tasks, usage = summary.tasks, summary.usage
    return {
        "run_id": summary.run_id,
        "state": summary.state.value,
        "elapsed_s": round(summary.elapsed_s, 3),
        "stopped_by": summary.stopped_by or None,
        "results": list(summary.results),
        "tasks": {name: getattr(tasks, name) for name in TaskCounts.__slots__},
        "calls": {name: getattr(summary.calls, name) for name in _COUNTS},
        "tokens": {"input": usage.input_tokens, "output": usage.output_tokens},
        "cost_usd": round(usage.cost_usd, 9),
        "sources": {
            name: {"fetched": counts.fetched, "failed": counts.failed}
            for name, counts in summary.sources.items()
        },
    }


def exit_code(summary: RunSummary) -> int:
    """Return what the process that ran this ends with: 0 succeeded, 1 failed, 3 partial, 130 stopped."""
    return _EXIT_CODES[summary.state]


class RunTotals:
    """Adds up reports as they come; memory grows with neither their number nor their size."""

    def __init__(self) -> None:
        self._submitted = 0
        self._ended: Counter[TaskState] = Counter()
        self._calls = CallCounts()
        self._usage = Usage()
        self._fetched: Counter[str] = Counter()
        self._unfetched: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()

    def submitted(self, tasks: int = 1) -> None:
        """Count tasks that were accepted."""
        self._submitted += tasks

    def add(self, report: Report) -> None:
        """Count the end of a task."""
        self._ended[report.state] += 1
        self._calls += report.calls
        self._usage += report.usage
        for name, outcome in report.sources.items():
            (self._fetched if outcome.error is None else self._unfetched)[name] += 1
        for cause in sorted(causes_of(report)):
            known = cause in self._failures or len(self._failures) < MAX_CAUSES
            self._failures[cause if known else OTHER_CAUSES] += 1

    def summary(
        self,
        run_id: str,
        *,
        elapsed_s: float,
        results: Collection[Path] = (),
        ended_as: RunState | None = None,
        open_tasks: int = 0,
    ) -> RunSummary:
        """Return the sums so far as the summary of a run. `ended_as` None: it went to its end by itself."""
        tasks = TaskCounts(
            self._submitted,
            self._ended[TaskState.SUCCEEDED],
            self._ended[TaskState.PARTIAL],
            self._ended[TaskState.FAILED],
            self._ended[TaskState.CANCELLED],
            open_tasks,
        )
        names = sorted(self._fetched.keys() | self._unfetched.keys())
        return RunSummary(
            run_id=run_id,
            state=ended_as or _state_of(tasks),
            elapsed_s=elapsed_s,
            results=tuple(map(str, results)),
            tasks=tasks,
            calls=self._calls,
            usage=self._usage,
            sources={name: SourceCounts(self._fetched[name], self._unfetched[name]) for name in names},
            failures=dict(self._failures.most_common()),
        )


def _state_of(tasks: TaskCounts) -> RunState:
    if tasks.open or tasks.ended != tasks.submitted:
        # A run that went to its end has ended every task; to call anything else a success would hide a loss.
        return RunState.FAILED
    if tasks.succeeded == tasks.submitted:
        return RunState.SUCCEEDED
    if tasks.cancelled:  # also where it was begun again after that: its cancelled tasks stay so
        return RunState.CANCELLED
    return RunState.PARTIAL if tasks.succeeded + tasks.partial else RunState.FAILED


_ITEMS = re.compile(r"^evaluation of .*? failed: ")
# Anything with a digit in it, such as an id, a path or a time; but a number of three digits may be a status.
_PARTICULARS = re.compile(r"\b(?!\d{3}\b)(?=[\w.:#/-]*\d)[\w.:#/-]+")
_MORE = re.compile(r"^and \d+ more errors$")


def causes_of(report: Report) -> frozenset[str]:
    """Return what went wrong with a task, in words that are the same for all tasks of the same cause."""
    causes = set()
    for error in report.errors:
        cause = error.partition("\n")[0]
        if _MORE.match(cause):
            continue
        cause = cause.removesuffix(f" about {report.key}").removesuffix(f" for {report.key}")
        cause = _ITEMS.sub("evaluation failed: ", cause)
        # Cut before the search: of a word without a digit, each part is searched to the word's end.
        causes.add(_PARTICULARS.sub("…", cause[:_MAX_SEARCHED])[:MAX_CAUSE])
    return frozenset(causes)
