"""Which state a task ends in, what its report says, and how that reads as a line."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.messages.tasks import (
    DimensionResult,
    Fetched,
    Item,
    ItemResult,
    ItemState,
    SourceOutcome,
    Task,
    TaskState,
)
from actors.core.messages.values import CallCounts, Usage
from actors.core.task.dimensions import DimensionSettings
from actors.core.task.reports import TaskOutcome, combine, overall, overall_interval, report_line
from actors.core.task_names import within

TASK = Task("task-1")
QUALITY = DimensionSettings("quality", "quality", 2.0)
RISK = DimensionSettings("risk", "risk", -1.0)
DOWN = Failure(FailureKind.TRANSIENT, Blame.SOURCE, "connection refused")
REFUSED = Failure(FailureKind.REFUSED, Blame.ENDPOINT, "status 429")


def fetched(source: str, items: int = 2, error: Failure | None = None, attempts: int = 1) -> Fetched:
    return Fetched(source, tuple(Item(f"{source}:{i}", source, "") for i in range(items)), error, attempts)


def result(name: str, score: float | None = 0.5) -> DimensionResult:
    return DimensionResult(name, score, score, score, 2, "Fine.", ("wire:0",), ())


def items(succeeded: int, failures: dict[str, Failure] | None = None) -> tuple[ItemResult, ...]:
    return (
        *(
            ItemResult(f"good:{i}", "good", ItemState.SUCCEEDED, {"evaluate": {"quality": 0.5}})
            for i in range(succeeded)
        ),
        *(
            ItemResult(item_id, "wire", ItemState.FAILED, error=error, step="evaluate")
            for item_id, error in (failures or {}).items()
        ),
    )


WHOLE = TaskOutcome(
    (fetched("wire"), fetched("notes")), items(4), (result("quality", 0.8), result("risk", 0.2))
)


def outcome(**changes: object) -> TaskOutcome:
    parts = {name: getattr(WHOLE, name) for name in TaskOutcome.__struct_fields__}
    return TaskOutcome(**{**parts, **changes})


# ---- states ----------------------------------------------------------------------------------------------


def test_a_task_that_lacks_nothing_succeeded():
    report = combine(TASK, (QUALITY, RISK), WHOLE)
    assert (report.key, report.state, report.errors) == ("task-1", TaskState.SUCCEEDED, ())
    assert report.sources == {"wire": SourceOutcome(2), "notes": SourceOutcome(2)}


def test_a_failed_source_makes_a_task_partial_and_is_named_with_its_cause():
    report = combine(
        TASK, (QUALITY, RISK), outcome(fetched=(fetched("wire", 4), fetched("notes", 0, DOWN, attempts=4)))
    )
    assert report.state is TaskState.PARTIAL
    assert report.errors == ("source notes failed after 4 tries: transient: connection refused",)
    assert report.sources["notes"] == SourceOutcome(0, "transient: connection refused")
    assert report.overall is not None


def test_a_failed_required_source_makes_a_task_failed():
    failed = outcome(fetched=(fetched("wire", 4), fetched("notes", 0, DOWN)))
    report = combine(TASK, (QUALITY, RISK), failed, required_sources=["notes"])
    assert report.state is TaskState.FAILED
    assert report.errors == (
        "required source notes failed",
        "source notes failed after 1 try: transient: connection refused",
    )
    assert combine(TASK, (QUALITY, RISK), failed, required_sources=["wire"]).state is TaskState.PARTIAL


def test_a_required_source_that_never_answered_failed():
    assert combine(TASK, (QUALITY, RISK), WHOLE, required_sources=["absent"]).state is TaskState.FAILED


def test_a_task_whose_sources_all_failed_is_failed():
    task = replace(TASK, key=within("ann", TASK.key))  # errors have the key as the tenant gave it
    report = combine(
        task, (QUALITY,), TaskOutcome((fetched("wire", 0, DOWN), fetched("notes", 0, DOWN)), (), ())
    )
    assert report.state is TaskState.FAILED
    assert report.errors[0] == "no data: all sources failed for task-1"
    assert len(report.errors) == 4  # and each source, and the dimension


def test_a_task_without_a_single_item_is_failed_though_every_source_answered():
    report = combine(TASK, (QUALITY,), TaskOutcome((fetched("wire", 0),), (), ()))
    assert report.state is TaskState.FAILED
    assert report.errors[0] == "no data: no source has an item about task-1"


def test_a_source_without_items_beside_one_with_items_is_nothing_missing():
    silent = outcome(fetched=(fetched("wire", 4), fetched("notes", 0)))
    assert combine(TASK, (QUALITY, RISK), silent).state is TaskState.SUCCEEDED


def test_a_failed_evaluation_makes_a_task_partial():
    report = combine(TASK, (QUALITY, RISK), outcome(items=items(3, {"wire:1": REFUSED})))
    assert report.state is TaskState.PARTIAL
    assert report.errors == ("evaluation of wire:1 failed: refused: status 429",)


@pytest.mark.parametrize(
    ("count", "named"),
    [
        (3, "wire:0, wire:1, wire:2"),
        (4, "wire:0, wire:1, wire:2 and 1 more"),
        (5, "wire:0, wire:1, wire:2 and 2 more"),
    ],
)
def test_evaluations_that_failed_alike_share_a_line(count, named):
    failures = {f"wire:{place}": REFUSED for place in range(count)} | {"notes:0": DOWN}
    report = combine(
        TASK,
        (QUALITY, RISK),
        outcome(fetched=(fetched("wire", 9),), items=items(8 - count, failures)),
    )
    assert report.errors == (
        "evaluation of notes:0 failed: transient: connection refused",
        f"evaluation of {named} failed: refused: status 429",
    )


def test_a_task_without_a_single_evaluation_is_failed():
    failures = dict.fromkeys(("wire:0", "wire:1"), REFUSED)
    report = combine(TASK, (QUALITY,), TaskOutcome((fetched("wire"),), items(0, failures), ()))
    assert report.state is TaskState.FAILED
    assert report.errors[0] == "no item could be evaluated"


def test_a_task_that_is_its_own_item_names_a_missing_dimension_unless_the_item_is_the_reason():
    answered = ItemResult("rows:a", "rows", ItemState.SUCCEEDED, {"evaluate": {"quality": None}})
    lacking = TaskOutcome((), (answered,), (result("quality", None),))
    report = combine(TASK, (QUALITY,), lacking)
    assert (report.state, report.errors) == (
        TaskState.PARTIAL,
        ("dimension quality has no score: no evaluation says anything about it",),
    )
    failed = ItemResult("rows:a", "rows", ItemState.FAILED, error=REFUSED)
    report = combine(TASK, (QUALITY,), TaskOutcome((), (failed,), ()))
    assert (report.state, report.errors) == (TaskState.FAILED, ("refused: status 429",))


def test_an_item_about_which_no_step_had_to_be_asked_is_no_failure():
    unasked = (ItemResult("wire:0", "wire", ItemState.SUCCEEDED),)
    report = combine(TASK, (), TaskOutcome((fetched("wire", 1),), unasked, ()))
    assert (report.state, report.errors) == (TaskState.SUCCEEDED, ())


def test_a_report_holds_the_result_of_each_item():
    results = items(3, {"wire:1": REFUSED})
    assert combine(TASK, (QUALITY, RISK), outcome(items=results)).items == results


def test_a_missing_dimension_makes_a_task_partial():
    report = combine(TASK, (QUALITY, RISK), outcome(results=(result("quality"),)))
    assert report.state is TaskState.PARTIAL
    assert report.errors == ("dimension risk has no score: no evaluation says anything about it",)


def test_a_dimension_whose_finding_failed_keeps_its_score_and_makes_a_task_partial():
    report = combine(TASK, (QUALITY, RISK), outcome(failed_dimensions={"risk": REFUSED}))
    assert report.state is TaskState.PARTIAL
    assert report.errors == ("dimension risk failed: refused: status 429",)
    assert len(report.dimensions) == 2


@pytest.mark.parametrize("results", [(), (result("quality", None), result("risk", None))])
def test_a_task_without_a_single_score_is_failed(results):
    report = combine(TASK, (QUALITY, RISK), outcome(results=results))
    assert (report.state, report.overall) == (TaskState.FAILED, None)
    assert report.errors[0] == "no dimension has a score"


def test_dimensions_and_sources_come_in_a_fixed_order():
    turned = outcome(fetched=WHOLE.fetched[::-1], results=WHOLE.results[::-1])
    report = combine(TASK, (QUALITY, RISK), turned)
    assert [dimension.name for dimension in report.dimensions] == ["quality", "risk"]
    assert list(report.sources) == ["notes", "wire"]
    assert list(combine(TASK, (QUALITY, RISK), WHOLE).sources) == ["notes", "wire"]
    assert report == combine(TASK, (QUALITY, RISK), WHOLE)


@pytest.mark.parametrize(
    ("count", "last"), [(50, "x"), (51, "and 2 more errors"), (1000, "and 951 more errors")]
)
def test_however_much_goes_wrong_a_report_is_bounded(count, last):
    failures = {
        f"wire:{place}": Failure(FailureKind.PERMANENT, Blame.TASK, f"cause {place} " + "x" * 10_000)
        for place in range(count)
    }
    report = combine(
        TASK,
        (QUALITY, RISK),
        outcome(fetched=(fetched("wire", count + 1),), items=items(1, failures)),
    )
    assert len(report.errors) == 50
    assert report.errors[-1].removesuffix("…").endswith(last)
    assert max(map(len, report.errors)) == 2_000


def test_a_cause_of_just_the_bound_is_not_cut():
    line = "evaluation of wire:0 failed: permanent: "
    for excess, end in ((0, "x"), (1, "…")):
        cause = Failure(FailureKind.PERMANENT, Blame.TASK, "x" * (2_000 - len(line) + excess))
        failed = outcome(fetched=(fetched("wire", 5),), items=items(4, {"wire:0": cause}))
        (told,) = combine(TASK, (QUALITY, RISK), failed).errors
        assert (len(told), told[-1]) == (2_000, end)


# ---- overall ---------------------------------------------------------------------------------------------


def test_a_negative_weight_counts_what_is_missing_to_the_worst():
    assert overall((QUALITY, RISK), WHOLE.results) == pytest.approx((2 * 0.8 + 1 * (1 - 0.2)) / 3)


def test_a_score_counts_by_its_place_on_the_scale():
    stars = DimensionSettings("stars", "stars", 1.0, minimum=1.0, maximum=5.0)
    assert overall((stars,), [result("stars", 4.0)]) == pytest.approx(0.75)
    assert overall((stars,), [result("stars", 9.0)]) == 1.0
    assert overall((stars,), [result("stars", 0.0)]) == 0.0


def test_a_dimension_without_score_or_weight_does_not_count():
    idle = DimensionSettings("idle", "idle", 0.0)
    scores = [result("quality", 0.8), result("risk", None), result("idle", 0.1)]
    assert overall((QUALITY, RISK, idle), scores) == pytest.approx(0.8)


def test_without_any_weight_there_is_no_overall_score():
    assert overall((DimensionSettings("idle", "idle", 0.0),), [result("idle")]) is None
    assert overall((QUALITY,), []) is None


def test_the_interval_of_an_overall_score_turns_where_less_is_better():
    ends = {"quality": (0.6, 0.8, 0.9), "risk": (0.1, 0.2, 0.5), "none": (None, 0.5, None)}
    results = [replace(result(name, score), low=low, high=high) for name, (low, score, high) in ends.items()]
    settings = (QUALITY, RISK, DimensionSettings("none", "none", 3.0), DimensionSettings("gone", "gone", 9.0))
    low, high = overall_interval(settings, results)
    assert low == pytest.approx((2 * 0.6 + 1 * (1 - 0.5) + 3 * 0.5) / 6)
    assert high == pytest.approx((2 * 0.9 + 1 * (1 - 0.1) + 3 * 0.5) / 6)
    assert low <= overall(settings, results) <= high
    assert overall_interval(settings, []) is None


weights = st.floats(-10, 10)
scores = st.none() | st.floats(0, 1)


@given(st.lists(st.tuples(weights, scores), min_size=1, max_size=6), st.integers(0, 5), st.floats(0, 1))
def test_the_overall_score_is_between_0_and_1_and_rises_with_what_is_good(drawn, place, better):
    settings = [DimensionSettings(f"d{i}", "f", weight) for i, (weight, _) in enumerate(drawn)]
    results = [result(f"d{i}", score) for i, (_, score) in enumerate(drawn)]
    before = overall(settings, results)
    assert before is None or 0 <= before <= 1
    place %= len(drawn)
    weight, score = drawn[place]
    if before is None or score is None:
        return
    results[place] = result(f"d{place}", max(score, better) if weight > 0 else min(score, better))
    assert overall(settings, results) >= before - 1e-12


# ---- the line --------------------------------------------------------------------------------------------


def test_a_report_reads_as_a_line_of_json():
    costly = outcome(
        fetched=(fetched("wire", 4), fetched("notes", 0, DOWN)),
        results=(
            DimensionResult("quality", 1 / 3, 0.25, 0.5, 4, "Fine.", ("wire:0", "wire:1"), ("thin",)),
            result("risk", 0.0),
        ),
        calls=CallCounts(
            planned=6, billed=7, reused=1, in_doubt=2, unusable=3, refused=4, failed=5, estimated=6
        ),
        usage=Usage(100, 20, 0.00012345678912),
        elapsed_s=1.23456,
    )
    line = report_line(combine(TASK, (QUALITY, RISK), costly), is_priced=True)
    assert json.loads(json.dumps(line, allow_nan=False)) == line
    assert line == {
        "key": "task-1",
        "state": "partial",
        "overall": 0.555556,
        "dimensions": [
            {
                "name": "quality",
                "score": 0.333333,
                "low": 0.25,
                "high": 0.5,
                "n": 4,
                "finding": "Fine.",
                "evidence": ["wire:0", "wire:1"],
                "flags": ["thin"],
            },
            {
                "name": "risk",
                "score": 0.0,
                "low": 0.0,
                "high": 0.0,
                "n": 2,
                "finding": "Fine.",
                "evidence": ["wire:0"],
                "flags": [],
            },
        ],
        "sources": {
            "notes": {"items": 0, "error": "transient: connection refused"},
            "wire": {"items": 4, "error": None},
        },
        "calls": {
            "planned": 6,
            "billed": 7,
            "reused": 1,
            "in_doubt": 2,
            "unusable": 3,
            "refused": 4,
            "estimated": 6,
        },
        "tokens": Usage(100, 20).kinds(),
        "cost_usd": 0.000123457,
        "elapsed_s": 1.235,
        "errors": ["source notes failed after 1 try: transient: connection refused"],
    }


def test_a_report_without_scores_is_a_line_too():
    line = report_line(
        combine(TASK, (QUALITY,), TaskOutcome((fetched("wire", 0),), (), (result("quality", None),))),
        is_priced=True,
    )
    assert (line["overall"], line["dimensions"][0]["score"]) == (None, None)


def test_an_outcome_pickles():
    assert pickle.loads(pickle.dumps(WHOLE)) == WHOLE  # noqa: S301 - our own bytes
