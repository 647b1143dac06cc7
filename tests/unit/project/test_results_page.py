"""The page about results shows the schemas of the rows that the program writes."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from actors.core.messages.tasks import Task
from cluster.report.tables.columns import Layout, TableName
from cluster.report.tables.kinds import table_of
from cluster.report.tables.value_types import TEXT
from tests import results_page
from tests.table_schema import table_schema
from tests.unit.support.tables import rated, settings


def test_the_page_of_the_results_has_the_schemas_of_the_tables():
    _, _, rest = results_page.PAGE.read_text(encoding="utf-8").partition(results_page.BEGIN)
    written, _, _ = rest.partition(results_page.END)
    assert written.strip() == results_page.generated().strip(), "write it anew: python -m tests.results_page"


@pytest.mark.parametrize("sources", [True, False])
@pytest.mark.parametrize("name", TableName)
def test_a_row_fits_the_schema_of_its_table(name, sources):
    table = table_of(name, Layout.of(settings(sources=sources)), {"title": TEXT})
    (row,) = table.rows(Task("a", {"title": "T"}), rated())
    schema = table_schema(table)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(json.loads(json.dumps(row)))
    assert list(row) == schema["required"]
