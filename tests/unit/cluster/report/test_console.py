"""What people see of a run: drawn from snapshots only, at a bounded pace, safe from the text of strangers."""

from __future__ import annotations

import io
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from actors.core.messages.journal import TaskTally
from cluster.report.console import (
    EndpointView,
    ProgressDisplay,
    ProgressView,
    SourceHealth,
    SourceView,
    TaskPace,
    dollars,
    log_line,
    panel,
    plain,
    stderr_console,
    visible,
)
from tests.unit.support.amounts import AMOUNTS

HOSTILE = "\x1b[2J\x1b]0;title\x07[red]key[/red]\r\nforged \u202eline\x9b31m"
CLEANED = "[red]key[/red] forged line"

VIEW = ProgressView(
    "run-7",
    name="reviews",
    elapsed_s=65.0,
    tasks_total=1000,
    tasks_active=580,
    tasks=TaskTally(succeeded=400, partial=10, failed=2),
    calls_done=9880,
    calls_per_s=2412.4,
    queued=512,
    retries=41,
    refused=12,
    endpoints=(EndpointView("main", 640, 638),),
    sources=(
        SourceView("wire"),
        SourceView("api", SourceHealth.FAILING, 3),
        SourceView("notes", SourceHealth.OPEN, 30),
    ),
    binding="endpoint main refuses more than 640 at once",
    tokens=1_200_000,
    cost_usd=0.0123,
    budget_usd=5.0,
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def console(*, terminal: bool, width: int = 80, **options) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, _environ={}, **options)


def drawn(renderable, **options) -> str:
    screen = console(terminal=False, **options)
    screen.print(renderable)
    return screen.file.getvalue()


# ---- text of strangers -----------------------------------------------------------------------------------


def test_what_strangers_write_becomes_one_line_of_visible_text():
    assert plain(HOSTILE) == CLEANED


@pytest.mark.parametrize(
    "text", ["\x1b[31mred\x1b[0m", "\x1b]8;;http://x\x1b\\red", "r\x00e\x07d\x7f", "red\udc80"]
)
def test_sequences_and_controls_leave_nothing_behind(text):
    assert plain(text) == "red"


def test_text_is_cut_at_the_limit_with_an_ellipsis():
    assert plain("abcdef", 6) == "abcdef"
    assert plain("abcdefg", 6) == "abcde…"
    assert plain("x" * 10_000_000, 6) == "xxxxx…"


@pytest.mark.parametrize("show", [lambda view: panel(view, None), lambda view: log_line(view, None)])
def test_no_name_can_draw_on_the_screen(show):
    hostile = replace(
        VIEW,
        run_id=HOSTILE,
        name=HOSTILE,
        binding=HOSTILE,
        endpoints=(EndpointView(HOSTILE),),
        sources=(SourceView(HOSTILE, SourceHealth.OPEN),),
    )
    text = drawn(show(hostile), width=200, markup=False)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count(CLEANED) >= 4


# ---- the panel -------------------------------------------------------------------------------------------


def test_the_panel_tells_all_at_80_columns():
    text = drawn(panel(VIEW, 12.4))
    for words in (
        "reviews · run-7",
        "412/1,000 · 12 s left",
        "580 active · 400 succeeded · 10 partial · 2 failed",
        "2,412/s · 9,880 done · 512 queued · 41 retries · 12 refused",
        "main · 638 in flight · limit 640",
        "wire ok · api failing (3 failed) · notes open (30 failed)",
        "endpoint main refuses more than 640 at once",
        "$0.0123 of $5.00 · 1,200,000 tokens",
        "1:05",
    ):
        assert words in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_run_of_unknown_length_and_no_news_can_be_drawn():
    text = drawn(panel(ProgressView("r"), None))
    assert "0/?" in text
    assert "left" not in text


def test_many_endpoints_and_sources_do_not_push_the_panel_off_the_screen():
    many = replace(
        VIEW,
        endpoints=tuple(EndpointView(f"e{number}") for number in range(40)),
        sources=(
            *(SourceView(f"s{number}") for number in range(40)),
            SourceView("broken", SourceHealth.OPEN, 1),
        ),
    )
    text = drawn(panel(many, None))
    assert "and 34 more endpoints" in text
    assert "broken open" in text
    assert len(text.splitlines()) <= 24


def test_no_color_means_no_colour(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="truecolor")
    screen.print(panel(VIEW, None))
    assert "\x1b[3" not in screen.file.getvalue()  # bold and dim are left, colours are not


# ---- the time that is left -------------------------------------------------------------------------------


def at(elapsed_s: float, done: int, total: int | None = 100) -> ProgressView:
    return ProgressView("r", elapsed_s=elapsed_s, tasks=TaskTally(succeeded=done), tasks_total=total)


def test_the_time_left_follows_from_the_pace():
    pace = TaskPace()
    assert pace.remaining_s(at(0, 0)) is None
    assert pace.remaining_s(at(10, 20)) == pytest.approx(40)
    assert pace.remaining_s(at(15, 100)) == 0


def test_what_was_done_before_a_resume_is_no_pace():
    pace = TaskPace()
    pace.remaining_s(at(0, 90))
    assert pace.remaining_s(at(10, 91)) == pytest.approx(90)


def test_reports_of_tasks_that_ended_before_a_resume_are_no_pace():
    pace = TaskPace()
    assert pace.remaining_s(replace(at(0, 0), ended_before=90)) is None
    assert pace.remaining_s(replace(at(10, 95), ended_before=90)) == pytest.approx(10)


