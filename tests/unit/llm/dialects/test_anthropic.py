"""A model of Anthropic's that does not know the format of answers is asked by a tool."""

from __future__ import annotations

import orjson
import pytest

from tests.unit.llm.dialects.cases_anthropic import CASES, failed
from tests.unit.llm.dialects.conformance import NOW, SCORE, form_of


def adapted(message, **settings):
    dialect = CASES.make(settings)
    return dialect.adapted(
        dialect.error(400, {}, orjson.dumps(failed("invalid_request_error", message)), NOW)
    )


@pytest.mark.parametrize(
    "message",
    [
        "'m' does not support output format.",
        "output_config.format: structured outputs are not available for m",
    ],
)
def test_a_model_that_refuses_the_format_is_asked_by_a_tool(message):
    adaptation = adapted(message)

    assert (adaptation.refused, adaptation.setting) == ("output_config.format", "structured: tool")
    body = orjson.loads(adaptation.dialect.prepare(SCORE).body("Why?", None))
    assert body["tool_choice"]["name"] == "rating"
    assert "output_config" not in body


@pytest.mark.parametrize(
    ("message", "settings"),
    [("temperature is not supported", {}), ("not support output format", {"structured": "tool"})],
)
def test_other_errors_change_nothing(message, settings):
    assert adapted(message, **settings) is None


@pytest.mark.parametrize(("fields", "way"), [(16, "output_config"), (17, "tool_choice")])
def test_a_schema_with_too_many_alternatives_for_a_format_is_asked_for_by_a_tool(fields, way):
    form = form_of({f"x{number}": {"type": "number", "nullable": True} for number in range(fields)})

    body = orjson.loads(CASES.make().prepare(form).body("Why?", None))

    assert {"output_config", "tool_choice"} & body.keys() == {way}
