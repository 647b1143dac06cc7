"""How the answers of a run compare with what people decided about them."""

from __future__ import annotations

import json
import math

import pytest

from actors.core.messages.tasks import Task
from cluster.golden.figures import (
    confidence_column,
    confidence_name,
    figures_document,
    figures_lines,
    golden_figures,
    preference_lines,
    preferences,
    present_answers,
)
from cluster.golden.records import Decision, GoldenRecord, Order
from cluster.golden.standing import GoldenSet
from cluster.report.item_columns import item_columns
from tests.unit.support.tables import rated, settings

FIELDS = {
    "label": {"type": "string", "choices": ["good", "bad", "mixed"]},
    "score": {"type": "number"},
    "confidence": {"type": "number", "min": 0, "max": 1},
}
COLUMNS = item_columns(settings(sources=False, fields=FIELDS))


def answers(*rows):
    """Return the tasks and reports of rows of label, score and confidence; None in place of a failed row."""
    return [
        (Task(f"t{at}"), rated(f"t{at}", values={} if row is None else dict(zip(FIELDS, row, strict=True))))
        for at, row in enumerate(rows)
    ]


def decided(at, decision, value=None, *, answer=None, field="label", order=None):
    return GoldenRecord(f"t{at}", f"rows:t{at}", field, decision, "ann", 1.0, answer, value, order)


def test_accuracy_agreement_and_calibration_of_a_field():
    entries = answers(
        ("good", 1, 0.9), ("bad", 1, 0.8), ("good", 1, 0.7), ("bad", 1, 0.2), ("mixed", 1, 0.4), None
    )
    golden = GoldenSet(
        [
            decided(0, Decision.ACCEPT, "good", order=Order.RANDOM),
            decided(1, Decision.ACCEPT, "bad", order=Order.RANDOM),
            decided(2, Decision.EDIT, "bad", order=Order.CONFIDENCE),
            decided(3, Decision.REJECT, answer="bad", order=Order.RANDOM),
            decided(4, Decision.SKIP),
            decided(5, Decision.EDIT, "good"),
        ]
    )
    (label,) = golden_figures(golden, entries, COLUMNS)
    assert (label.field, label.judged, label.correct, label.untold, label.missing) == ("label", 4, 2, 1, 1)
    assert (label.sampled, label.sampled_correct) == (3, 2)
    assert label.accuracy is not None
    assert (label.accuracy.low, label.accuracy.high) == pytest.approx((0.150, 0.850), abs=1e-3)
    # Observed agreement 1/2; by chance 1/2 * 1/4 (good) + 1/2 * 1/2 (bad) = 3/8.
    assert label.kappa == pytest.approx((1 / 2 - 3 / 8) / (1 - 3 / 8))
    assert label.calibration is not None
    assert label.calibration.error == pytest.approx((0.1 + 0.2 + 0.7 + 0.2) / 4)
    (line,) = figures_lines([label])
    assert line.startswith(
        "label: 2 of 4 judged answers are right: 50.0% (15.0% to 85.0%); of the 3 in random"
    )


def test_a_rejection_tells_nothing_about_another_answer():
    """Another run may have answered with the right value, or with another wrong one."""
    golden = GoldenSet([decided(0, Decision.REJECT, answer="bad"), decided(1, Decision.EDIT, "good")])
    (label,) = golden_figures(golden, answers(("mixed", 1, 1), ("good", 1, 1)), COLUMNS)
    assert (label.judged, label.correct, label.untold) == (1, 1, 1)


def test_numbers_have_a_distance_and_no_kappa():
    golden = GoldenSet(
        [
            decided(0, Decision.ACCEPT, 0.5, field="score"),
            decided(1, Decision.EDIT, 2, field="score"),
            decided(2, Decision.REJECT, answer=9, field="score"),
        ]
    )
    (score,) = golden_figures(golden, answers(("good", 0.5, 1), ("good", 3, 1), ("good", 9, 1)), COLUMNS)
    assert (score.judged, score.correct, score.distance) == (3, 1, 0.5)
    assert math.isnan(score.kappa)


