"""Two tables are paired by key, each column is compared, and one sentence says which is better."""

from __future__ import annotations

import csv
import math
import random
import tracemalloc

import numpy as np
import orjson
import pytest

from actors.core.errors import ConfigError
from cluster.compare.answers import MOST_LABELS
from cluster.compare.comparison import compare_sides
from cluster.compare.conditions import check_condition, holds
from cluster.compare.lines import comparison_lines
from cluster.compare.page import comparison_page
from cluster.compare.pairing import TruthPairing
from cluster.compare.results import ColumnKind, Verdict
from cluster.compare.sides import TableSide
from cluster.compare.truth import golden_truths, table_truth
from cluster.golden.records import Decision, GoldenRecord
from cluster.golden.standing import GoldenSet
from cluster.statistics.significance import mcnemar_mid_p

LABELS = ("billing", "bug", "other")


def side(rows, name="A", *, key=None, is_text=False):
    return TableSide(name, lambda: iter(rows), key=key, is_text=is_text)


def compared(a, b, truth=None, *, name="label", key=None):
    truths = {}
    if truth is not None:
        rows = [{"key": key_, "right": value} for key_, value in truth.items()]
        truths[name] = table_truth(TruthPairing(side(rows, "gold")), "right", name, has_items=False)
    return compare_sides(side(a, key=key), side(b, "B", key=key), truths)


def labelled(*labels):
    return [{"key": f"k{place}", "label": label} for place, label in enumerate(labels)]


def answered(n, *, only_a, only_b, both):
    """Return two tables and the truth, of which as many rows are right in A, in B, and in both."""
    right = ["x"] * n
    a = ["x"] * (both + only_a) + ["y"] * (n - both - only_a)
    b = ["x"] * both + ["y"] * only_a + ["x"] * only_b + ["y"] * (n - both - only_a - only_b)
    return labelled(*a), labelled(*b), {f"k{place}": value for place, value in enumerate(right)}


# ---- the sentence ----------------------------------------------------------------------------------------


def test_with_a_truth_the_sentence_says_which_is_better_and_how_sure_that_is():
    a, b, truth = answered(400, only_a=32, only_b=61, both=250)
    found = compared(a, b, truth)
    assert found.sentence == (
        "B is better than A: label is right in 77.8% of 400 instead of 70.5%, "
        "+7.2 points (95 % interval +2.5 to +11.9) (61 only B right, 32 only A; p = 0.0026)."
    )
    known = found.columns["label"].accuracy
    assert (known.both, known.only_a, known.only_b, known.neither) == (250, 32, 61, 57)
    assert found.columns["label"].p == pytest.approx(mcnemar_mid_p(61, 32))
    assert compared(b, a, truth).sentence.startswith("B is worse than A: ")
    a, b, truth = answered(400, only_a=32, only_b=33, both=250)
    same = compared(a, b, truth).sentence
    assert same.startswith("No difference detected between A and B: label is right")


def test_without_a_truth_nothing_is_better():
    a = [{"key": str(number), "score": number / 100} for number in range(60)]
    b = [{**row, "score": row["score"] + 0.05 + 0.001 * (number % 7)} for number, row in enumerate(a)]
    found = compared(a, b)
    assert found.columns["score"].verdict is Verdict.DIFFERENT
    assert found.sentence.startswith("B and A are different by score +0.0529 (95 % interval ")
    assert found.sentence.endswith("Only right answers (truth) say which is better.")
    assert compared(a, a).sentence == "A and B are equal in all 60 pairs."


def test_errors_of_numbers_are_better_if_they_are_smaller():
    luck = np.random.default_rng(1)
    truth = {f"k{number}": float(number) for number in range(80)}
    a, b = (
        [{"key": key, "score": value + luck.normal(0, spread)} for key, value in truth.items()]
        for spread in (1.0, 0.3)
    )
    found = compared(a, b, truth, name="score")
    assert found.columns["score"].verdict is Verdict.BETTER
    assert found.columns["score"].errors.n == 80
    assert "from the truth instead of" in found.sentence


# ---- columns ---------------------------------------------------------------------------------------------