def test_only_the_last_half_minute_counts():
    pace = TaskPace()
    for second in range(101):
        pace.remaining_s(at(second, 0 if second < 60 else second - 60))
    assert pace.remaining_s(at(101, 41)) == pytest.approx(59)
    assert len(pace._marks) < 40


def test_while_no_task_ends_no_time_is_promised():
    pace = TaskPace()
    pace.remaining_s(at(0, 0))
    assert pace.remaining_s(at(10, 10)) == pytest.approx(90)
    assert pace.remaining_s(at(19, 10)) is not None
    assert pace.remaining_s(at(20, 10)) is None
    assert pace.remaining_s(at(21, 11)) is not None


def test_while_tasks_only_fail_no_time_is_promised():
    pace = TaskPace()
    pace.remaining_s(at(0, 0))
    assert pace.remaining_s(at(10, 10)) is not None
    for second in range(11, 31):
        failing = replace(at(second, 0), tasks=TaskTally(succeeded=10, failed=second))
        left = pace.remaining_s(failing)
    assert left is None


def test_in_an_outage_no_time_is_promised():
    pace = TaskPace()
    pace.remaining_s(at(0, 0))
    assert pace.remaining_s(replace(at(5, 10), is_outage=True)) is None
    assert pace.remaining_s(at(10, 20)) == pytest.approx(40)


@pytest.mark.parametrize("view", [at(10, 0), at(0, 5), at(10, 5, total=None)])
def test_without_progress_or_total_no_time_is_promised(view):
    pace = TaskPace()
    pace.remaining_s(at(0, 0, view.tasks_total))
    assert pace.remaining_s(view) is None


# ---- pace of showing -------------------------------------------------------------------------------------


def test_off_a_terminal_there_is_a_line_each_ten_seconds_and_one_at_the_end():
    clock, screen = Clock(), console(terminal=False)
    with ProgressDisplay(screen, clock=clock) as progress:
        for second in range(25):
            clock.now = 100.0 + second
            progress.show(
                replace(
                    VIEW, elapsed_s=float(second), tasks=TaskTally(succeeded=400, partial=10, failed=second)
                )
            )
    shown = screen.file.getvalue().splitlines()
    assert [line.split(" tasks")[0] for line in shown] == [
        "run run-7; 410/1,000",
        "run run-7; 420/1,000",
        "run run-7; 430/1,000",
        "run run-7; 434/1,000",
    ]


def test_a_log_line_is_one_line_however_narrow_the_console():
    screen = console(terminal=False, width=20)
    with ProgressDisplay(screen, clock=Clock()) as progress:
        progress.show(VIEW)
    (line,) = screen.file.getvalue().splitlines()
    assert "main 638/640 in flight" in line
    assert "source notes open (30 failed)" in line
    assert "wire" not in line


def test_on_a_terminal_the_panel_is_redrawn_four_times_a_second_at_most():
    clock, screen = Clock(), console(terminal=True)
    progress = ProgressDisplay(screen, clock=clock)
    drawings = 0
    with progress:
        for step in range(101):
            before = screen.file.tell()
            clock.now = 100.0 + step / 100
            progress.show(replace(VIEW, calls_done=step))
            drawings += screen.file.tell() > before
    assert drawings == 5
    assert "100 done" in screen.file.getvalue()


def test_the_last_snapshot_is_shown_though_the_run_broke():
    clock, screen = Clock(), console(terminal=False)

    def broken_run():
        with ProgressDisplay(screen, clock=clock) as progress:
            progress.show(VIEW)
            progress.show(replace(VIEW, tasks=TaskTally(succeeded=400, partial=10, failed=590)))
            raise KeyError("a defect")

    with pytest.raises(KeyError):
        broken_run()
    assert "1,000/1,000" in screen.file.getvalue()


def test_a_terminal_that_cannot_redraw_gets_lines():
    screen = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    with ProgressDisplay(screen, clock=Clock()) as progress:
        progress.show(VIEW)
    assert screen.file.getvalue().startswith("run run-7; ")


def test_a_run_that_answers_in_json_gets_lines_on_a_terminal_too():
    screen = console(terminal=True)
    with ProgressDisplay(screen, live=False, clock=Clock()) as progress:
        progress.show(VIEW)
    assert screen.file.getvalue().startswith("run run-7; ")


def test_stdout_is_left_to_data(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    progress = ProgressDisplay(stderr_console(), clock=Clock())
    with progress:
        progress.show(VIEW)
        print("data", file=sys.stdout)  # noqa: T201 - what is tested
    out, err = capsys.readouterr()
    assert out == "data\n"
    assert "run-7" in err


def test_a_line_of_a_job_s_log_keeps_its_layout_and_steers_no_terminal():
    assert visible("\x1b[36m(pid=7)\x1b[0m  a   b\x1b]0;owned\x07") == "(pid=7)  a   b"
    assert visible("x" * 5000 + "\r\x08") == "x" * 5000 + r"\r\x08"


def test_the_panel_does_not_show_answers_without_a_price_as_free():
    text = drawn(panel(replace(VIEW, cost_usd=0.0, is_priced=False), None))
    assert "unknown of $5.00 (an endpoint has no price) · 1,200,000 tokens" in text


@pytest.mark.parametrize(("usd", "text"), AMOUNTS)
def test_an_amount_has_as_many_digits_as_it_needs(usd, text):
    assert dollars(usd) == text
