"""Formats the history of a task: what was asked about its items, what was answered, and every attempt.

Pure. Rule: `plain` and `visible` clean untrusted text in the lines. Causes are shown in full.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson

from actors.core.errors import FailureKind
from actors.core.messages.journal import AttemptView, LoggedEvent, TaskView
from actors.core.messages.tasks import ItemResult, Report
from actors.core.messages.values import Json, Usage
from actors.core.task.reports import report_line
from cluster.report.console import cost_text, duration, plain, visible
from cluster.report.receipt import usage_text
from cluster.report.views import CAUSE_CHARACTERS, counts_text, moment

_IN_DOUBT, _IN_FLIGHT = FailureKind.IN_DOUBT.value, "in_flight"
_KEY_CHARACTERS = 12  # shown of a call key: enough to distinguish the calls of a task


@dataclass(frozen=True, slots=True)
class AskedStep:
    """The question of one step about an item, and the answer.

    prompt: the text that was sent, None if it cannot be made again; `note` says why, or why it may differ.
    call_key: of the call; empty if the prompt is unknown. answer: the fields of the answer, None without one.
    attachments: the locations of the files that were sent, as errors show them.
    """

    step: str
    system: str | None = None
    prompt: str | None = None
    note: str = ""
    call_key: str = ""
    answer: Mapping[str, Json] | None = None
    attachments: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class AskedItem:
    """An item of a task, and what its steps asked. `result` is None until the task ends."""

    item_id: str
    result: ItemResult | None
    steps: Sequence[AskedStep]


@dataclass(frozen=True, slots=True)
class TaskHistory:
    """The records of one task in a store. `report` is None until the task ends. Attempts are in order.

    `items` and `findings`, which name their dimension as step, are empty unless the prompts were made again.
    `is_priced`: the prices of all endpoints of the run are known. `is_live`: the owner of the run is alive.
    """

    run_id: str
    task: TaskView
    report: Report | None
    attempts: Sequence[AttemptView]
    events: Sequence[LoggedEvent]
    items: Sequence[AskedItem] = ()
    findings: Sequence[AskedStep] = ()
    is_priced: bool = True
    is_live: bool = False


def history_document(history: TaskHistory) -> dict[str, Json]:
    """Return the history of a task as a JSON object."""
    task = history.task
    return {
        "run_id": history.run_id,
        "key": task.key,
        "state": task.state,
        "accepted_at": task.accepted_at,
        "ended_at": task.ended_at,
        "params": dict(task.params),
        "items": [_item_document(item, is_priced=history.is_priced) for item in history.items],
        "findings": [_step_document("dimension", finding) for finding in history.findings],
        "attempts": [_attempt_document(one, history) for one in history.attempts],
        "sources": _sources(history),
        "priced": history.is_priced,
        "errors": [] if history.report is None else list(history.report.errors),
        "events": [{"at": one.at, "kind": one.kind, "data": one.data} for one in history.events],
        "report": None
        if history.report is None
        else report_line(history.report, is_priced=history.is_priced),
    }


def history_lines(history: TaskHistory) -> Iterator[str]:
    """Yield the lines that explain the state of a task: its errors, its sources, and every attempt."""
    task, report = history.task, history.report
    ended = "has not ended" if task.ended_at is None else f"ended {moment(task.ended_at)}"
    took = "" if task.ended_at is None else f" after {duration(max(0.0, task.ended_at - task.accepted_at))}"
    yield f"task     {plain(task.key)} of run {plain(history.run_id)}"
    yield f"state    {task.state}: accepted {moment(task.accepted_at)}, {ended}{took}"
    if report is not None:
        yield f"calls    {counts_text(report.calls)}"
        yield f"cost     {usage_text(report.usage, is_priced=history.is_priced)}"
    for again in [event for event in history.events if event.kind == "reopened"]:
        yield f"again    reopened {moment(again.at)}; it had {plain(str(again.data.get('state')))} before"
    for error in () if report is None else report.errors:
        yield f"error    {plain(error, CAUSE_CHARACTERS)}"
    for name, source in _sources(history).items():
        outcome = (
            f"failed: {plain(str(source['error']), CAUSE_CHARACTERS)}" if source["error"] else "answered"
        )
        yield f"source   {plain(name)}: {source['items']} items, {outcome}"
    yield from _items_lines(history.items, is_priced=history.is_priced)
    yield from _findings_lines(history)
    yield from _attempts_lines(history)


def _items_lines(items: Sequence[AskedItem], *, is_priced: bool) -> Iterator[str]:
    """Yield a line for each item, and the prompts and answers if there is only one."""
    for item in items:
        result = item.result
        outcome = "has not ended"
        if result is not None:
            outcome = f"{result.state}, {_cost(result.usage, is_priced=is_priced)}"
        yield f"item     {plain(item.item_id)}: {outcome}"
        if result is not None and result.error is not None:
            where = f"step {plain(result.step)}: " if result.step else ""
            yield f"  cause  {where}{plain(str(result.error), CAUSE_CHARACTERS)}"
        if len(items) == 1:
            for step in item.steps:
                yield from _step_lines(step)
    if len(items) > 1:
        yield f"the prompts and answers of an item: --item ID, as in --item {plain(items[0].item_id)}"


def _findings_lines(history: TaskHistory) -> Iterator[str]:
    """Yield a line for each finding, and its prompt and answer if nothing else is shown."""
    if not history.items and len(history.findings) == 1:
        yield from _step_lines(history.findings[0], "finding")
        return
    for finding in history.findings:
        call = f"call {finding.call_key[:_KEY_CHARACTERS]}" if finding.call_key else plain(finding.note)
        yield f"finding  of {plain(finding.step)}: {call}"
    if history.findings:
        name = plain(history.findings[0].step)
        yield f"the prompt and answer of a finding: --dimension NAME, as in --dimension {name}"


def _step_lines(step: AskedStep, kind: str = "step") -> Iterator[str]:
    call = f" (call {step.call_key[:_KEY_CHARACTERS]})" if step.call_key else ""
    yield f"{kind:<8} {plain(step.step)}{call}"
    if step.system is not None:
        yield from _text_lines("system", step.system)
    if step.prompt is not None:
        yield from _text_lines("prompt", step.prompt)
    for location in step.attachments:
        yield f"  file   {plain(location, CAUSE_CHARACTERS)}"
    if step.note:
        yield f"  note   {plain(step.note, CAUSE_CHARACTERS)}"
    if step.answer is not None:
        yield from _text_lines("answer", orjson.dumps(dict(step.answer), option=orjson.OPT_INDENT_2).decode())


def _text_lines(name: str, text: str) -> Iterator[str]:
    """Yield a text of several lines, with its name before the first."""
    for number, line in enumerate(text.splitlines() or [""]):
        yield f"  {name if number == 0 else '':<6} {visible(line)}"


def _item_document(item: AskedItem, *, is_priced: bool) -> dict[str, Json]:
    result = item.result
    return {
        "id": item.item_id,
        "source": None if result is None else result.source,
        "state": None if result is None else result.state.value,
        "error": None if result is None or result.error is None else str(result.error),
        "failed_step": (result.step or None) if result is not None else None,
        "cost_usd": None if result is None else result.usage.known_cost(is_priced=is_priced),
        "steps": [_step_document("step", step) for step in item.steps],
    }


def _step_document(kind: str, step: AskedStep) -> dict[str, Json]:
    return {
        kind: step.step,
        "system": step.system,
        "prompt": step.prompt,
        "attachments": list(step.attachments),
        "note": step.note or None,
        "call": step.call_key or None,
        "answer": None if step.answer is None else dict(step.answer),
    }


def _attempts_lines(history: TaskHistory) -> Iterator[str]:
    attempts = history.attempts
    if not attempts:
        yield "attempts none: no request was sent to an endpoint"
        return
    calls = list(dict.fromkeys(attempt.call_key for attempt in attempts))
    made = sum(attempt.repeats for attempt in attempts)
    noun = "call" if len(calls) == 1 else "calls"
    yield f"attempts {made} at {len(calls)} {noun}, in the order in which they began:"
    for attempt in attempts:
        call = plain(attempt.call_key, 200)[:_KEY_CHARACTERS]
        yield f"  {moment(attempt.began_at)}, call {call}, {_attempt_text(attempt, history)}"
    doubtful = sum(attempt.repeats for attempt in attempts if outcome_of(attempt, history) == _IN_DOUBT)
    if doubtful:
        yield (
            f"in doubt: {doubtful} of these may have been sent, but no answer arrived. The endpoint may "
            "have done the work and may charge for it; the cost above does not include that"
        )


def _cost(usage: Usage, *, is_priced: bool) -> str:
    cost = cost_text(usage, is_priced=is_priced)
    return "at an unknown price" if cost == "unknown" else cost


def outcome_of(attempt: AttemptView, history: TaskHistory) -> str:
    """Return the outcome of an attempt. Without one it is in doubt, or in flight while the owner is alive."""
    if history.is_live and attempt.unended:
        return _IN_FLIGHT
    return attempt.outcome or _IN_DOUBT


def _attempt_text(attempt: AttemptView, history: TaskHistory) -> str:
    is_priced, outcome = history.is_priced, outcome_of(attempt, history)
    where = plain(attempt.endpoint, 64) or "an unknown endpoint"
    took = (
        "" if attempt.ended_at is None else f" in {duration(max(0.0, attempt.ended_at - attempt.began_at))}"
    )
    usage = attempt.usage
    paid = (
        f", billed {usage.input_tokens:,} + {usage.output_tokens:,} tokens, "
        f"{_cost(usage, is_priced=is_priced)}"
        if attempt.billed
        else ", not billed"
    )
    if outcome == _IN_DOUBT:
        paid = ", perhaps billed"
        outcome = outcome if attempt.outcome else "in doubt: its outcome is unknown"
    elif outcome == _IN_FLIGHT:
        paid, outcome = "", "in flight"
    message = f": {plain(attempt.message, CAUSE_CHARACTERS)}" if attempt.message else ""
    times = f" ({attempt.repeats:,} attempts with the same outcome)" if attempt.repeats > 1 else ""
    return f"attempt {attempt.number} at {where}: {plain(outcome)}{took}{paid}{times}{message}"


def _attempt_document(attempt: AttemptView, history: TaskHistory) -> dict[str, Json]:
    ended_at = attempt.ended_at
    return {
        "call": attempt.call_key,
        "attempt": attempt.attempt,
        "number": attempt.number,
        "repeats": attempt.repeats,
        "endpoint": attempt.endpoint,
        "began_at": attempt.began_at,
        "took_s": None if ended_at is None else round(max(0.0, ended_at - attempt.began_at), 6),
        "outcome": outcome_of(attempt, history),
        "message": attempt.message,
        "billed": attempt.billed,
        "tokens": attempt.usage.kinds(),
        "cost_usd": attempt.usage.known_cost(is_priced=history.is_priced),
    }


def _sources(history: TaskHistory) -> dict[str, dict[str, Json]]:
    """Return the outcome of each source, from the report or else from the last collection."""
    if history.report is not None and history.report.sources:
        return {
            name: {"items": one.items, "error": one.error} for name, one in history.report.sources.items()
        }
    collected = [event.data for event in history.events if event.kind == "collected"]
    return dict(collected[-1].get("sources", {})) if collected else {}