def test_labels_have_a_change_matrix_an_agreement_and_shares():
    a = labelled(*["bug"] * 30, *["billing"] * 30)
    b = labelled(*["bug"] * 21, *["other"] * 9, *["billing"] * 30)
    column = compared(a, b).columns["label"]
    assert column.kind is ColumnKind.LABEL
    assert [(change.a, change.b, change.count) for change in column.matrix] == [
        ("billing", "billing", 30),
        ("bug", "bug", 21),
        ("bug", "other", 9),
    ]
    assert (column.equal, column.agreement.estimate) == (51, 0.85)
    shares = {share.label: (share.a, share.b) for share in column.shares}
    assert shares == {"billing": (0.5, 0.5), "bug": (0.5, 0.35), "other": (0.0, 0.15)}
    assert column.verdict is Verdict.DIFFERENT
    assert column.tested[1] == pytest.approx(3 * mcnemar_mid_p(9, 0))  # of three labels
    assert {(each.a, each.b) for each in column.examples} == {("bug", "other")}


def test_the_p_value_of_a_boolean_is_that_of_mcnemars_test():
    a = [{"key": str(number), "spam": number < 10} for number in range(50)]
    b = [{"key": str(number), "spam": number < 3} for number in range(50)]
    column = compared(a, b).columns["spam"]
    assert column.p == pytest.approx(mcnemar_mid_p(7, 0))


def test_p_values_are_corrected_over_the_columns_that_are_not_equal_everywhere():
    a, b = (
        [{"key": str(n), "one": n < 9 if side_ else n < 3, "two": n % 2, "same": 1} for n in range(50)]
        for side_ in (0, 1)
    )
    b[0] = {**b[0], "two": 5}
    columns = compared(a, b).columns
    assert columns["one"].p == pytest.approx(min(1.0, 2 * mcnemar_mid_p(6, 0)))
    assert columns["same"].p is None
    assert columns["same"].verdict is Verdict.UNTESTED


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", "b"] * 20, ColumnKind.LABEL),
        ([f"text {number}" for number in range(40)], ColumnKind.TEXT),
        (["a" * 101, "b"] * 20, ColumnKind.TEXT),
        ([["a"], ["b"]] * 20, ColumnKind.TEXT),
        ([True, None] * 20, ColumnKind.LABEL),
        ([1, 2.5] * 20, ColumnKind.NUMBER),
        ([f"{number % (MOST_LABELS + 1)}x" for number in range(400)], ColumnKind.TEXT),
    ],
)
def test_the_values_of_both_sides_decide_how_a_column_is_compared(values, kind):
    rows = [{"key": str(place), "field": value} for place, value in enumerate(values)]
    assert compared(rows, rows).columns["field"].kind is kind


def test_texts_are_compared_by_equality_with_examples():
    a = [{"key": str(number), "summary": f"text {number}"} for number in range(100)]
    b = [{**row, "summary": row["summary"] + "!" * (number < 25)} for number, row in enumerate(a)]
    column = compared(a, b).columns["summary"]
    assert column.changed.estimate == 0.25
    assert len(column.examples) == 10
    assert all(example.b == f"{example.a}!" for example in column.examples)
    assert "changed in 25.0%" in compared(a, b).sentence


def test_a_null_on_one_side_is_counted_and_not_compared():
    a = [{"key": str(number), "score": number} for number in range(30)]
    b = [{"key": str(number), "score": None if number < 4 else number} for number in range(30)]
    column = compared(a, b).columns["score"]
    assert (column.pairs, column.missing, column.equal) == (26, 4, 26)


def test_an_example_has_the_right_value_and_what_was_asked_about():
    texts = [f"The text of row {n}" for n in range(20)]
    a, b = (
        [{**row, "text": text, "stars": 3} for row, text in zip(labelled(*"xy" * 10), texts, strict=True)]
        for _ in range(2)
    )
    b[3] = {**b[3], "label": "x"}
    found = compared(a, b, {f"k{n}": "XY"[n % 2] for n in range(20)})
    (example,) = found.columns["label"].examples
    assert (example.a, example.b, example.truth) == ("y", "x", "y")
    assert example.input == {"text": "The text of row 3", "stars": 3}
    assert "  example   k3: y → x · right: y · The text of row 3" in comparison_lines(found)
    page = comparison_page(found)
    assert '<td class="input" data-name="Input">The text of row 3</td>' in page
    assert '<td data-name="Right">y</td>' in page
    assert found.as_dict()["columns"][0]["examples"][0]["truth"] == "y"


