"""What is put into the pages of figures, and what stays as it was."""

from __future__ import annotations

from benchmarks.report import filled
from benchmarks.results import BenchmarkResult, GoalCheck, Table

PAGE = """Written by hand.

<!-- bench summary -->
| what | measured | wanted |  |
| --- | ---: | ---: | ---: |
| calls/s | 900 | at least 1000 | **not reached** |
| … of a core | 950 | at least 1000 | **not reached** |
| memory, MB | 39 | at most 60 | holds |
| … of a core | 10 | at most 20 | holds |
<!-- end -->

<!-- bench dispatch -->
older
<!-- end -->

<!-- bench memory -->
of another machine
<!-- end -->
"""

MACHINE = {
    "versions": {},
    "cores": 2,
    "processor": "-",
    "memory_gb": 4,
    "system": "-",
    "python": "-",
    "load": 0,
}


def test_what_was_run_is_put_in_anew_and_all_else_stays():
    checks = [
        GoalCheck("calls/s", "at least 1000", "1200", True),
        GoalCheck("… of a core", "at least 1000", "1250", True),
        GoalCheck("depth", "at least 0.9", "-", None),
    ]
    table = Table("calls", ("waiting", "calls/s"), (("10", "1200"),))
    outcome = BenchmarkResult("dispatch", "short", [table], checks, machine=MACHINE)
    page = filled(PAGE, {"dispatch": outcome})
    rows = page.split("<!-- bench summary -->\n")[1].split("\n<!-- end -->")[0].splitlines()[2:]
    assert rows == [
        "| calls/s | 1200 | at least 1000 | holds |",
        "| … of a core | 1250 | at least 1000 | holds |",
        "| memory, MB | 39 | at most 60 | holds |",
        "| … of a core | 10 | at most 20 | holds |",
        "| depth | - | at least 0.9 | not measured |",
    ]
    assert "older" not in page
    assert "| 10 | 1200 |" in page
    assert "<!-- bench memory -->\nof another machine\n<!-- end -->" in page
    assert filled(page, {"dispatch": outcome}) == page
