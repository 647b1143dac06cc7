"""The report page: whole, bounded, and harmless whatever is in it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from actors.core.messages.journal import RunView, Spent, TaskTally
from actors.core.messages.tasks import DimensionResult, Report, SourceOutcome, TaskState
from actors.core.messages.values import CallCounts, Usage
from cluster.report.figures import MOST_ROWS, figures
from cluster.report.page import page

CONFIG = {
    "evaluate": {"output": {"quality": {"min": 0.0, "max": 10.0}, "note": {}}},
    "dimensions": [{"name": "quality", "field": "quality"}],
}
ATTACK = '<script>alert("1")</script><img src=https://evil.example/x onerror=alert(1)>'


def report(key="a", score=5.0, state=TaskState.SUCCEEDED, finding="It is good.", errors=()):
    results = (DimensionResult("quality", score, None, None, 4, finding, ("wire-1",)),)
    sources = {"wire": SourceOutcome(4), "api": SourceOutcome(0, "gone")}
    overall = None if score is None else score / 10
    return Report(key, state, overall, results, sources, CallCounts(3, 3), Usage(9, 5, 0.5), 1.0, errors)


def made(*reports, tally=None, run_id="run-7"):
    tally = tally or TaskTally(len(reports), len(reports))
    spent = Spent(CallCounts(planned=9, billed=8, in_doubt=1), Usage(90, 50, 4.5))
    run = RunView(run_id, "demo", "partial", 1e9, 1e9 + 90, tally, spent, CONFIG, {}, {})
    return "".join(page(run, figures(run_id, CONFIG, reports, 90.0), 1e9 + 100))


class Walk(HTMLParser):
    """Takes a page apart: elements with their attributes, and the text of cells."""

    VOID = ("meta", "rect", "line")

    def __init__(self, text):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def test_the_page_says_how_the_run_went():
    walk = Walk(made(report(), tally=TaskTally(4, 1, 1, 1, 0)))
    assert walk.open == []
    for fact in (
        "Run run-7",
        "4 accepted · 1 succeeded · 1 partial · 1 failed · 1 not ended",
        "9 planned · 8 billed · 1 in doubt",
        "$4.5000 · 90 tokens in · 50 out",
        "1:30 to its end",
        "It is good.",
        "1 answered",
    ):
        assert fact in walk.text


def test_nothing_of_a_stranger_is_markup_and_nothing_is_loaded():
    attacked = report(ATTACK, finding=ATTACK, errors=(ATTACK,), state=TaskState.FAILED)
    text = made(attacked, run_id=ATTACK)
    walk = Walk(text)
    assert {tag for tag, _ in walk.elements} <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "dl", "dt", "dd", "span", "div"),
        *("figure", "figcaption", "svg", "rect", "line", "text", "table", "caption", "thead", "tbody"),
        *("tr", "th", "td", "ul", "li", "b", "code"),
    }
    for _, attributes in walk.elements:
        assert not {name for name in attributes if name.startswith("on") or name in ("src", "href", "style")}
    assert ATTACK in walk.text  # it is there to be read
    policy = next(one["content"] for one in walk.named("meta") if "http-equiv" in one)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    assert not re.search(r"url\(|@import", text)


def test_control_characters_and_lone_surrogates_do_not_get_into_the_file():
    text = made(report("a\x1b[2J\u202eb\ud800c"))
    assert "abc" in text
    text.encode("utf-8")


def test_only_the_first_thousand_tasks_are_listed_and_all_are_counted():
    count = MOST_ROWS + 25
    text = made(*(report(f"task-{number}") for number in range(count)))
    walk = Walk(text)
    assert len(walk.named("tr")) == MOST_ROWS + 1
    assert f"The first 1,000 of {count:,}" in walk.text
    assert f"{count:,} tasks · mean 5.00" in walk.text


def test_scores_fall_into_bins_of_their_scale():
    summed = figures("r", CONFIG, [report(score=each) for each in (0.0, 0.4, 9.9, 10.0, None)], 1.0)
    (quality,) = summed.dimensions
    assert (quality.counts[0], quality.counts[19], quality.scored, quality.missing) == (2, 2, 4, 1)
    assert quality.mean == pytest.approx(5.075)
    assert (summed.overall.low, summed.overall.high, summed.overall.scored) == (0.0, 1.0, 4)


def test_a_dimension_may_be_of_one_of_several_steps_and_count_choices():
    config = {
        "evaluate": [
            {"name": "triage", "output": {"label": {}, "quality": {"min": 0, "max": 1}}},
            {"name": "verdict", "output": {"quality": {"min": 1, "max": 5}}},
        ],
        "dimensions": [
            {"name": "label", "field": "label", "values": {"a": -1, "b": 3}},
            {"name": "first", "field": "triage.quality"},
            {"name": "second", "field": "verdict.quality"},
        ],
    }
    scales = [(one.low, one.high) for one in figures("r", config, [], 1.0).dimensions]
    assert scales == [(-1, 3), (0, 1), (1, 5)]


def test_a_dimension_may_name_the_only_step_which_has_no_name():
    config = {**CONFIG, "dimensions": [{"name": "quality", "field": "evaluate.quality"}]}
    assert [(one.low, one.high) for one in figures("r", config, [], 1.0).dimensions] == [(0, 10)]


def test_a_run_without_dimensions_has_no_charts():
    config = {"evaluate": {"output": {"note": {}}}, "dimensions": []}
    bare = Report("a", TaskState.SUCCEEDED, None, (), {}, CallCounts(1, 1), Usage(), 1.0)
    run = RunView(
        "r", "demo", "succeeded", 1e9, 1e9, TaskTally(1, 1), Spent(CallCounts(), Usage()), config, {}, {}
    )
    text = Walk("".join(page(run, figures("r", config, [bare], 1.0), 1e9))).text
    assert "Scores" not in text
    assert "succeeded" in text


def test_each_bar_says_what_it_stands_for():
    walk = Walk(made(report(score=0.1), report(score=0.2), report(score=7.0)))
    assert "0 to 0.5: 2 tasks" in walk.text
    assert "7 to 7.5: 1 tasks" in walk.text
    heights = sorted(float(one["height"]) for one in walk.named("rect"))
    assert heights[-1] == 2 * heights[0]


def test_a_dimension_named_overall_is_no_other_than_it():
    config = {**CONFIG, "dimensions": [{"name": "overall", "field": "quality"}]}
    summed = figures("r", config, [report()], 1.0)
    assert (summed.overall.scored, summed.dimensions[0].missing) == (1, 1)


def test_failures_are_told_by_cause():
    errors = ("source api failed after 3 tries: gone",)
    walk = Walk(made(*(report(f"{n}", state=TaskState.PARTIAL, errors=errors) for n in range(3))))
    assert "What went wrong" in walk.text
    assert "What went wrong" not in Walk(made(report())).text


def test_a_run_without_a_report_has_a_page_too():
    walk = Walk(made(tally=TaskTally(3)))
    assert "3 accepted · 3 not ended" in walk.text
    assert "no task has a score" in walk.text
