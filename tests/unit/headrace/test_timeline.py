"""How a run went is kept in few points, and drawn."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree as ET

from cluster.report.console import EndpointView, ProgressView
from headrace.progress.timeline import Timeline


def view(second):
    endpoints = (EndpointView("a", limit=second), EndpointView("b", limit=1))
    return ProgressView("r", elapsed_s=float(second), calls_per_s=second * 2.0, endpoints=endpoints)


def test_a_short_run_keeps_every_snapshot():
    timeline = Timeline()
    for second in range(100):
        timeline.add(view(second))
    assert [(point.elapsed_s, point.limit, point.calls_per_s) for point in timeline.points[:2]] == [
        (0.0, 1, 0.0),
        (1.0, 2, 2.0),
    ]
    assert len(timeline.points) == 100


def test_a_long_run_keeps_points_of_its_whole_length():
    timeline = Timeline()
    for second in range(100_000):
        timeline.add(view(second))
    times = [point.elapsed_s for point in timeline.points]
    assert 100 < len(times) < 240
    assert times[-1] > 99_000
    gaps = {later - earlier for earlier, later in itertools.pairwise(times)}
    assert len(gaps) == 1


def test_the_plot_is_svg_with_both_lines_inside_of_it():
    timeline = Timeline()
    for second in range(1, 11):
        timeline.add(view(second))
    drawn = ET.fromstring(timeline.svg())  # noqa: S314 - our own text
    lines = drawn.findall("polyline")
    assert [text.text for text in drawn.findall("text")] == [
        "limit, at most 11",
        "calls/s, at most 20",
        "10 s",
    ]
    _, _, width, height = map(float, drawn.get("viewBox").split())
    for line in lines:
        for x, y in (map(float, pair.split(",")) for pair in line.get("points").split()):
            assert 0 <= x <= width
            assert 0 <= y <= height
    assert len(lines) == 2


def test_there_is_no_plot_of_one_moment():
    timeline = Timeline()
    assert timeline.svg() == ""
    timeline.add(view(1))
    assert timeline.svg() == ""
