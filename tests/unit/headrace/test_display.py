"""A run is shown on one line of a notebook, on a terminal, or in the log."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from actors.core.messages.journal import TaskTally
from actors.core.messages.values import Usage
from cluster.report.console import EndpointView, ProgressView
from cluster.report.summary import RunState, RunSummary
from headrace.progress.display import NotebookLine, display_for, ended_text, notebook_line, notebook_output

VIEW = ProgressView(
    "r1",
    elapsed_s=12.0,
    tasks_total=500,
    tasks=TaskTally(400, 300, 0, 2),
    calls_per_s=41.4,
    endpoints=(EndpointView("a", 32), EndpointView("b", 4)),
    binding="the limit of <a>",
    cost_usd=0.123,
)


class Cell:
    """The output of a notebook's cell: a list of areas, each of which can be replaced."""

    def __init__(self):
        self.areas = []

    def show(self, text):
        self.areas.append(text)
        place = len(self.areas) - 1
        return lambda other: self.areas.__setitem__(place, other)


@pytest.fixture
def cell():
    return Cell()


def test_a_snapshot_is_one_line_of_safe_html():
    assert notebook_line(VIEW, 8.0, "rows") == (
        '<progress max="500" value="302"></progress> 302/500 rows · 2 failed · 41 calls/s · limit 36 · '
        "$0.1230 · 12 s · 8.0 s left · the limit of &lt;a&gt;"
    )


def test_a_run_of_unknown_length_has_no_bar():
    line = notebook_line(ProgressView("r1"), None, "tasks")
    assert line.startswith('<progress max="1" value="0"></progress> 0/? tasks · ')


def test_a_notebook_updates_one_line_and_keeps_messages_that_come_later(cell):
    shown = NotebookLine(cell.show, "rows")
    shown.say("run r1: 500 rows")
    shown.say("answers come from the simulator")
    assert cell.areas == ["<small>answers come from the simulator</small>"]
    shown.show(VIEW)
    shown.show(VIEW)
    shown.say("endpoint <b> cannot be reached")
    shown.show(VIEW)
    assert len(cell.areas) == 2
    assert cell.areas[0].startswith("<progress")
    assert cell.areas[1] == "<small>endpoint &lt;b&gt; cannot be reached</small>"
    shown.end("500 rows · <run>")
    assert cell.areas[0] == "500 rows · &lt;run&gt;"
    assert len(cell.areas) == 2


def test_outside_of_a_notebook_nothing_is_drawn_and_messages_are_logged(caplog, capfd):
    assert notebook_output() is None
    caplog.set_level(logging.INFO, "headrace")
    for progress in (None, False):
        with display_for(progress, "rows") as shown:
            shown.say("run r1: 500 rows")
            shown.show(VIEW)
    assert caplog.messages == ["run r1: 500 rows"] * 2
    assert capfd.readouterr() == ("", "")


def test_a_script_can_ask_for_lines(capfd):
    with display_for(True, "rows") as shown:
        shown.say("run r1: 500 rows")
        shown.show(VIEW)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("run r1: 500 rows\nrun r1; 302/500 tasks ended")


def test_a_shell_of_ipython_without_a_kernel_is_no_notebook(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=SimpleNamespace))
    assert notebook_output() is None


def test_the_end_of_a_run_is_one_line():
    summary = RunSummary("r1", RunState.PARTIAL, 12.0, tasks=TaskTally(500, 480, 0, 2), open_tasks=18)
    assert ended_text(summary, "rows") == (
        "500 rows · 480 succeeded · 2 failed · 18 not ended · 12 s · run r1"
    )
    assert "$0.2500" in ended_text(replace(summary, usage=Usage(cost_usd=0.25)), "rows")
