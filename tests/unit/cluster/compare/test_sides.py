"""Which columns of a table hold answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.compare.sides import TableLevel, TableSide
from cluster.report.tables.columns import Layout, TableName
from cluster.report.tables.kinds import MAP_EXTRAS, table_of
from cluster.report.tables.value_types import TEXT
from tests.unit.support.tables import settings


@pytest.mark.parametrize("is_flat", [False, True])
@pytest.mark.parametrize(
    ("name", "is_map", "level", "answers"),
    [
        (TableName.REPORTS, False, TableLevel.TASKS, {"overall", "quality"}),
        (TableName.ITEMS, False, TableLevel.ITEMS, {"label", "score"}),
        (TableName.ITEMS, True, TableLevel.ROWS, {"label", "score"}),
    ],
)
def test_a_result_has_no_answers_besides_its_scores_and_outputs(name, is_map, level, answers, is_flat):
    sections = {} if is_map else {"dimensions": [{"name": "quality", "field": "score"}]}
    layout = Layout.of(settings(sources=not is_map, **sections), tuple(MAP_EXTRAS) if is_map else ())
    table = table_of(name, replace(layout, has_text=True), {"key": TEXT})
    row = {column.name: None for column in (table.flat_columns if is_flat else table.columns)}
    row["key"] = "a"
    if "dimensions" in row:
        row["dimensions"] = [{"name": "quality", "score": 0.5}]
    side = TableSide("table", lambda: iter([row]))
    assert side.levels == (level,)
    (answer,) = side.answers(level)
    assert answer.values.keys() == answers
