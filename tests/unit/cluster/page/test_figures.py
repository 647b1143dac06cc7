"""The figures of the summary: distributions, ranking, outliers, and the course over time."""

from __future__ import annotations

import math

import pytest

from actors.core.errors import FailureKind
from actors.core.messages.journal import AttemptView, RunView, Spent, TaskTally
from actors.core.messages.tasks import DimensionResult, ItemResult, ItemState, Report, Task, TaskState
from actors.core.messages.values import CallCounts, Usage
from cluster.page import distributions
from cluster.page.course import INTERVALS, Course
from cluster.page.distributions import ColumnNumbers, Labels
from cluster.page.drawings import histogram, short, span, stack
from cluster.page.figures import RunFigures
from cluster.page.selection import Selection
from cluster.report.tables.columns import Layout

CONFIG = {
    "sources": [{"name": "wire"}],
    "evaluate": {
        "name": "rate",
        "output": {
            "quality": {"type": "number", "min": 0.0, "max": 10.0},
            "label": {"type": "string", "choices": ["good", "bad"]},
        },
    },
    "dimensions": [
        {"name": "quality", "field": "quality", "weight": 3.0},
        {"name": "risk", "field": "quality", "weight": -1.0},
    ],
}


def figures_of(*reports):
    tally = TaskTally(len(reports), len(reports))
    run = RunView(
        "run-7", "demo", "succeeded", 0.0, 60.0, tally, Spent(CallCounts(), Usage()), CONFIG, {}, {}
    )
    figures = RunFigures(run, Layout.stored(CONFIG), (), 60.0)
    for report in reports:
        figures.add(Task(report.key), report, ())
    return figures


def report(key, score, label="good"):
    values = {"rate": {"quality": score, "label": label}}
    item = ItemResult("wire:0", "wire", ItemState.SUCCEEDED, values)
    results = tuple(
        DimensionResult(name, score, max(score - 1, 0), score + 1, 1, "", ()) for name in ("quality", "risk")
    )
    overall = (3 * score / 10 + 1 - score / 10) / 4
    state = TaskState.SUCCEEDED
    return Report(key, state, overall, results, {}, CallCounts(), Usage(), 1.0, items=(item,))


def test_the_ranking_has_both_ends_and_no_task_twice():
    figures = figures_of(*(report(f"t{number}", number / 10) for number in range(100)))
    best, worst = figures.ranking()
    assert [one.key for one in best[:2]] == ["t99", "t98"]
    assert [one.key for one in worst[:2]] == ["t0", "t1"]
    assert len(best) == len(worst) == 10
    few = figures_of(report("a", 1.0), report("b", 5.0), report("c", 3.0)).ranking()
    assert [[one.key for one in each] for each in few] == [["b", "c"], ["a"]]


def test_the_interval_of_an_overall_score_turns_where_less_is_better():
    best, _ = figures_of(report("a", 5.0)).ranking()
    # quality: 0.4 to 0.6, weight 3; risk, of which less is better: 0.4 to 0.6, weight 1
    assert (round(best[0].low, 6), round(best[0].high, 6)) == (0.4, 0.6)


def test_answers_are_counted_by_column_and_outliers_are_named():
    figures = figures_of(
        *(report(f"t{number}", 5 + number % 3 / 10) for number in range(50)), report("far", 9.5, "bad")
    )
    spreads = {column.name: spread for column, spread in figures.fields()}
    assert spreads["label"].labels == (("good", 50), ("bad", 1))
    assert spreads["quality"].count == 51
    found = {(one.column, one.key, one.item) for one in figures.outliers()}
    assert ("quality", "far", "") in found  # of the dimension
    assert ("quality", "far", "wire:0") in found  # of the answers
    assert {one.key for one in figures.outliers()} == {"far"}
    assert "far" in figures.shown_keys()


