"""How the answers of a run compare with a golden set: accuracy, agreement and calibration, field by field.

Pure. Rule: a decision tells whether an answer is right only if it states the right value, or rejected the
same answer. The others are counted as untold, and enter no figure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from actors.core.messages.tasks import ItemResult, Report, Task
from actors.core.messages.values import Json
from cluster.golden.records import Decision, GoldenRecord, Order, Place
from cluster.golden.standing import GoldenSet
from cluster.report.item_columns import ItemColumn
from cluster.statistics.agreement import cohen_kappa
from cluster.statistics.calibration import Calibration, calibration
from cluster.statistics.intervals import Interval, wilson
from cluster.statistics.significance import mcnemar_mid_p

CONFIDENCE = "confidence"  # the name of a field that holds how sure the model is, from 0 to 1
_REJECTED = "rejected"  # stands for the unknown right value: it is no JSON, so that no answer equals it


@dataclass(frozen=True, slots=True)
class FieldFigures:
    """How the answers to a field compare with a golden set.

    judged: answers that a decision calls right or wrong. sampled: those of them that were shown in random
    order, of which `sampled_correct` are right; only they are a sample of the run. untold: decisions that do
    not tell whether the answer is right, such as skips. missing: decisions about items without an answer.
    kappa: Cohen's kappa of the answers and the people's values, NaN unless the field has labels. A rejected
    answer without a right value counts as a disagreement. distance: the mean distance of numbers from the
    right ones, NaN without. calibration: None without confidences from 0 to 1.
    """

    field: str
    judged: int
    correct: int
    sampled: int
    sampled_correct: int
    untold: int
    missing: int
    kappa: float
    distance: float
    calibration: Calibration | None

    @property
    def accuracy(self) -> Interval | None:
        """The share of right answers, with its Wilson interval; None if none was judged."""
        return wilson(self.correct, self.judged) if self.judged else None

    @property
    def sampled_accuracy(self) -> Interval | None:
        """The share among those in random order, which estimates that of the run; None without such."""
        return wilson(self.sampled_correct, self.sampled) if self.sampled else None


def golden_figures(
    golden: GoldenSet,
    entries: Iterable[tuple[Task, Report]],
    columns: Sequence[ItemColumn],
    confidence: str | None = None,
) -> list[FieldFigures]:
    """Return the figures of each field of `columns` that the golden set has decisions about.

    `entries` are the tasks and reports of a run, `columns` its output columns (see `Layout.outputs`).
    `confidence` names the column with confidences; see `confidence_column`.
    """
    fields = golden.fields()
    tallies = {
        column.name: _Tally(column, confidence_column(columns, column, confidence))
        for column in columns
        if column.name in fields
    }
    for task, report in entries:
        for item in report.items:
            for name, tally in tallies.items():
                record = golden.get(Place(task.key, item.item_id, name))
                if record is not None:
                    tally.add(record, item)
    return [tally.figures() for tally in tallies.values()]


def confidence_column(
    columns: Sequence[ItemColumn], column: ItemColumn, name: str | None = None
) -> ItemColumn | None:
    """Return the column with the confidences of an answer: `name`, or the field ``confidence`` of a step.

    The step is that of `column`, or the only one with such a field.
    """
    if name is not None:
        return next((each for each in columns if each.name == name), None)
    numbers = ("number", "integer")
    found = {each.name: each for each in columns if each.field == CONFIDENCE and each.spec.type in numbers}
    return found.get(confidence_name(found, column.step) or "")


def confidence_name(names: Iterable[str], step: str) -> str | None:
    """Return which of these columns of numbers has the confidences of a step: its own, or the only one."""
    found = [name for name in names if name.rpartition(".")[2] == CONFIDENCE]
    own = f"{step}.{CONFIDENCE}"
    return own if own in found else found[0] if len(found) == 1 else None


def present_answers(
    golden: GoldenSet, entries: Iterable[tuple[Task, Report]], columns: Sequence[ItemColumn]
) -> dict[Place, Json]:
    """Return the answers that a run has now at the places of the golden set.

    `retry` may have changed them since the decision.
    """
    found = {}
    for task, report in entries:
        for item in report.items:
            for column in columns:
                place = Place(task.key, item.item_id, column.name)
                is_answered, answer = column.answer(item)
                if is_answered and golden.get(place) is not None:
                    found[place] = answer
    return found


def is_number(value: Json) -> bool:
    """Return whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(slots=True)
