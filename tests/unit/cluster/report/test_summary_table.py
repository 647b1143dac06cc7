"""The closing table: a row a report, totals, causes, and the files, readable at 80 columns."""

from __future__ import annotations

import io
from dataclasses import replace

from msgspec import structs
from rich.console import Console

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.messages.tasks import DimensionResult, ItemResult, ItemState, Report, TaskState
from actors.core.messages.values import CallCounts, Usage
from cluster.report.summary import RunState, RunTotals
from cluster.report.summary_table import summary_table

DIMENSIONS = ("documentation", "licensing", "maintenance", "safety")


def report(
    key: str = "rich",
    state: TaskState = TaskState.SUCCEEDED,
    finding: str = "A full manual.",
    errors: tuple[str, ...] = (),
    dimensions: tuple[str, ...] = DIMENSIONS,
) -> Report:
    results = tuple(
        DimensionResult(name, 0.25 * place, 0.0, 1.0, 4, finding, ()) for place, name in enumerate(dimensions)
    )
    return Report(
        key, state, 0.71, results, {}, CallCounts(24, 25, refused=2), Usage(1000, 50, 0.01), 1.0, errors
    )


def drawn(*reports: Report, width: int = 80, shown: int | None = None) -> str:
    totals = RunTotals()
    totals.accepted(len(reports))
    for one in reports:
        totals.add(one)
    summary = totals.summary("run-7", elapsed_s=9.1, results=["runs/run-7/reports.jsonl"])
    screen = Console(file=io.StringIO(), width=width, force_terminal=False, _environ={})
    screen.print(summary_table(summary, reports[:shown]))
    return screen.file.getvalue()


def test_four_dimensions_and_the_beginning_of_a_finding_fit_80_columns():
    text = drawn(
        report("opentelemetry-semantic-conventions", finding="The manual is complete and has examples.")
    )
    header, row = text.splitlines()[:2]
    assert header.split() == ["task", "score", "docum…", "licen…", "maint…", "safety", "finding"]
    assert row.split()[:7] == ["✓", "opentelemetry-sem…", "0.71", "0.00", "0.25", "0.50", "0.75"]
    assert "The manual is complete" in row
    assert max(map(len, text.splitlines())) <= 80


def test_where_there_is_room_nothing_is_cut():
    text = drawn(report("opentelemetry-semantic-conventions", finding="It is complete."), width=140)
    assert "opentelemetry-semantic-conventions " in text
    assert "It is complete." in text


def test_dimensions_without_a_column_are_not_hidden():
    names = tuple(f"d{number}" for number in range(12))
    assert "no room here for 8 more dimensions" in drawn(report("r" * 40, dimensions=names))


def test_a_failed_task_says_why_and_a_missing_score_is_no_number():
    causes = ("no item could be evaluated",)
    lost = report("lost", TaskState.FAILED, errors=causes, dimensions=("licensing",))
    row = drawn(report(), lost).splitlines()[2]
    assert row.split()[:7] == ["✗", "lost", "0.71", "-", "0.00", "-", "-"]
    assert "no item could be" in row
    row = drawn(report("half", TaskState.PARTIAL, errors=causes)).splitlines()[1]
    assert "A full manual." in row


def test_totals_causes_and_files_follow():
    text = drawn(report(), report(state=TaskState.PARTIAL, errors=("source wire failed",)), report())
    assert "run-7 partial in 9.1 s" in text
    assert "3 submitted · ✓ 2 succeeded · ~ 1 partial\n" in text.replace(" \n", "\n").replace("  ", "")
    assert "72 planned · 75 billed · 6 refused" in text
    assert "$0.0300 · 3,000 tokens in · 150 out" in text
    assert "runs/run-7/reports.jsonl" in text
    assert "what went wrong" in text
    assert "1  source wire failed" in text


def test_without_dimensions_the_answers_stand_in_place_of_scores():
    item = ItemResult("rows:a", "rows", ItemState.SUCCEEDED, {"evaluate": {"label": "good", "n": 3}})
    header, row = drawn(structs.replace(report(dimensions=()), items=(item,))).splitlines()[:2]
    assert header.split() == ["task", "answer"]
    assert row.split() == ["✓", "rich", "label:", "good,", "n:", "3"]


def test_at_most_fifty_reports_are_listed():
    text = drawn(*(report(f"t{number}") for number in range(60)), shown=55)
    assert text.count("A full manual.") == 50
    assert "and 10 more, in the result files" in text


def test_a_run_without_reports_still_has_its_totals():
    text = drawn()
    assert "0 submitted" in text
    assert "task " not in text


def test_strangers_cannot_draw_on_the_screen():
    hostile = "\x1b[2J[red]x[/red]\x07\nforged"
    text = drawn(report(hostile, TaskState.FAILED, hostile, (hostile,), (hostile,)), width=120)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[red]x[/red] forged" in text
    assert not any(line.startswith("forged") for line in text.splitlines())


def test_figures_that_only_the_journal_knows_are_bounds_when_it_does_not_answer():
    summary = RunTotals().summary("run-7", elapsed_s=9.1, ended_as=RunState.INTERRUPTED, open_tasks=None)
    screen = Console(file=io.StringIO(), width=200, force_terminal=False, _environ={})
    screen.print(summary_table(replace(summary, is_complete=False), ()))
    text = screen.file.getvalue()
    assert "an unknown number not ended" in text
    assert "at least 0 planned" in text
    assert "at least $0.00" in text
    assert "`headrace status run-7` shows those that are stored" in text


def test_skipped_rows_are_not_what_went_wrong():
    null = Failure(FailureKind.PERMANENT, Blame.TASK, "null in my text")
    item = ItemResult("rows:1", "rows", ItemState.SKIPPED, error=null)
    skipped = report("1", TaskState.PARTIAL, errors=("null in my text",), dimensions=())
    text = drawn(*[structs.replace(skipped, items=(item,))] * 39, shown=0)
    assert "39 submitted · - 39 skipped" in text
    assert "skipped    39: null in my text; {my text?} asks about them too" in text
    assert "went wrong" not in text
    assert "partial ·" not in text
