"""Turns a task into the rows of a page: its own, those of its items, and its history.

Rule: a text longer than `MOST_CHARACTERS` is cut, and says so. The store has all of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from actors.core.journal.rows import ACCEPTED
from actors.core.messages.journal import AttemptView
from actors.core.messages.tasks import RAW, DimensionResult, ItemResult, ItemState, Report
from actors.core.messages.values import Json
from actors.core.task.reports import overall_interval
from actors.runtime.log_guard import censored
from cluster.history.asked import HIDDEN_VALUE, RunQuestions
from cluster.page.columns import PageColumn, PageTables
from cluster.page.figures import RunFigures
from cluster.page.redaction import Redaction
from cluster.program import program
from cluster.report.failures import OTHER_CAUSES, FailureCause, forms_of
from cluster.report.task_history import AskedItem, AskedStep, TaskHistory, outcome_of

MOST_CHARACTERS = 20_000  # of a text
MOST_OF_TASK = 2_000_000  # characters: of the prompts of one task
_LABEL_CHARACTERS = 140
# The parts of an attempt, in the order of its list. The index of the page names them.
ATTEMPT = (
    "call", "number", "endpoint", "began", "took", "outcome", "billed", "tokens", "cost", "repeats", "hedge",
    "message",
)  # fmt: skip
_CALL_CHARACTERS = 12  # as `why` shows a call

OPEN = "open"  # the state of a task that has not ended


class RowMaker:
    """Makes the rows of tasks."""

    def __init__(
        self,
        tables: PageTables,
        questions: RunQuestions,
        redaction: Redaction,
        figures: RunFigures,
        began_at: float,
    ) -> None:
        self._tables = tables
        self._questions = questions
        self._causes = {cause.form: cause_label(cause) for cause in figures.failures.causes()}
        self._began_at = began_at
        self._dimensions = figures.dimensions
        self._redaction = redaction
        self._hidden = redaction.hidden
        outputs = [each for each in (*tables.tasks, *tables.items) if each.role == "output"]
        self._hidden_steps = {column.step for column in outputs if self._hides(column)}  # of raw answers

    def rows(
        self, history: TaskHistory, number: int, first_item: int
    ) -> tuple[list[Json], list[list[Json]], Json]:
        """Return the row of a task, the rows of its items, and its history.

        `history` has its questions. `number` and `first_item` are the numbers of the task and of its first
        item in their tables.
        """
        task = self._task(history, first_item)
        items = [] if not self._tables.items else self._items(history, number)
        document = (task, items, self._history(history))
        cleaned = self._redaction.cleaned(document, history.task.params, history.report)
        task, items, told = _cut(cleaned)  # a text that is cut earlier may end within a hidden value
        return task, items, told

    # ---- tables ------------------------------------------------------------------------------------------

    def _task(self, history: TaskHistory, first_item: int) -> list[Json]:
        report, view = history.report, history.task
        values: dict[str, Json] = {
            "key": view.key,
            "state": OPEN if view.state == ACCEPTED else view.state,
            "cause": [] if report is None else self._labels(history),
            "first item": first_item,
        }
        if report is not None:
            results = report.items
            values |= {
                "overall": _rounded(report.overall),
                "items": len(results),
                "not answered": sum(item.state is not ItemState.SUCCEEDED for item in results),
                "calls": report.calls.billed,
                "cost": report.usage.known_cost(is_priced=history.is_priced),
                "seconds": round(report.elapsed_s, 2),
                "error": self._told("\n".join(report.errors), history) or None,
            }
        scores = {} if report is None else {one.name: _rounded(one.score) for one in report.dimensions}
        if report is not None:
            values |= self._intervals(report)
        item = report.items[0] if report is not None and report.items and not self._tables.items else None
        params = self._questions.shown(view.params)
        return [self._value(column, values, params, scores, item) for column in self._tables.tasks]

    def _intervals(self, report: Report) -> dict[str, Json]:
        ends = {one.name: (one.low, one.high) for one in report.dimensions}
        if interval := overall_interval(self._dimensions, report.dimensions):
            ends["overall"] = interval
        return {
            f"{name}.{end}": _rounded(value)
            for name, interval in ends.items()
            for end, value in zip(("low", "high"), interval, strict=True)
        }

    def _value(
        self,
        column: PageColumn,
        values: Mapping[str, Json],
        params: Mapping[str, Json],
        scores: Mapping[str, Json],
        item: ItemResult | None,
    ) -> Json:
        match column.role:
            case "input":
                return _cell(params.get(column.given or column.name))
            case "output":
                return self._answer(item, column)
        if column.kind == "score" and column.name in scores:
            return scores[column.name]
        return values.get(column.name)

    def _items(self, history: TaskHistory, number: int) -> list[list[Json]]:
        rows = []
        for asked in history.items:
            result = asked.result
            values: dict[str, Json] = {"task": number, "item": asked.item_id, "state": OPEN}
            if result is not None:
                error = None if result.error is None else str(result.error)
                values |= {
                    "source": result.source,
                    "state": result.state.value,
                    "cost": result.usage.known_cost(is_priced=history.is_priced),
                    "error": error
                    and self._told(f"step {result.step}: {error}" if result.step else error, history),
                }
            rows.append(
                [
                    self._answer(result, column) if column.role == "output" else values.get(column.name)
                    for column in self._tables.items
                ]
            )
        return rows

    def _answer(self, result: ItemResult | None, column: PageColumn) -> Json:
        values = None if result is None else result.values.get(column.step)
        if values is None or column.field not in values:
            return None
        if self._hides(column):
            return HIDDEN_VALUE
        if column.step in self._questions.of_vectors:
            return None
        return _cell(values[column.field])

    def _hides(self, column: PageColumn) -> bool:
        return not self._hidden.isdisjoint((column.field, column.given or column.name))

    def _labels(self, history: TaskHistory) -> list[Json]:
        forms = [] if history.report is None else forms_of(history.report)
        return sorted({self._causes.get(form, OTHER_CAUSES) for form in forms})

    # ---- history -----------------------------------------------------------------------------------------

    def _history(self, history: TaskHistory) -> dict[str, Json]:
        view, report = history.task, history.report
        results = {} if report is None else {one.name: one for one in report.dimensions}
        asked = {finding.step: finding for finding in history.findings}
        sources = {} if report is None else report.sources
        document: dict[str, Json] = {
            "accepted": self._moment(view.accepted_at),
            "ended": None if view.ended_at is None else self._moment(view.ended_at),
            "params": {name: _cell(value) for name, value in self._questions.shown(view.params).items()},
            "sources": [
                [name, one.items, one.error and self._told(one.error, history)]
                for name, one in sources.items()
            ],
            "again": [
                [self._moment(event.at), str(event.data.get("state"))]
                for event in history.events
                if event.kind == "reopened"
            ],
            "findings": [_finding(result, asked.get(name)) for name, result in results.items()],
            "asked": _asked(history.items, self._hidden_steps),
            "texts": [None if item.result is None else item.result.text for item in history.items],
            "attempts": [self._attempt(one, history) for one in history.attempts],
        }
        if "text" in self._hidden:
            document["texts"] = [text and HIDDEN_VALUE for text in document["texts"]]
        return {name: value for name, value in document.items() if value not in ([], {}, None)}

    def _attempt(self, one: AttemptView, history: TaskHistory) -> list[Json]:
        took = None if one.ended_at is None else round(max(0.0, one.ended_at - one.began_at), 3)
        attempt: dict[str, Json] = {
            "call": one.call_key[:_CALL_CHARACTERS],
            "number": one.number,
            "endpoint": one.endpoint,
            "began": self._moment(one.began_at),
            "took": took,
            "outcome": outcome_of(one, history),
            "billed": int(one.billed),
            "tokens": [*one.usage.kinds().values()],
            "cost": one.usage.known_cost(is_priced=history.is_priced),
            "repeats": one.repeats,
            "hedge": int(one.is_hedge),
            "message": self._told(one.message, history),
        }
        return [attempt[name] for name in ATTEMPT]

    def _told(self, text: str, history: TaskHistory) -> str:
        """Return the text of an error, without hidden values and the secrets that this process knows."""
        text = censored(text) if text else ""
        return self._redaction.error(text, history.task.params, history.report)

    def _moment(self, at: float) -> float:
        return round(at - self._began_at, 3)


def cause_label(cause: FailureCause) -> str:
    """Return the cause as the page's filter shows it."""
    text = cause.text
    return text if len(text) <= _LABEL_CHARACTERS else f"{text[: _LABEL_CHARACTERS - 1]}…"