# ---- pairs -----------------------------------------------------------------------------------------------


def test_keys_on_one_side_and_failures_are_counted():
    a = [{"key": key, "label": "x", "_error": "timeout" if key in "ab" else None} for key in "abcdef"]
    b = [{"key": key, "label": "x", "_error": "refused" if key in "bc" else None} for key in "gfedcba"]
    (level,) = compared(a, b).levels
    assert (level.matched, level.only_a, level.only_b) == (6, 0, 1)
    assert (level.failed_a, level.failed_b, level.failed_both, level.equal) == (1, 1, 1, 3)


def test_sides_without_a_common_answer_are_said_to_be_so():
    a = [{"key": str(n), "label": None, "score": None, "_error": "timeout"} for n in range(5)]
    b = [{"key": str(n), "label": "x", "score": 1.0, "_error": None} for n in range(5)]
    found = compared(a, b)
    assert found.sentence == "A and B cannot be compared: no key has an answer on both sides."
    shown = "\n".join(comparison_lines(found))
    assert "label: no pair of answers" in shown
    assert "nan" not in shown
    assert "nan" not in comparison_page(found).lower().replace("nano", "")
    assert compared(a, b, {"0": "x"}).columns["label"].accuracy.only_b == 1


def test_a_failed_answer_is_wrong():
    a, b, truth = answered(10, only_a=0, only_b=0, both=10)
    b[0] = {**b[0], "label": None, "_error": "timeout"}
    a = [{**row, "_error": None} for row in a]
    known = compared(a, b, truth).columns["label"].accuracy
    assert (known.n, known.only_a, known.both) == (10, 1, 9)


def test_the_order_of_the_rows_changes_no_figure():
    luck = random.Random(3)
    a = [{"key": str(n), "label": luck.choice(LABELS), "score": luck.gauss(0, 1)} for n in range(50)]
    b = [{"key": str(n), "label": luck.choice(LABELS), "score": luck.gauss(0, 1)} for n in range(50)]
    mixed = random.Random(4).sample(b, 50)
    first, second = compared(a, b), compared(a, mixed)
    assert first.as_dict() == second.as_dict()


def test_repeats_of_a_key_are_averaged_first():
    a = [{"id": n, "score": float(n % 5), "label": "x"} for n in range(30)]
    b = [
        {"id": n, "score": n % 5 + more, "label": label}
        for n in range(30)
        for more, label in ((0.0, "x"), (0.2, "x"), (0.4, "y"))
    ]
    found = compared(a, b, key="id")
    numbers = found.columns["score"].numbers
    assert numbers.difference.estimate == pytest.approx(0.2)
    assert found.columns["score"].pairs == 30
    assert found.columns["label"].equal == 30  # the most frequent answer counts
    assert found.levels[0].repeats == (1, 3)
    assert found.notes == ("B: repeats of one key are averaged: 90 rows of 30 keys",)


def test_the_items_of_a_task_are_one_unit():
    rows = [
        {
            "key": str(task),
            "source": "s",
            "item": str(item),
            "label": "x",
            "score": task % 3,
            "state": "succeeded",
            "error": None,
            "cost_usd": 0.0,
        }
        for task in range(20)
        for item in range(5)
    ]
    luck = random.Random(2)
    by_task = [luck.gauss(0, 0.5) for _ in range(20)]
    moved = [{**row, "score": row["score"] + by_task[int(row["key"])]} for row in rows]
    found = compared(rows, moved)
    column = found.columns["score"]
    assert (column.pairs, column.tasks) == (100, 20)
    # All items of a task change together: 100 pairs say no more than 20.
    alone = compared(rows[::5], moved[::5]).columns["score"]
    assert column.numbers.difference.high == pytest.approx(alone.numbers.difference.high)
    assert (column.changed.low, column.changed.estimate) == (alone.changed.low, 1.0)


