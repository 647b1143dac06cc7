from __future__ import annotations

import re
from pathlib import Path

from actors.core.messages.tasks import DimensionResult, Report, TaskState
from actors.core.messages.values import CallCounts, Usage
from actors.core.task.reports import report_line

PAGE = Path(__file__).parents[3] / "docs" / "results.md"


def test_the_page_of_results_names_every_column_of_a_report():
    dimension = DimensionResult("quality", 0.5, 0.4, 0.6, 3, "", ())
    line = report_line(
        Report("a", TaskState.SUCCEEDED, 0.5, (dimension,), {}, CallCounts(), Usage(), elapsed_s=1.0)
    )
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"\w+", row)}
    assert named == {*line, *line["dimensions"][0], *line["calls"]}
