"""Names of fields: which step they mean, and what is said if they mean none."""

from __future__ import annotations

import pytest

from actors.core.task.field_names import dotted, find_field

FIELDS = {"triage": ("label", "score"), "verdict": ("label", "reason")}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("score", ("triage", "score")),
        ("triage.label", ("triage", "label")),
        ("verdict.label", ("verdict", "label")),
    ],
)
def test_a_name_means_a_field_of_a_step(name, found):
    assert find_field(name, FIELDS) == found


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("label", "several steps have a field label; write triage.label or verdict.label"),
        ("reasn", "reasn is no field of an earlier step; did you mean reason?"),
        ("verdict.reasn", "verdict.reasn is no field of an earlier step; did you mean verdict.reason?"),
        ("x", f"x is no field of an earlier step; known: label, reason, score, {', '.join(dotted(FIELDS))}"),
    ],
)
def test_a_name_that_means_no_single_field_is_refused_with_a_remedy(name, problem):
    with pytest.raises(ValueError, match=r".") as raised:
        find_field(name, FIELDS)
    assert str(raised.value) == problem


def test_without_earlier_steps_no_name_is_known():
    with pytest.raises(ValueError, match="known: nothing"):
        find_field("x", {})
    assert dotted(FIELDS) == ("triage.label", "triage.score", "verdict.label", "verdict.reason")