def test_cells_of_a_csv_file_are_the_values_that_they_stand_for(tmp_path):
    rows = [
        {"key": f"{n:03}", "score": n / 7, "spam": n % 2 == 0, "note": "=1+1" if n % 2 else "ok", "due": None}
        for n in range(20)
    ]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {**row, "spam": str(row["spam"]).lower(), "note": row["note"].replace("=", "'=")} for row in rows
        )
    (tmp_path / "b.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    sides = [TableSide.of_file(str(tmp_path / name)) for name in ("a.csv", "b.jsonl")]
    found = compare_sides(*sides)
    assert found.levels[0].equal == 20
    kinds = {name: column.kind for name, column in found.columns.items()}
    assert kinds == {
        "score": ColumnKind.NUMBER,
        "spam": ColumnKind.LABEL,
        "note": ColumnKind.LABEL,
        "due": ColumnKind.LABEL,
    }


def test_a_table_of_reports_has_the_scores_of_its_dimensions():
    def report(key, score):
        return {
            "key": key,
            "state": "succeeded",
            "overall": score,
            "dimensions": [{"name": "quality", "score": score, "finding": "…"}],
            "sources": {},
            "calls": {},
            "tokens": {},
            "cost_usd": 0.1,
            "elapsed_s": 1.0,
            "errors": [],
        }

    luck = random.Random(1)
    a = [report(str(n), luck.random()) for n in range(40)]
    b = [report(row["key"], row["overall"] + 0.1) for row in a]
    found = compared(a, b)
    assert list(found.columns) == ["overall", "quality"]
    assert found.columns["quality"].numbers.difference.estimate == pytest.approx(0.1)


# ---- the golden set --------------------------------------------------------------------------------------


def test_a_golden_set_is_a_truth_in_which_an_answer_may_only_be_known_to_be_wrong():
    def decided(key, decision, answer, value=None):
        return GoldenRecord(key, "item", "label", decision, "me", 1.0, answer, value)

    golden = GoldenSet(
        [
            decided("k0", Decision.ACCEPT, "x", "x"),
            decided("k1", Decision.EDIT, "x", "y"),
            decided("k2", Decision.REJECT, "x"),
            decided("k3", Decision.REJECT, "x"),
            decided("k4", Decision.SKIP, "x"),
        ]
    )
    truths = golden_truths(golden, "golden set", has_items=False)
    a, b = side(labelled(*"xxxxx")), side(labelled(*"xyxyx"), "B")
    found = compare_sides(a, b, truths)
    known = found.columns["label"].accuracy
    # Nothing is known of B's other answer to k3, and of k4.
    assert (known.n, known.both, known.only_b, known.neither) == (3, 1, 1, 1)
    assert "not all about items in random order" in found.notes[0]


def test_agreement_and_calibration_are_those_of_each_side():
    def rows(sure):
        labels = ["x", "y"] * 10
        return [{"key": f"k{n}", "label": label, "confidence": sure} for n, label in enumerate(labels)]

    truth = {f"k{n}": "y" if n in (0, 1, 2, 3) else "xy"[n % 2] for n in range(20)}  # two are wrong
    known = compared(rows(0.9), rows(0.5), truth).columns["label"].accuracy
    assert known.a.estimate == 0.9
    assert known.kappa_a == known.kappa_b == pytest.approx((0.9 - 0.5) / (1 - 0.5))
    assert (known.calibration_a, known.calibration_b) == pytest.approx((0.0, 0.4))


# ---- conditions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "is_so"),
    [
        ("accuracy < -0.02", True),
        ("accuracy > 0 or worse", True),
        ("better", False),
        ("label.p >= 0.05", False),
        ("accuracy.high < 0 and label.accuracy < 0", True),
        ("unmatched > 0 or failed > 0", False),
        ("label.changed > 0.9", False),
    ],
)
def test_a_condition_is_about_the_figures_of_the_comparison(condition, is_so):
    a, b, truth = answered(400, only_a=61, only_b=32, both=250)
    assert holds(condition, compared(a, b, truth)) is is_so


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ("accuracy < -0.02", "there is no such figure; accuracy needs --truth"),
        ("cost > 1", "it is not known here"),
        ("lable.changed > 0", "known are: label.changed"),
    ],
)
def test_a_condition_about_a_figure_that_is_not_known_is_an_error(condition, problem):
    with pytest.raises(ConfigError, match=problem):
        holds(condition, compared(labelled(*"xy" * 9), labelled(*"yx" * 9)))
    with pytest.raises(ConfigError, match="column 10 of the condition"):
        check_condition("accuracy ~ 1")


