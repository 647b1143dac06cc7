"""A job is estimated from Python: without a call, or by a sample whose answers are kept."""

from __future__ import annotations

import pandas as pd
import pytest

import headrace

CONFIG = """\
llm:
  simulator: {latency_s: 0.001}
"""
PROMPT, COLUMNS = "Classify: {text}", {"mood": "good | bad"}


@pytest.fixture
def frame(place):
    (place / "fast.yaml").write_text(CONFIG)
    return pd.DataFrame({"text": [f"text {number % 40}" for number in range(50)]})


def test_an_estimate_counts_and_asks_nothing(frame, place):
    found = headrace.estimate(frame, PROMPT, COLUMNS, config="fast.yaml")
    assert (found.rows.low, found.different.low, found.todo.low) == (50, 40, 40)
    assert found.output_tokens.mid is None
    assert str(found).startswith("50 rows · 40 different · 40 to do\ninput ")
    assert "sample measures it" in str(found)
    assert "--" not in str(found)
    assert found._repr_html_().startswith("<pre>50 rows")
    assert not (place / ".headrace" / "state.db").exists()


def test_a_sample_is_asked_and_its_answers_are_kept(frame):
    found = headrace.estimate(frame, PROMPT, COLUMNS, config="fast.yaml", sample=30)
    assert found.answered.low == 30
    assert found.todo.low == 10
    assert found.output_tokens.low <= found.output_tokens.mid <= found.output_tokens.high
    assert headrace.map(frame, PROMPT, COLUMNS, config="fast.yaml")["_error"].isna().all()
    assert headrace.estimate(frame, PROMPT, COLUMNS, config="fast.yaml").todo.low == 0


def test_a_configuration_is_estimated_too(frame):
    assert headrace.estimate("tiny.yaml", limit=5).rows.low == 5
    with pytest.raises(headrace.errors.ConfigError, match="give its run_id"):
        headrace.estimate("tiny.yaml", sample=3)
    with pytest.raises(headrace.errors.ConfigError, match=r"tiny\.yaml is a configuration"):
        headrace.estimate("tiny.yaml", PROMPT)
    with pytest.raises(headrace.errors.ConfigError, match="needs a prompt and columns"):
        headrace.estimate(frame)