def _asked(items: Iterable[AskedItem], hidden_steps: AbstractSet[str]) -> list[list[dict[str, Json]]]:
    """Return what the steps asked about each item, without prompts as soon as they are too long together."""
    left = MOST_OF_TASK
    asked = []
    for item in items:
        steps = [_step(step, is_hidden=step.step in hidden_steps) for step in item.steps]
        for step in steps:
            left -= min(len(step.get("prompt", "")), MOST_CHARACTERS)
            if left < 0 and "prompt" in step:
                del step["prompt"]
                step["note"] = f"the page has no room for this prompt: `{program()} why` shows it"
        asked.append(steps)
    return asked


def _step(step: AskedStep, *, is_hidden: bool) -> dict[str, Json]:
    raw = None if step.answer is None else step.answer.get(RAW)
    return _short(
        step=step.step,
        prompt=step.prompt,
        note=step.note,
        call=step.call_key[:_CALL_CHARACTERS],
        files=list(step.attachments),
        raw=HIDDEN_VALUE if is_hidden and raw is not None else _cell(raw),
    )


def _finding(result: DimensionResult, asked: AskedStep | None) -> dict[str, Json]:
    return _short(
        name=result.name,
        score=_rounded(result.score),
        low=_rounded(result.low),
        high=_rounded(result.high),
        n=result.n,
        finding=result.finding,
        evidence=list(result.evidence),
        flags=list(result.flags),
        prompt=None if asked is None else asked.prompt,
        note="" if asked is None else asked.note,
        call="" if asked is None else asked.call_key[:_CALL_CHARACTERS],
    )


def _short(**members: Json) -> dict[str, Json]:
    return {name: value for name, value in members.items() if value is not None and value not in ("", [])}


def _cell(value: Json) -> Json:
    """Return a value as a table shows it. An integer that JavaScript would round is text."""
    match value:
        case int() if abs(value) >= 2**53:
            return str(value)
        case float():
            return _rounded(value) if math.isfinite(value) else str(value)
        case list() | tuple():
            return [_cell(each) for each in value]
        case dict():
            return {str(name): _cell(each) for name, each in value.items()}
    return value


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _cut(value: Json) -> Json:
    match value:
        case str():
            return _cut_text(value)
        case dict():
            return {_cut_text(name): _cut(each) for name, each in value.items()}
        case list() | tuple():
            return [_cut(each) for each in value]
    return value


def _cut_text(text: str) -> str:
    if len(text) <= MOST_CHARACTERS:
        return text
    left = len(text) - MOST_CHARACTERS
    return f"{text[:MOST_CHARACTERS]}\n… {left:,} more characters; `{program()} why` shows them"