def test_the_document_has_null_where_there_is_no_figure():
    golden = GoldenSet([decided(0, Decision.EDIT, 2, field="score"), decided(1, Decision.SKIP)])
    label, score = map(
        figures_document, golden_figures(golden, answers(("good", 3, 0.9), ("bad", 1, 1)), COLUMNS)
    )
    assert json.loads(json.dumps(score, allow_nan=False)) == score
    assert (score["kappa"], score["distance"], score["accuracy"]["estimate"]) == (None, 1.0, 0.0)
    assert [(one["low"], one["count"], one["accuracy"]) for one in score["calibration"]] == [(0.9, 1, 0.0)]
    assert (label["accuracy"], label["calibration_error"], label["untold"]) == (None, None, 1)


def test_confidences_out_of_range_are_left_out_and_a_field_without_judged_answers_has_no_accuracy():
    golden = GoldenSet([decided(0, Decision.ACCEPT, "good"), decided(0, Decision.SKIP, field="score")])
    label, score = golden_figures(golden, answers(("good", 1, 90)), COLUMNS)
    assert label.calibration is None
    assert score.accuracy is score.sampled_accuracy is None
    assert [*figures_lines([score])] == ["score: no answer is judged (1 untold, 0 without an answer)"]


def test_present_answers_are_those_that_have_a_decision():
    golden = GoldenSet([decided(at, Decision.ACCEPT, "good") for at in range(2)])
    found = present_answers(golden, answers(("bad", 1, 1), None, ("good", 1, 1)), COLUMNS)
    assert found == {decided(0, Decision.ACCEPT).place: "bad"}


@pytest.mark.parametrize(
    ("names", "step", "found"),
    [
        (["label", "confidence"], "a", "confidence"),
        (["b.confidence", "a.confidence"], "a", "a.confidence"),
        (["b.confidence"], "a", "b.confidence"),
        (["b.confidence", "c.confidence"], "a", None),
        (["overconfidence", "score"], "a", None),
    ],
)
def test_the_confidence_of_an_answer_is_that_of_its_step_or_the_only_one(names, step, found):
    assert confidence_name(names, step) == found


def test_true_is_not_the_number_one():
    golden = GoldenSet([decided(0, Decision.EDIT, 1), decided(1, Decision.EDIT, 1)])
    (label,) = golden_figures(golden, answers((True, 0, 0), (1.0, 0, 0)), COLUMNS)
    assert (label.judged, label.correct) == (2, 1)


def test_preferences_are_counted_for_each_run_that_was_compared_with():
    chosen = ["a", "b", "b", None, "b"]
    records = [
        GoldenRecord(f"t{at}", "i", "label", Decision.PREFER, "ann", 1.0, other="b", chosen=one)
        for at, one in enumerate(chosen)
    ]
    golden = GoldenSet(records)
    (outcome,) = preferences(golden, "a")
    assert (outcome.preferred, outcome.other_preferred, outcome.neither) == (1, 3, 1)
    (line,) = preference_lines([outcome], "a")
    assert line.startswith("a was preferred in 1, b in 3, neither in 1 (25.0% (4.6% to 69.9%); p = 0.3")
    assert not [*golden]  # a preference does not tell which answer is right


@pytest.mark.parametrize(
    ("of", "named", "found"),
    [
        ("label", None, "one.confidence"),
        ("other", None, "two.confidence"),
        ("alone", None, None),  # two steps have a confidence
        ("alone", "one.confidence", "one.confidence"),
        ("alone", "no", None),
    ],
)
def test_the_confidence_of_an_answer_is_that_of_its_step(of, named, found):
    number = {"confidence": {"type": "number"}}
    steps = [
        {"name": "one", "prompt": "{text}", "output": {"label": {"type": "string"}, **number}},
        {"name": "two", "prompt": "{text}", "output": {"other": {"type": "string"}, **number}},
        {"name": "three", "prompt": "{text}", "output": {"alone": {"type": "string"}}},
    ]
    columns = item_columns(settings(sources=False, evaluate=steps))
    column = next(each for each in columns if each.name == of)
    chosen = confidence_column(columns, column, named)
    assert (chosen and chosen.name) == found
