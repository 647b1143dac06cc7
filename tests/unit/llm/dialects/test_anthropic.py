"""A model of Anthropic's that does not know the format of answers is asked by a tool."""

from __future__ import annotations

import orjson
import pytest

from tests.unit.llm.dialects.cases_anthropic import CASES, failed
from tests.unit.llm.dialects.conformance import NOW, SCORE


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
