"""Formats runs as JSON documents and as text lines.

Pure: the time is an argument. Rule: `plain` cleans untrusted text in the lines.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from actors.core.journal.rows import RUNNING
from actors.core.messages.journal import RunView
from actors.core.messages.tasks import TaskState
from actors.core.messages.values import CallCounts, Json
from actors.core.metrics.history import History
from cluster.program import program
from cluster.report.console import cost_text, duration, plain
from cluster.report.continuing import continues, is_of_map, repeats
from cluster.report.endpoint_history import work_s
from cluster.report.failures import skip_text
from cluster.report.receipt import receipt_json, receipt_lines, receipt_of, usage_text

CAUSE_CHARACTERS = 5_000  # longer than any cause that is stored
# The counts of calls, with the words that follow each number.
_COUNTS = {
    "planned": "planned",
    "billed": "billed",
    "reused": "reused",
    "in_flight": "in flight",
    "in_doubt": "in doubt",
    "unusable": "unusable",
    "refused": "refused",
    "failed": "failed",
    "estimated": "of estimated usage",
}


# ---- runs ------------------------------------------------------------------------------------------------


def run_document(run: RunView, *, silent: bool, in_flight: int = 0) -> dict[str, Json]:
    """Return a run as a JSON object. `silent`: its state is "running", but its heartbeat stood still.

    `in_flight`: of the calls that count as in doubt, those of a living owner.
    """
    return {
        "run_id": run.run_id,
        "name": run.name,
        "state": run.state,
        "owner_silent": silent,
        "stopped_by": stopped_by(run) or None,
        "began_at": run.began_at,
        "ended_at": run.ended_at,
        "tasks": {name: getattr(run.tasks, name) for name in ("accepted", *TaskState)},
        "calls": _counted(run.spent.counts, in_flight),
        "tokens": run.spent.usage.kinds(),
        "cost_usd": run.spent.usage.known_cost(is_priced=is_priced(run)),
        "priced": is_priced(run),
        "receipt": receipt_json(receipt_of(run.spent), is_priced=is_priced(run)),
        "failures": list(run.summary.get("failures", ())),
    }


def is_priced(run: RunView) -> bool:
    """Return whether the prices of all its endpoints are known. Earlier versions did not store this."""
    return bool(run.origin.get("priced", True))


def stopped_by(run: RunView) -> str:
    """Return the fault that stopped a run, as its last owner stored it; empty if none did."""
    return str(run.summary.get("stopped_by") or "") if run.state == "failed" else ""


def is_open(run: RunView) -> bool:
    """Return whether tasks of the input may be left: the run is not closed, or was interrupted or stopped."""
    return run.state in (RUNNING, "interrupted") or bool(stopped_by(run))


def total_tasks(run: RunView) -> int:
    """Return the number of tasks: those of the input while the run has not accepted them all."""
    known = run.origin.get("input") if is_open(run) else None
    return max(run.tasks.accepted, int((known or {}).get("tasks", 0)))


def _skipped(run: RunView) -> int:
    """Return how many of its partial tasks were not asked about, because a value is null."""
    causes = run.summary.get("failures", ())
    return min(run.tasks.partial, sum(int(cause["tasks"]) for cause in causes if cause.get("skipped")))


def sample_text(run: RunView) -> str:
    """Return what was asked of a run that is still the sample of an estimate; empty for any other run."""
    size = len((run.origin.get("sample") or {}).get("places") or ())
    if not size or run.tasks.accepted > size:
        return ""
    noun = "row" if is_of_map(run) else "task"
    return f"a random sample of {size:,} {noun}s" if size > 1 else f"a random sample of 1 {noun}"


def state_text(run: RunView, *, silent: bool, options: str = "") -> str:
    """Return the state of a run and the commands that continue it. `options` name its store."""
    left = total_tasks(run) - run.tasks.ended
    go_on = continues(run, options)
    if run.state == RUNNING:
        return f"running (its process may have ended; continue with: {go_on})" if silent else "running"
    if run.state == "interrupted":
        return f"interrupted (continue with: {go_on})"
    state = f"{run.state} with {left:,} tasks not ended" if left else run.state
    if sample := sample_text(run):
        state += f" as {sample}; the run of all begins with it"
    advice = [f"continue with: {go_on}"] if left or stopped_by(run) else []
    incomplete = {"failed": run.tasks.failed, "partial": run.tasks.partial - _skipped(run)}
    lacking = [name for name, count in incomplete.items() if count > 0]
    if lacking and run.state != "cancelled":
        flags = " ".join(f"--{name}" for name in lacking)
        advice.append(f"repeat the {' and '.join(lacking)} tasks with: {repeats(run, flags, options)}")
    return f"{state} ({'; '.join(advice)})" if advice else state


def runs_lines(runs: Sequence[RunView], silent: frozenset[str], now: float) -> Iterator[str]:
    """Yield a table of runs, in the order given."""
    width = max([len("run"), *(len(plain(run.run_id, 60)) for run in runs)])
    yield f"{'run':<{width}}  {'state':<12}  {'tasks ended':>15}  {'cost':>12}  {'age':>8}"
    for run in runs:
        state = "running?" if run.run_id in silent else plain(run.state, 12)
        ended = f"{run.tasks.ended:,}/{total_tasks(run):,}"
        cost = cost_text(run.spent.usage, is_priced=is_priced(run))
        age = age_text(now - run.began_at)
        yield f"{plain(run.run_id, 60):<{width}}  {state:<12}  {ended:>15}  {cost:>12}  {age:>8}"
    for run in runs:
        if cause := stopped_by(run):
            yield f"{plain(run.run_id, 60)} was stopped: {plain(cause, 1000)}"
    if silent:
        yield (
            "running?: the run's process showed no sign of life during this command; "
            f"`{program()} status RUN_ID` says what to do"
        )


def run_lines(
    run: RunView,
    now: float,
    *,
    silent: bool,
    in_flight: int = 0,
    options: str = "",
    history: History | None = None,
) -> Iterator[str]:
    """Yield the lines that describe one run. `options` name its store; `run_document` has the others.

    `history` is that of its endpoints. It tells the pauses of the run.
    """
    tasks, usage = run.tasks, run.spent.usage
    lasted = max(0.0, (run.ended_at or now) - run.began_at)
    worked = work_s(lasted, history)
    took = f"{duration(lasted)} in all" if worked == lasted else f"at work for {duration(worked)}"
    yield f"run      {plain(run.run_id)}"
    yield f"state    {state_text(run, silent=silent, options=options)}"
    if cause := stopped_by(run):
        yield f"stopped  {plain(cause, 1000)}"
    age = age_text(now - run.began_at)
    yield f"started  {moment(run.began_at)}, {age} ago; {took}"
    skipped = _skipped(run)
    counts = {**{state.value: getattr(tasks, state) for state in TaskState}, "skipped": skipped}
    counts[TaskState.PARTIAL.value] -= skipped
    ended = [f"{count:,} {state}" for state, count in counts.items() if count]
    total = total_tasks(run)
    left = total - tasks.ended
    accepted = f"{tasks.accepted:,} accepted" + (f" of {total:,}" if total > tasks.accepted else "")
    yield "tasks    " + " · ".join([accepted, *ended, f"{left:,} not ended"])
    yield f"calls    {counts_text(run.spent.counts, in_flight)}"
    yield f"cost     {usage_text(usage, is_priced=is_priced(run))}"
    for line in receipt_lines(receipt_of(run.spent), is_priced=is_priced(run)):
        yield f"         {line}"
    for cause in run.summary.get("failures", ()):  # a store that an earlier version wrote has none
        if cause.get("skipped"):
            text = skip_text(str(cause["cause"])).removeprefix("skipped: ")
            yield f"skipped  {cause['tasks']:,}: {plain(text, CAUSE_CHARACTERS)}"
            continue
        count = "1 task" if cause["tasks"] == 1 else f"{cause['tasks']:,} tasks"
        yield f"cause    {count}: {plain(str(cause['cause']), CAUSE_CHARACTERS)}"
    for path in run.summary.get("results", ()):
        yield f"results  {plain(str(path), 1000)}"


# ---- text ------------------------------------------------------------------------------------------------


def counts_text(counts: CallCounts, in_flight: int = 0) -> str:
    """Return the counts of calls as text. Only `planned` and `billed` are shown when they are 0."""
    shown = [
        f"{count:,} {_COUNTS[name]}"
        for name, count in _counted(counts, in_flight).items()
        if name in ("planned", "billed") or count
    ]
    return " · ".join(shown)


def _counted(counts: CallCounts, in_flight: int) -> dict[str, int]:
    known = replace(counts, in_doubt=counts.in_doubt - in_flight)
    return {name: in_flight if name == "in_flight" else getattr(known, name) for name in _COUNTS}


def moment(seconds: float) -> str:
    """Return a time in seconds since 1970 as a date and time in UTC."""
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def age_text(seconds: float) -> str:
    """Return an age in its largest unit: 12 s, 5 min, 3 h, 2 d."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size):,} {unit}"
    return f"{max(0, int(seconds))} s"