def test_numbers_have_exact_moments_and_bounded_memory(monkeypatch):
    monkeypatch.setattr(distributions, "MOST_VALUES", 100)
    numbers = ColumnNumbers("n", (0.0, 1_000.0), "rows", whole=False)
    for value in [*range(1, 1_001), None, "x", True, math.nan, math.inf]:
        numbers.add(value)
    spread = numbers.spread()
    assert (spread.count, spread.missing) == (1_000, 5)
    assert spread.mean == 500.5
    assert round(spread.deviation, 3) == 288.819
    assert 300 < spread.median < 700  # of a sample
    assert sum(one.count for one in spread.bins) == pytest.approx(1_000, abs=20)


def test_a_histogram_of_whole_numbers_has_a_bar_for_each():
    numbers = ColumnNumbers("stars", (1, 5), "rows", whole=True)
    for value in (1, 5, 5, 4):
        numbers.add(value)
    drawn = histogram(numbers.spread())
    assert [bar.title for bar in drawn.bars] == ["1: 1 rows", "4: 1 rows", "5: 2 rows"]
    assert (drawn.low, drawn.high) == (1, 5)
    assert histogram(ColumnNumbers("none", (None, None), "rows", whole=False).spread()) is None


def test_labels_are_shown_of_choices_lists_and_texts_that_recur():
    declared = Labels("label", "rows", declared=("a", "b"))
    lists, rare, common = (
        Labels("tags", "rows"),
        Labels("id", "rows", free=True),
        Labels("city", "rows", free=True),
    )
    for number in range(100):
        declared.add("a")
        lists.add(["x", "y", "x"] if number % 2 else ["x"])
        rare.add(f"id {number}")
        common.add("Ulm" if number % 3 else None)
    assert declared.spread().labels == (("a", 100), ("b", 0))
    assert lists.spread().labels == (("x", 100), ("y", 50))
    assert rare.spread() is None
    assert (common.spread().labels, common.spread().missing) == ((("Ulm", 66),), 34)


def attempt(began_at, ended_at, outcome="answered", repeats=1):
    return AttemptView("k", 1, 1, "e", began_at, ended_at, outcome, "", True, Usage(), repeats=repeats)


def test_the_course_counts_attempts_where_they_ended_and_where_they_flew():
    course = Course(0.0, float(INTERVALS))  # an interval is a second
    course.add([attempt(0.5, 2.5), attempt(1.0, 1.5), attempt(0.0, 3.0, FailureKind.REFUSED, repeats=8)])
    course.add(
        [attempt(5.0, None, None), attempt(0.0, 1.0, "reused"), attempt(0.0, 9.0, FailureKind.PERMANENT)]
    )
    series = course.series()
    assert series["answered"][:4] == [0, 1, 1, 0]
    assert series["refused"][:5] == [2, 2, 2, 2, 0]  # one that represents several is spread over their time
    assert series["failed"][9] == 1
    assert series["in_flight"][:4] == [1.5, 2.5, 1.5, 1.0]
    assert series["p50"][0] is None
    assert series["p50"][2] == pytest.approx(2.0, rel=0.06)
    counts = course.endpoints["e"]
    assert (counts.attempts, counts.answered, counts.refused, counts.failed, counts.in_doubt) == (
        12,
        2,
        8,
        1,
        1,
    )


@pytest.mark.parametrize(
    ("most", "failures", "others", "kept"),
    [
        (1_000, 10, 90, (1.0, 1.0)),
        (100, 10, 990, (1.0, 80 / 990)),
        (10, 1_000, 1_000, (6.3 / 1_000, 2.7 / 1_000)),
    ],
)
def test_failures_are_kept_before_others(most, failures, others, kept):
    selection = Selection.fitting(most, failures, others)
    assert (selection.failures, selection.others) == pytest.approx(kept)


def test_drawings_stay_on_their_scale():
    assert span(-1.0, 2.0) == (0.0, 100.0)
    assert span(1.0, 1.0) == (99.0, 1.0)
    assert [mark.width for _, mark in stack([("a", 1), ("none", 0), ("b", 3)])] == [25.0, 75.0]
    assert [short(value) for value in (3.0, 0.12345, 12_345.6, -2.5)] == ["3", "0.123", "12,346", "-2.5"]
