"""A review under way: what was asked, what was decided, and how many answers were right so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from actors.core.messages.values import Json
from cluster.golden.file import GoldenFile
from cluster.golden.records import Decision, GoldenRecord, Place, same
from cluster.report.item_columns import ItemColumn
from cluster.review.choosing import ReviewQuestion, is_left
from cluster.review.values import opposite, options_of, parse_value
from cluster.statistics.intervals import wilson

LEFT, RIGHT, NEITHER = "left", "right", "neither"


class RefusedDecisionError(ValueError):
    """A decision does not fit its question. The text says why."""


@dataclass(frozen=True, slots=True)
class ReviewPair:
    """The ids of the two runs of a blind comparison."""

    run: str
    other: str


class ReviewSession:
    """Takes decisions about `questions`, and adds them to `file` at once. `clock` returns seconds since 1970.

    `answers` are those of the run where `file` has decisions. `pair` is set in a blind comparison, whose
    sides depend on `seed`.
    """

    def __init__(
        self,
        questions: Sequence[ReviewQuestion],
        file: GoldenFile,
        reviewer: str,
        clock: Callable[[], float],
        *,
        answers: Mapping[Place, Json] | None = None,
        pair: ReviewPair | None = None,
        seed: int = 0,
    ) -> None:
        self.questions = questions
        self.pair = pair
        asked = {each.place: each.answer[1] for each in questions if each.answer[0]}
        self._answers = {**(answers or {}), **asked}
        self._file = file
        self._reviewer = reviewer
        self._clock = clock
        self._seed = seed
        self._made: list[int] = []  # the questions of the decisions of this session that stand, in order

    def question(self, index: int) -> ReviewQuestion:
        """Return a question. Raises `RefusedDecisionError` if there is none."""
        if not 0 <= index < len(self.questions):
            raise RefusedDecisionError(f"there is no question {index}")
        return self.questions[index]

    def decision(self, index: int) -> GoldenRecord | None:
        """Return the decision about a question."""
        return self._file.golden.get(self.questions[index].place)

    # ---- deciding ----------------------------------------------------------------------------------------

    def accept(self, index: int) -> None:
        """Decide that the answer is right."""
        is_answered, answer = self._answer(index)
        if not is_answered:
            raise RefusedDecisionError("there is no answer to accept: choose a value, or type one")
        self._add(index, Decision.ACCEPT, answer)

    def reject(self, index: int) -> None:
        """Decide that the answer is wrong. The opposite of true or false is right then."""
        is_answered, answer = self._answer(index)
        if not is_answered:
            raise RefusedDecisionError("there is no answer to reject: choose a value, or type one")
        right = opposite(self._column(index).spec, answer)
        self._add(index, Decision.REJECT if right is None else Decision.EDIT, right)

    def choose(self, index: int, option: int) -> None:
        """Decide that an option of `options_of` is right, counted from 0."""
        options = options_of(self._column(index).spec)
        if not 0 <= option < len(options):
            raise RefusedDecisionError(f"there is no choice {option}")
        self._edit(index, options[option].value)

    def edit_text(self, index: int, text: str) -> None:
        """Decide which value is right, as it was typed. Raises `RefusedDecisionError`."""
        try:
            value = parse_value(self._column(index).spec, text)
        except ValueError as error:
            raise RefusedDecisionError(str(error)) from error
        self._edit(index, value)

    def skip(self, index: int) -> None:
        """Decide nothing."""
        self._add(index, Decision.SKIP)

    def prefer(self, index: int, side: str) -> None:
        """Decide which answer of a blind comparison is better: `LEFT`, `RIGHT` or `NEITHER`."""
        question = self.question(index)
        if self.pair is None or side not in (LEFT, RIGHT, NEITHER):
            raise RefusedDecisionError(f"{side!r} is no side of a comparison")
        left, right = self.sides(question.place)
        self._add(index, Decision.PREFER, chosen={LEFT: left, RIGHT: right}.get(side))

    def sides(self, place: Place) -> tuple[str, str]:
        """Return the ids of the runs whose answers a blind comparison shows on the left and on the right."""
        assert self.pair is not None  # noqa: S101 - only a blind comparison has sides
        both = (self.pair.run, self.pair.other)
        return both if is_left(self._seed, place) else both[::-1]

    def undo(self) -> int | None:
        """Withdraw the last decision of this session, and return its question; None if there is none."""
        if not self._made:
            return None
        index = self._made[-1]
        place = self.questions[index].place
        self._file.append(
            GoldenRecord(
                place.task,
                place.item,
                place.field,
                Decision.UNDO,
                self._reviewer,
                self._clock(),
                other=place.other,
            )
        )
        return self._made.pop()

    def _edit(self, index: int, value: Json) -> None:
        is_answered, answer = self._answer(index)
        is_equal = is_answered and same(answer, value)
        self._add(index, Decision.ACCEPT if is_equal else Decision.EDIT, value)

    def _answer(self, index: int) -> tuple[bool, Json]:
        self._column(index)
        return self.question(index).answer

    def _column(self, index: int) -> ItemColumn:
        column = self.question(index).column
        if column is None:
            raise RefusedDecisionError("a blind comparison has no answer to judge: prefer one")
        return column

    def _add(self, index: int, decision: Decision, value: Json = None, *, chosen: str | None = None) -> None:
        question = self.question(index)
        place = question.place
        earlier = self._file.golden.get(place)
        self._file.append(
            GoldenRecord(
                place.task,
                place.item,
                place.field,
                decision,
                self._reviewer,
                self._clock(),
                answer=question.answer[1],
                value=value,
                # A second look does not change why the item was shown first.
                order=question.order if earlier is None else earlier.order,
                other=place.other,
                chosen=chosen,
            )
        )
        self._made.append(index)

    # ---- progress ----------------------------------------------------------------------------------------

    def is_open(self, index: int) -> bool:
        """Return whether this session has not decided a question. Earlier ones may have."""
        return index not in self._made

    def next_open(self, index: int) -> int | None:
        """Return the next open question, also from the beginning; None if there is none."""
        count = len(self.questions)
        made = {*self._made}
        later = ((index + step) % count for step in range(1, count + 1))
        return next((each for each in later if each not in made), None)

    def progress(self) -> dict[str, Json]:
        """Return how many questions have a decision, and for each field how many answers are right.

        A blind comparison shows no result before its end: it would reveal the runs.
        """
        made = {*self._made}
        records = [self.decision(index) for index in made]
        return {
            "total": len(self.questions),
            "decided": len(made),
            "skipped": sum(record is not None and record.decision is Decision.SKIP for record in records),
            "can_undo": bool(made),
            "fields": {} if self.pair else {name: self._precision(name) for name in self._fields()},
        }

    def _fields(self) -> list[str]:
        return [*dict.fromkeys(question.place.field for question in self.questions)]

    def _precision(self, field: str) -> dict[str, Json]:
        """Return the share of right answers in the whole golden set, also by earlier sessions."""
        records = [each for each in self._file.golden if each.field == field and each.place in self._answers]
        verdicts = [record.judge(self._answers[record.place]) for record in records]
        judged = [is_right for is_right in verdicts if is_right is not None]
        share = wilson(sum(judged), len(judged))
        return {"judged": len(judged), "right": sum(judged), "share": share.text()}
