"""Output columns have names and types that the configuration gives."""

from __future__ import annotations

import pyarrow as pa
import pytest

from actors.core.errors import ConfigError
from cluster.report.item_columns import item_columns, refuse_name_clash
from cluster.report.tables.value_types import arrow_type
from tests.unit.support.tables import settings


def columns(*steps, **options):
    config = settings(
        sources=options.pop("sources", False), evaluate=list(steps) if steps else None, **options
    )
    return {column.name: (column.step, column.field) for column in item_columns(config)}


def step(name, *fields):
    return {"name": name, "prompt": "{text}", "output": {field: {"type": "boolean"} for field in fields}}


def test_a_column_is_named_after_its_field_or_after_its_step_too_if_two_steps_have_the_field():
    assert columns(step("triage", "label", "urgent"), step("verdict", "label")) == {
        "triage.label": ("triage", "label"),
        "urgent": ("triage", "urgent"),
        "verdict.label": ("verdict", "label"),
    }


def test_a_field_with_the_name_of_another_column_of_the_table_is_named_after_its_step():
    assert [*columns(step("one", "state", "fine"), sources=True)] == ["one.state", "fine"]
    assert [*columns(step("one", "state", "fine"))] == ["state", "fine"]


def test_types_come_from_the_configuration():
    fields = {
        "a": {"type": "integer"},
        "b": {"type": "number"},
        "c": {"type": "boolean"},
        "d": {"type": "string"},
        "e": {"type": "string", "choices": ["x", "y"]},
        "f": {"type": "array", "items": {"type": "integer"}},
    }
    types = [arrow_type(column.type) for column in item_columns(settings(fields=fields, sources=False))]
    assert types == [
        pa.int64(),
        pa.float64(),
        pa.bool_(),
        pa.string(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.list_(pa.int64()),
    ]


def test_no_answer_replaces_a_column_of_the_input_but_that_of_an_earlier_run_may_have_an_error():
    config = settings(sources=False)
    refuse_name_clash(config, ["text", "labels", "_error", "_cost_usd"])
    with pytest.raises(ConfigError, match="the input already has 'label' among its columns: choose another"):
        refuse_name_clash(config, ["text", "label", "_error"])