class _Tally:
    """The counts of one field. `pairs` are the labels of the model and of the person."""

    column: ItemColumn
    confidence: ItemColumn | None
    judged: list[bool] = field(default_factory=list)
    sampled: list[bool] = field(default_factory=list)
    untold: int = 0
    missing: int = 0
    pairs: list[tuple[str, str]] = field(default_factory=list)
    distances: list[float] = field(default_factory=list)
    confidences: list[tuple[float, bool]] = field(default_factory=list)

    def add(self, record: GoldenRecord, item: ItemResult) -> None:
        is_answered, answer = self.column.answer(item)
        if not is_answered:
            self.missing += 1
            return
        is_right = record.judge(answer)
        if is_right is None:
            self.untold += 1
            return
        self.judged.append(is_right)
        if record.order is Order.RANDOM:
            self.sampled.append(is_right)
        if self.column.has_labels:
            label = _label(answer)
            person = _REJECTED if record.decision is Decision.REJECT else _label(record.value)
            self.pairs.append((label, label if is_right else person))
        if self.column.spec.type in ("number", "integer") and is_number(answer) and is_number(record.value):
            self.distances.append(abs(answer - record.value))
        if self.confidence is not None:
            _, sure = self.confidence.answer(item)
            if is_number(sure) and 0 <= sure <= 1:
                self.confidences.append((float(sure), is_right))

    def figures(self) -> FieldFigures:
        distances = self.distances
        return FieldFigures(
            self.column.name,
            len(self.judged),
            sum(self.judged),
            len(self.sampled),
            sum(self.sampled),
            self.untold,
            self.missing,
            cohen_kappa(*zip(*self.pairs, strict=True)) if self.pairs else math.nan,
            math.fsum(distances) / len(distances) if distances else math.nan,
            _calibrated(self.confidences),
        )


def _calibrated(pairs: Sequence[tuple[float, bool]]) -> Calibration | None:
    if not pairs:
        return None
    return calibration([sure for sure, _ in pairs], [is_right for _, is_right in pairs])


def _label(value: Json) -> str:
    return json.dumps(value, sort_keys=True)


def figures_document(one: FieldFigures) -> dict[str, Json]:
    """Return the figures of a field as a JSON object. A figure without data is null."""
    known = one.calibration
    return {
        "field": one.field,
        "judged": one.judged,
        "correct": one.correct,
        "accuracy": _interval_document(one.accuracy),
        "sampled": one.sampled,
        "sampled_accuracy": _interval_document(one.sampled_accuracy),
        "untold": one.untold,
        "missing": one.missing,
        "kappa": _or_null(one.kappa),
        "distance": _or_null(one.distance),
        "calibration_error": None if known is None else known.error,
        "calibration": [
            {"low": each.low, "high": each.high, "count": each.count}
            | {"confidence": each.confidence, "accuracy": each.accuracy}
            for each in (() if known is None else known.bins)
            if each.count
        ],
    }


def _interval_document(interval: Interval | None) -> dict[str, Json] | None:
    if interval is None:
        return None
    return {"estimate": interval.estimate, "low": interval.low, "high": interval.high}


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value


@dataclass(frozen=True, slots=True)
class Preferences:
    """How often people preferred a run to `other`, the other one, and neither. They saw no names."""

    other: str
    preferred: int
    other_preferred: int
    neither: int

    @property
    def share(self) -> Interval:
        """How often the run was preferred where one of the two was, with its Wilson interval."""
        return wilson(self.preferred, self.preferred + self.other_preferred)

    @property
    def p(self) -> float:
        """The mid-p value of the hypothesis that both are preferred equally often."""
        return mcnemar_mid_p(self.preferred, self.other_preferred)


def preferences(golden: GoldenSet, run_id: str) -> list[Preferences]:
    """Return the outcome of each blind comparison of the run `run_id` with another."""
    found: dict[str, list[str | None]] = {}
    for record in golden.preferences():
        found.setdefault(record.other, []).append(record.chosen)
    return [
        Preferences(other, chosen.count(run_id), chosen.count(other), chosen.count(None))
        for other, chosen in found.items()
    ]


def preference_lines(outcomes: Iterable[Preferences], run_id: str) -> Iterator[str]:
    """Yield a sentence for each blind comparison."""
    for one in outcomes:
        shares = f" ({one.share.text()}; p = {one.p:.2g})" if one.preferred + one.other_preferred else ""
        yield (
            f"{run_id} was preferred in {one.preferred:,}, {one.other} in {one.other_preferred:,}, "
            f"neither in {one.neither:,}{shares}"
        )


def figures_lines(figures: Iterable[FieldFigures]) -> Iterator[str]:
    """Yield sentences with the figures of each field."""
    for one in figures:
        accuracy = one.accuracy
        if accuracy is None:
            yield f"{one.field}: no answer is judged ({one.untold} untold, {one.missing} without an answer)"
            continue
        parts = [f"{one.correct:,} of {one.judged:,} judged answers are right: {accuracy.text()}"]
        sampled = one.sampled_accuracy
        if sampled is not None and one.sampled < one.judged:
            parts.append(f"of the {one.sampled:,} in random order {sampled.text()}")
        if sampled is None:
            parts.append("not a random sample of the run")
        if not math.isnan(one.kappa):
            parts.append(f"kappa {one.kappa:.2f}")
        if not math.isnan(one.distance):
            parts.append(f"mean distance {one.distance:.3g}")
        if one.calibration is not None:
            parts.append(f"calibration error {one.calibration.error:.2f}")
        yield f"{one.field}: {'; '.join(parts)}"
