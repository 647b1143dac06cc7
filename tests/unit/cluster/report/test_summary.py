"""Reports add up to a summary; the summary says how the run ended, and so does the exit code."""

from __future__ import annotations

import json

import pytest

from actors.core.messages.tasks import Report, SourceOutcome, TaskState
from actors.core.messages.values import CallCounts, Usage
from cluster.report import failures
from cluster.report.failures import OTHER_CAUSES, cause_lines
from cluster.report.summary import RunState, RunTotals, exit_code, summary_json


def report(
    state: TaskState = TaskState.SUCCEEDED,
    key: str = "a",
    errors: tuple[str, ...] = (),
    sources: dict[str, SourceOutcome] | None = None,
) -> Report:
    return Report(
        key,
        state,
        None,
        (),
        sources or {},
        CallCounts(planned=24, billed=25, reused=1, in_doubt=2, unusable=3, refused=4, failed=5, estimated=6),
        Usage(100, 20, 0.1),
        1.0,
        errors,
    )


def totals(*reports: Report, submitted: int | None = None) -> RunTotals:
    sums = RunTotals()
    sums.accepted(len(reports) if submitted is None else submitted)
    for one in reports:
        sums.add(one)
    return sums


GOOD, PARTIAL, FAILED, CANCELLED = (report(state) for state in TaskState)


def test_the_summary_is_the_documented_document():
    wire, dead = SourceOutcome(4), SourceOutcome(0, "gone")
    sums = totals(
        report(sources={"wire": wire, "api": dead}),
        report(TaskState.PARTIAL, sources={"wire": wire, "api": wire}),
    )
    summary = sums.summary("r1", elapsed_s=9.1234, results=["runs/r1/reports.jsonl"])
    assert json.loads(json.dumps(summary_json(summary))) == {
        "run_id": "r1",
        "state": "partial",
        "elapsed_s": 9.123,
        "stopped_by": None,
        "results": ["runs/r1/reports.jsonl"],
        "complete": True,
        "tasks": {"submitted": 2, "succeeded": 1, "partial": 1, "failed": 0, "cancelled": 0, "open": 0},
        "calls": {
            "planned": 48,
            "billed": 50,
            "reused": 2,
            "in_doubt": 4,
            "unusable": 6,
            "refused": 8,
            "estimated": 12,
            "failed": 10,
        },
        "tokens": Usage(200, 40).kinds(),
        "cost_usd": 0.2,
        "priced": True,
        "receipt": [],
        "sources": {"api": {"fetched": 1, "failed": 1}, "wire": {"fetched": 2, "failed": 0}},
        "failures": [],
    }


@pytest.mark.parametrize(
    ("reports", "submitted", "how", "state", "code"),
    [
        ([GOOD, GOOD], 2, {}, RunState.SUCCEEDED, 0),
        ([], 0, {}, RunState.SUCCEEDED, 0),
        ([GOOD, PARTIAL], 2, {}, RunState.PARTIAL, 3),
        ([GOOD, FAILED], 2, {}, RunState.PARTIAL, 3),
        ([PARTIAL], 1, {}, RunState.PARTIAL, 3),
        ([GOOD, CANCELLED], 2, {}, RunState.CANCELLED, 130),
        ([FAILED, FAILED], 2, {}, RunState.FAILED, 1),
        ([FAILED, CANCELLED], 2, {}, RunState.CANCELLED, 130),
        ([CANCELLED], 1, {}, RunState.CANCELLED, 130),
        ([GOOD], 2, {"ended_as": RunState.INTERRUPTED}, RunState.INTERRUPTED, 130),
        ([GOOD], 2, {"ended_as": RunState.CANCELLED}, RunState.CANCELLED, 130),
        ([GOOD], 2, {"ended_as": RunState.FAILED}, RunState.FAILED, 1),
        ([GOOD], 1, {"open_tasks": 1}, RunState.FAILED, 1),  # an earlier input of the run had it
        ([GOOD], 2, {}, RunState.FAILED, 1),  # a task was lost: never a success
    ],
)
def test_the_exit_code_says_how_the_run_ended(reports, submitted, how, state, code):
    summary = totals(*reports, submitted=submitted).summary("r", elapsed_s=1.0, **how)
    assert (summary.state, exit_code(summary)) == (state, code)


def test_failures_of_one_cause_are_counted_together():
    sums = totals(
        report(
            TaskState.PARTIAL,
            "x",
            (
                "source wire failed after 3 tries: transient: answered 503",
                "evaluation of wire:1, wire:2 and 5 more failed: refused: too many requests",
            ),
        ),
        report(
            TaskState.PARTIAL,
            "y",
            (
                "source wire failed after 4 tries: transient: answered 503",
                "evaluation of notes/a.md failed: refused: too many requests",
                "and 7 more errors",
            ),
        ),
        report(TaskState.FAILED, "z", ("no data: no source has an item about z",)),
        report(TaskState.FAILED, "w", ("no data: no source has an item about w",)),
        report(TaskState.PARTIAL, "v", ("source wire failed after 4 tries: transient: answered 500",)),
    )
    assert causes(sums) == [
        ("evaluation failed: refused: too many requests", 2, ()),
        (
            "source wire failed after 3 tries: transient: answered 503",
            2,
            ("source wire failed after 4 tries: transient: answered 503",),
        ),
        ("no data: no source has an item", 2, ()),
        ("source wire failed after 4 tries: transient: answered 500", 1, ()),
    ]


def test_a_task_counts_once_for_a_cause_that_it_met_twice():
    errors = ("dimension a failed: line 12", "dimension a failed: line 13")
    assert causes(totals(report(errors=errors))) == [(errors[0], 1, (errors[1],))]


def test_a_cause_is_shown_in_the_exact_words_of_its_first_errors():
    sums = totals(*(report(errors=(f"connection to port {port} refused",)) for port in range(8000, 8009)))
    (cause,) = sums.summary("r", elapsed_s=1.0).failures
    assert cause.cause == "connection to port 8000 refused"
    assert cause.others == ("connection to port 8001 refused", "connection to port 8002 refused")
    assert cause.has_more
    assert list(cause_lines([cause])) == [
        "9 tasks: connection to port 8000 refused",
        "  also: connection to port 8001 refused",
        "  also: connection to port 8002 refused",
        "  also: others like these",
    ]


def test_the_json_document_holds_the_causes():
    sums = totals(report(TaskState.FAILED, errors=("the endpoint said: quota 12 exceeded",)))
    assert summary_json(sums.summary("r", elapsed_s=1.0))["failures"] == [
        {"tasks": 1, "cause": "the endpoint said: quota 12 exceeded", "others": []}
    ]


def test_the_number_of_causes_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(failures, "MAX_CAUSES", 2)
    sums = totals(*(report(errors=(f"defect {letter}",)) for letter in "abcda"))
    assert causes(sums) == [("defect a", 2, ()), (OTHER_CAUSES, 2, ()), ("defect b", 1, ())]


@pytest.mark.timeout(20)  # searched whole, it takes minutes
def test_an_error_that_is_one_long_word_without_a_digit_is_not_searched_whole():
    ((cause, _, _),) = causes(totals(report(errors=("a-" * 200_000,))))
    assert len(cause) <= 2_000


def test_a_cause_is_one_line_of_bounded_length():
    ((cause, _, _),) = causes(totals(report(errors=("x " * 5_000 + "\nTraceback",))))
    assert len(cause) == 2_000


def causes(sums):
    """Return the text, the number of tasks and the other texts of each cause."""
    return [(one.cause, one.tasks, one.others) for one in sums.summary("r", elapsed_s=1.0).failures]