# ---- mistakes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "key", "problem"),
    [
        ([], labelled("x"), None, "A: the table has no rows"),
        (labelled("x"), [{"key": "other", "label": "x"}], None, "have no key in common"),
        (labelled("x"), [{"label": "x"}], None, "the rows of one are numbered"),
        ([{"label": "x"}], [{"label": "x"}] * 2, None, "A has 1 rows and B has 2, and no column `key`"),
        (labelled("x") * 2, labelled("x"), None, "A: a key occurs 2 times"),
        ([{"key": None, "label": "x"}], labelled("x"), None, "A, row 1: the key 'key' is null"),
        (labelled("x"), labelled("x"), "id", 'A: no column is named "id"; the columns are: key, label'),
        (
            labelled("x"),
            [{"key": "k0", "mood": "x"}],
            None,
            "no column of answers in common: A has label; B has mood",
        ),
    ],
)
def test_what_cannot_be_compared_is_an_error_that_says_what_to_do(a, b, key, problem):
    with pytest.raises(ConfigError, match=problem):
        compared(a, b, key=key)


def test_a_truth_that_fits_nothing_is_an_error():
    a = labelled(*"xy" * 5)
    with pytest.raises(ConfigError, match="no right value of label for a row that both sides have"):
        compared(a, a, {"elsewhere": "x"})
    with pytest.raises(ConfigError, match="neither side has a column 'mood'; compared are: label"):
        compared(a, a, {"k1": "x"}, name="mood")
    with pytest.raises(ConfigError, match="did you mean right"):
        table_truth(TruthPairing(side([{"key": "a", "right": 1}])), "rigth", "label", has_items=False)


# ---- known differences -----------------------------------------------------------------------------------


def test_two_runs_with_an_injected_difference_and_two_without():
    """Of 100 seeds, at least 93 intervals hold the difference of 0.05, and at most 7 raise a false alarm."""
    n, seeds = 100, 100
    held, alarms = dict.fromkeys(("score", "label"), 0), dict.fromkeys(("score", "label"), 0)
    for seed in range(seeds):
        luck = np.random.default_rng(seed)
        level = luck.random(n)  # what a task's score is without noise

        def rows(right, shift, luck=luck, level=level):
            scores = level + shift + luck.normal(0, 0.15, n)
            labels = np.where(luck.random(n) < right, "right", "wrong")
            pairs = zip(scores.tolist(), labels.tolist(), strict=True)
            return [
                {"key": str(place), "score": score, "label": label}
                for place, (score, label) in enumerate(pairs)
            ]

        a, same, other = rows(0.8, 0.0), rows(0.8, 0.0), rows(0.85, 0.05)
        truth = {str(place): "right" for place in range(n)}
        changed, unchanged = compared(a, other, truth), compared(a, same, truth)
        score, label = changed.columns["score"].numbers, changed.columns["label"].accuracy
        held["score"] += score.difference.low <= 0.05 <= score.difference.high
        held["label"] += label.difference.low <= 0.05 <= label.difference.high
        for name in alarms:
            alarms[name] += unchanged.columns[name].tested[1] < 0.05
    assert min(held.values()) >= 93, held
    assert max(alarms.values()) <= 7, alarms


def test_texts_are_not_kept_in_memory():
    def rows(mark):
        return ({"key": str(n), "summary": f"{n} {mark}" + "x" * 2_000} for n in range(5_000))

    sides = [TableSide(mark, lambda mark=mark: rows(mark)) for mark in "AB"]
    tracemalloc.start()
    try:
        found = compare_sides(*sides)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.columns["summary"].equal == 0
    assert peak < 4_000_000  # the texts have 20 MB


def test_numbers_that_are_not_finite_are_null_in_the_document():
    rows = [{"key": "a", "score": 1.0}]
    document = compared(rows, [{"key": "a", "score": 2.0}]).as_dict()
    difference = document["columns"][0]["numbers"]["difference"]
    assert (difference["low"], difference["estimate"], difference["high"]) == (None, 1.0, None)
    assert "score +1 (too few pairs for an interval)" in document["sentence"]
    assert not any(isinstance(value, float) and math.isinf(value) for value in difference.values())
