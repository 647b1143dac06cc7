"""Makes the cards of questions for the page: inputs, prompts, answers, and what a person can decide.

Texts are data of strangers. The page inserts them as text, never as markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from actors.core.errors import ConfigError
from actors.core.messages.journal import RunView
from actors.core.messages.tasks import ItemResult, Report
from actors.core.messages.values import Json
from actors.core.task.prompts import ROWS
from actors.journal.stores.base import Store
from actors.llm.fields import VectorField, in_words
from cluster.golden.records import Decision, GoldenRecord, same
from cluster.history.asked import RunQuestions
from cluster.records.reading import history_of
from cluster.report.item_columns import ItemColumn
from cluster.report.task_history import AskedStep
from cluster.review.choosing import ReviewQuestion, ReviewSelection
from cluster.review.session import NEITHER, ReviewSession
from cluster.review.values import clean, options_of, value_text

_MOST_MATCHES = 100
_SEARCHED_CHARACTERS = 20_000  # of each value


class CardMaker:
    """Makes the documents of the page. Reads the store for each card."""

    def __init__(
        self, store: Store, run: RunView, session: ReviewSession, selection: ReviewSelection
    ) -> None:
        self._store = store
        self._run = run
        self._session = session
        self._selection = selection
        self._asked_by_run = RunQuestions(run)

    def card(self, index: int) -> dict[str, Json]:
        """Return what the page shows of a question. Raises `RefusedDecisionError` if there is none."""
        question = self._session.question(index)
        item = question.item
        shown: dict[str, Json] = {
            "index": index,
            "task": clean(question.task.key),
            "item": clean(item.item_id),
            "source": item.source,
            "why": self._why(question),
            "inputs": _shown_fields(question.task.params),
            "text": None if item.text is None else clean(item.text),
            "decision": self._decided(index),
            "is_open": self._session.is_open(index),
        }
        if self._session.pair is not None:
            return shown | {"sides": self._sides(question)}
        return shown | self._judged(question)

    def _judged(self, question: ReviewQuestion) -> dict[str, Json]:
        """Return what is shown of a question about a single answer."""
        column, item = question.column, question.item
        assert column is not None  # noqa: S101 - only a blind comparison has no column
        is_answered, answer = question.answer
        steps, report, note = self._asked(question)
        other = self._other(question, column)
        return {
            "field": column.name,
            "wanted": "" if isinstance(column.spec, VectorField) else in_words(column.spec),
            "about": clean(column.spec.description or ""),
            "options": [
                {
                    "key": option.key,
                    "shown": option.shown,
                    "is_answer": is_answered and same(option.value, answer),
                }
                for option in options_of(column.spec)
            ],
            "answer": value_text(answer) if is_answered else None,
            "answers": [
                {"name": each.name, "shown": _answer_text(each, item), "is_asked": each == column}
                for each in self._selection.all_columns
            ],
            "other": other,
            "error": None if item.error is None else clean(str(item.error)),
            # Without sources, the inputs are all that the prompt says of the item.
            "prompts": [
                _prompt(step, is_open=step.step == column.step and item.source != ROWS and item.text is None)
                for step in steps
            ],
            "evidence": [*_cited(report, item.item_id)],
            "note": note,
        }

    def _asked(self, question: ReviewQuestion) -> tuple[Sequence[AskedStep], Report | None, str]:
        """Return what was asked about the item, the report of its task, and why there may be no prompt."""
        history = history_of(self._store, self._run.run_id, question.task.key)
        try:
            known = self._asked_by_run.of(self._store, history, question.item.item_id)
        except ConfigError as error:
            return (), history.report, clean(str(error))
        return known.items[0].steps, history.report, ""

    def _why(self, question: ReviewQuestion) -> str:
        """Return why the question is asked now, as far as it does not reveal an answer."""
        parts = []
        if question.differs and not self._selection.is_blind:
            parts.append("the runs differ" if self._selection.other else "the steps differ")
        if question.sure is not None and not self._selection.is_blind:
            parts.append(f"confidence {question.sure:.3g}")
        return ", ".join(parts)

    def _other(self, question: ReviewQuestion, column: ItemColumn) -> dict[str, Json] | None:
        if question.other is None:
            return None
        return {"run": self._selection.other, "shown": _answer_text(column, question.other)}

    def _sides(self, question: ReviewQuestion) -> list[Json]:
        """Return the answers of both runs, on the sides where a blind comparison shows them."""
        assert question.other is not None  # noqa: S101 - a blind comparison has only items of both runs
        results = {self._run.run_id: question.item, self._selection.other: question.other}
        return [
            [
                {"name": column.name, "shown": _answer_text(column, results[run_id])}
                for column in self._selection.columns
            ]
            for run_id in self._session.sides(question.place)
        ]

    def _decided(self, index: int) -> dict[str, Json] | None:
        record = self._session.decision(index)
        if record is None:
            return None
        shown = value_text(record.value) if record.decision is Decision.EDIT else None
        return {"decision": record.decision.value, "shown": shown, "side": self._side(record)}

    def _side(self, record: GoldenRecord) -> str | None:
        if record.decision is not Decision.PREFER:
            return None
        if record.chosen is None:
            return NEITHER
        return ("left", "right")[self._session.sides(record.place).index(record.chosen)]

    # ---- all questions -----------------------------------------------------------------------------------

    def overview(self) -> list[dict[str, Json]]:
        """Return a short entry for each question."""
        return [self.entry(index) for index in range(len(self._session.questions))]

    def entry(self, index: int) -> dict[str, Json]:
        """Return the entry of a question: its names, and the decision about it."""
        place = self._session.questions[index].place
        record = self._session.decision(index)
        return {
            "task": clean(place.task),
            "item": clean(place.item),
            "field": clean(place.field),
            "decision": None if record is None else record.decision.value,
            "is_open": self._session.is_open(index),
        }

    def matches(self, words: str) -> tuple[list[int], int]:
        """Return the first questions that hold all `words`, and how many do: in key, inputs or answers."""
        wanted = words.casefold().split()
        found = [
            index
            for index, question in enumerate(self._session.questions)
            if all(word in _searched(question) for word in wanted)
        ]
        return found[:_MOST_MATCHES], len(found)


def _shown_fields(fields: Mapping[str, Json]) -> list[dict[str, Json]]:
    return [{"name": clean(name), "shown": value_text(value)} for name, value in fields.items()]


def _answer_text(column: ItemColumn, item: ItemResult) -> str | None:
    """Return an answer as the page shows it, None if there is none."""
    is_answered, answer = column.answer(item)
    if is_answered and isinstance(column.spec, VectorField):
        return "a vector"
    return value_text(answer) if is_answered else None


def _prompt(step: AskedStep, *, is_open: bool) -> dict[str, Json]:
    return {
        "step": step.step,
        "is_open": is_open,
        "system": None if step.system is None else clean(step.system),
        "prompt": None if step.prompt is None else clean(step.prompt),
        "files": [clean(each) for each in step.attachments],
        "note": clean(step.note),
    }


def _cited(report: Report | None, item_id: str) -> Iterator[dict[str, Json]]:
    """Yield the findings of the task that cite an item."""
    for dimension in () if report is None else report.dimensions:
        if item_id in dimension.evidence:
            score = None if dimension.score is None else round(dimension.score, 3)
            yield {"dimension": dimension.name, "score": score, "finding": clean(dimension.finding)}


def _searched(question: ReviewQuestion) -> str:
    values = [*question.task.params.values()]
    values += [value for step in question.item.values.values() for value in step.values()]
    texts = [question.task.key, question.item.item_id, *(value_text(value) for value in values)]
    return "\n".join(text[:_SEARCHED_CHARACTERS] for text in texts).casefold()
