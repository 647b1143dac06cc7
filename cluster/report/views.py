"""Runs, tasks and attempts as commands tell of them: JSON documents, and lines for people.

Pure: made of what was read from a store, and of the time that is handed in. Text of strangers is cleaned by
`plain` wherever it goes to people.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from actors.core.errors import FailureKind
from actors.core.journal.rows import ACCEPTED, RUNNING
from actors.core.messages.journal import AttemptView, LoggedEvent, RunView, TaskView
from actors.core.messages.tasks import Report
from actors.core.messages.values import CallCounts, Json, Usage
from actors.core.task.reports import report_line
from cluster.report.console import duration, plain

_COUNTS = ("planned", "billed", "reused", "in_doubt", "unusable", "refused", "failed", "estimated")
_SHORT = 12  # characters of a call's key: enough to tell a task's calls apart


# ---- runs ------------------------------------------------------------------------------------------------


def run_document(run: RunView, *, silent: bool) -> dict[str, Json]:
    """Return a run as a document. `silent`: it is said to be running, and its heart did not beat."""
    return {
        "run_id": run.run_id,
        "name": run.name,
        "state": run.state,
        "owner_silent": silent,
        "stopped_by": stopped_by(run) or None,
        "began_at": run.began_at,
        "ended_at": run.ended_at,
        "tasks": {
            name: getattr(run.tasks, name)
            for name in ("accepted", "succeeded", "partial", "failed", "cancelled")
        },
        "calls": _counts(run.spent.counts),
        "tokens": _tokens(run.spent.usage),
        "cost_usd": round(run.spent.usage.cost_usd, 9),
    }


def stopped_by(run: RunView) -> str:
    """Return why a run was stopped, in the words of its last owner; nothing where it was not."""
    return str(run.summary.get("stopped_by") or "") if run.state == "failed" else ""


def state_text(run: RunView, *, silent: bool, options: str = "") -> str:
    """Return how a run is, and what can be done about it. `options` are those that name its store."""
    left = run.tasks.accepted - run.tasks.ended
    go_on = f"python driver.py resume {run.run_id}{options}"
    if run.state == RUNNING:
        return f"running (its process may be gone; go on with: {go_on})" if silent else "running"
    if run.state == "interrupted":
        return f"interrupted (go on with: {go_on})"
    state = f"{run.state} with {left:,} tasks not ended" if left else run.state
    advice = [f"go on with: {go_on}"] if left else []
    lacking = [name for name in ("failed", "partial") if getattr(run.tasks, name)]
    if lacking and run.state != "cancelled":
        flags = "".join(f" --{name}" for name in lacking)
        again = f"python driver.py retry {run.run_id}{flags}{options}"
        advice.append(f"do the {' and '.join(lacking)} tasks again with: {again}")
    return f"{state} ({'; '.join(advice)})" if advice else state


def runs_lines(runs: Sequence[RunView], silent: frozenset[str], now: float) -> Iterator[str]:
    """Yield a table of runs, in the order given."""
    width = max([len("run"), *(len(plain(run.run_id, 60)) for run in runs)])
    yield f"{'run':<{width}}  {'state':<12}  {'tasks ended':>15}  {'cost':>12}  {'age':>8}"
    for run in runs:
        state = "running?" if run.run_id in silent else plain(run.state, 12)
        ended = f"{run.tasks.ended:,}/{run.tasks.accepted:,}"
        cost = f"${run.spent.usage.cost_usd:,.4f}"
        age = age_text(now - run.began_at)
        yield f"{plain(run.run_id, 60):<{width}}  {state:<12}  {ended:>15}  {cost:>12}  {age:>8}"
    for run in runs:
        if cause := stopped_by(run):
            yield f"{plain(run.run_id, 60)} was stopped: {plain(cause, 1000)}"
    if silent:
        yield (
            "running?: the run's process did not stir while this looked; `python driver.py status RUN_ID` "
            "says what to do"
        )


def run_lines(run: RunView, now: float, *, silent: bool, options: str = "") -> Iterator[str]:
    """Yield what there is to say of one run, a line each. `options` as for `state_text`."""
    tasks, usage = run.tasks, run.spent.usage
    took = (run.ended_at or now) - run.began_at
    yield f"run      {plain(run.run_id)}"
    yield f"state    {state_text(run, silent=silent, options=options)}"
    if cause := stopped_by(run):
        yield f"stopped  no call can be answered: {plain(cause, 1000)}"
    age = age_text(now - run.began_at)
    yield f"begun    {moment(run.began_at)}, {age} ago; {duration(max(0, took))} in all"
    ended = [
        f"{getattr(tasks, name):,} {name}"
        for name in ("succeeded", "partial", "failed", "cancelled")
        if getattr(tasks, name)
    ]
    left = tasks.accepted - tasks.ended
    yield "tasks    " + " · ".join([f"{tasks.accepted:,} accepted", *ended, f"{left:,} not ended"])
    yield f"calls    {counts_text(run.spent.counts)}"
    yield f"cost     {usage_text(usage)}"
    for path in run.summary.get("results", ()):
        yield f"results  {plain(str(path), 1000)}"


# ---- a task ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TaskStory:
    """All that a store knows of one task. `report` is None until it has ended; attempts are in order."""

    run_id: str
    task: TaskView
    report: Report | None
    attempts: Sequence[AttemptView]
    events: Sequence[LoggedEvent]


def story_document(story: TaskStory) -> dict[str, Json]:
    """Return a task's story as a document."""
    task = story.task
    return {
        "run_id": story.run_id,
        "key": task.key,
        "state": task.state,
        "accepted_at": task.accepted_at,
        "ended_at": task.ended_at,
        "params": dict(task.params),
        "attempts": [_attempt_document(attempt) for attempt in story.attempts],
        "sources": _sources(story),
        "errors": [] if story.report is None else list(story.report.errors),
        "events": [{"at": one.at, "kind": one.kind, "data": one.data} for one in story.events],
        "report": None if story.report is None else report_line(story.report),
    }


