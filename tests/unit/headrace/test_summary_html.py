"""A notebook shows the summary of a run, its failures and its plot, as safe HTML."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from actors.core.messages.journal import TaskTally
from actors.core.messages.values import Usage
from cluster.report.console import ProgressView
from cluster.report.failures import FailureCause
from cluster.report.summary import RunState, RunSummary
from headrace.progress.summary_html import summary_html
from headrace.progress.timeline import Timeline

FAILURES = tuple(FailureCause(20 - number, f"cause {number}") for number in range(12))


def shown(timeline=None, **changes):
    summary = RunSummary("r-1", RunState.PARTIAL, 12.0, tasks=TaskTally(500, 480, 0, 20), **changes)
    text = summary_html(summary, timeline or Timeline())
    ET.fromstring(text)  # noqa: S314 - our own text
    return text


def test_the_summary_names_the_run_its_tasks_and_its_cost():
    text = shown(usage=Usage(1000, 500, 0.25), results=("runs/r-1/items.jsonl",))
    for part in ("r-1 <b>partial</b> in 12 s", "500 submitted · 480 succeeded · 20 failed", "$0.2500"):
        assert part in text
    assert "runs/r-1/items.jsonl" in text
    assert "what went wrong" not in text
    assert "<svg" not in text


def test_the_most_frequent_failures_are_listed_as_plain_text():
    text = shown(
        failures=(FailureCause(99, "<script>alert(1)</script>", ("port 8001",)), *FAILURES),
        stopped_by="the <key>",
    )
    assert "&lt;script&gt;" in text
    assert "<script>" not in text
    assert "the &lt;key&gt;" in text
    assert "<td>99</td>" in text
    assert "port 8001" in text
    assert "cause 8" in text
    assert "cause 9" not in text
    assert "and 3 more causes" in text


def test_a_run_that_was_observed_has_a_plot():
    timeline = Timeline()
    for second in range(3):
        timeline.add(ProgressView("r-1", elapsed_s=float(second)))
    assert "<svg" in shown(timeline)