def story_lines(story: TaskStory) -> Iterator[str]:
    """Yield why a task is as it is: what went wrong first, then its sources, then every attempt."""
    task, report = story.task, story.report
    ended = "has not ended" if task.ended_at is None else f"ended {moment(task.ended_at)}"
    took = "" if task.ended_at is None else f" after {duration(max(0.0, task.ended_at - task.accepted_at))}"
    yield f"task     {plain(task.key)} of run {plain(story.run_id)}"
    yield f"state    {task.state}: accepted {moment(task.accepted_at)}, {ended}{took}"
    if report is not None:
        yield f"calls    {counts_text(report.calls)}"
        yield f"cost     {usage_text(report.usage)}"
    for again in [event for event in story.events if event.kind == "reopened"]:
        yield f"again    reopened {moment(again.at)}; it had {plain(str(again.data.get('state')))} before"
    for error in () if report is None else report.errors:
        yield f"error    {plain(error, 600)}"
    for name, source in _sources(story).items():
        outcome = f"failed: {plain(str(source['error']), 600)}" if source["error"] else "answered"
        yield f"source   {plain(name)}: {source['items']} items, {outcome}"
    yield from _attempts_lines(story.attempts)


def _attempts_lines(attempts: Sequence[AttemptView]) -> Iterator[str]:
    if not attempts:
        yield "attempts none: nothing was asked of an endpoint"
        return
    calls = list(dict.fromkeys(attempt.call_key for attempt in attempts))
    made = sum(attempt.repeats for attempt in attempts)
    yield f"attempts {made} at {len(calls)} calls, in the order in which they began:"
    for attempt in attempts:
        yield f"  call {plain(attempt.call_key, 200)[:_SHORT]} {_attempt_text(attempt)}"
    doubtful = sum(attempt.repeats for attempt in attempts if attempt.outcome in (None, FailureKind.IN_DOUBT))
    if doubtful:
        yield (
            f"in doubt: {doubtful} of these may have been sent, and nobody heard the end. The endpoint may "
            "have done the work and may charge for it; that is not in the cost above"
        )


def _attempt_text(attempt: AttemptView) -> str:
    where = plain(attempt.endpoint, 64) or "an unknown endpoint"
    took = (
        "" if attempt.ended_at is None else f" in {duration(max(0.0, attempt.ended_at - attempt.began_at))}"
    )
    usage = attempt.usage
    paid = (
        f", billed {usage.input_tokens:,} + {usage.output_tokens:,} tokens, ${usage.cost_usd:.6f}"
        if attempt.billed
        else ", not billed"
    )
    if attempt.outcome in (None, FailureKind.IN_DOUBT):
        paid = ", perhaps billed"
    outcome = "in doubt: its end is not known" if attempt.outcome is None else attempt.outcome
    message = f": {plain(attempt.message, 600)}" if attempt.message else ""
    times = f" ({attempt.repeats:,} attempts that ended alike)" if attempt.repeats > 1 else ""
    return f"attempt {attempt.number} at {where}: {plain(outcome)}{took}{paid}{times}{message}"


def _attempt_document(attempt: AttemptView) -> dict[str, Json]:
    ended_at = attempt.ended_at
    return {
        "call": attempt.call_key,
        "attempt": attempt.attempt,
        "number": attempt.number,
        "repeats": attempt.repeats,
        "endpoint": attempt.endpoint,
        "began_at": attempt.began_at,
        "took_s": None if ended_at is None else round(max(0.0, ended_at - attempt.began_at), 6),
        "outcome": attempt.outcome or "in_doubt",
        "message": attempt.message,
        "billed": attempt.billed,
        "tokens": _tokens(attempt.usage),
        "cost_usd": round(attempt.usage.cost_usd, 9),
    }


def _sources(story: TaskStory) -> dict[str, dict[str, Json]]:
    """Return what each source gave: of the report, else of the last time that all were asked."""
    if story.report is not None and story.report.sources:
        return {name: {"items": one.items, "error": one.error} for name, one in story.report.sources.items()}
    collected = [event.data for event in story.events if event.kind == "collected"]
    return dict(collected[-1].get("sources", {})) if collected else {}


# ---- words -----------------------------------------------------------------------------------------------


def counts_text(counts: CallCounts) -> str:
    """Return what became of calls."""
    rest = [
        f"{getattr(counts, name):,} {name.replace('_', ' ')}" for name in _COUNTS[2:] if getattr(counts, name)
    ]
    return " · ".join([f"{counts.planned:,} planned", f"{counts.billed:,} billed", *rest])


def usage_text(usage: Usage) -> str:
    """Return what was paid."""
    return f"${usage.cost_usd:,.4f} · {usage.input_tokens:,} tokens in · {usage.output_tokens:,} out"


def moment(seconds: float) -> str:
    """Return a time in seconds since 1970 as people write it, in UTC."""
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def age_text(seconds: float) -> str:
    """Return how long ago something was, in its largest unit: 12 s, 5 min, 3 h, 2 d."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size):,} {unit}"
    return f"{max(0, int(seconds))} s"


def has_ended(task: TaskView) -> bool:
    """Return whether a task has a report."""
    return task.state != ACCEPTED


def _counts(counts: CallCounts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in _COUNTS}


def _tokens(usage: Usage) -> dict[str, int]:
    return {"input": usage.input_tokens, "output": usage.output_tokens}
