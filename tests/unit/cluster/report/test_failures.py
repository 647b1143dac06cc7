"""Errors that differ only in particulars are one cause."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from actors.core.messages.tasks import TaskState
from cluster.report.failures import FailureCounts
from tests.unit.support.journal_desk import report

FORM = 'evaluation failed: unusable: wanted one JSON object with the fields "label"'


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (f'{FORM}, got "Certainly! Here it is"', f'{FORM}, got "I would rather not"'),
        ("transient: HTTP 500 after 2 tries", "transient: HTTP 500 after 3 tries"),
        ("permanent: /tmp/a1.png is no image", "permanent: /tmp/b27.png is no image"),
    ],
)
def test_errors_that_quote_different_answers_paths_or_numbers_are_one_cause(one, other):
    counts = FailureCounts()
    for key, error in (("a", one), ("b", other)):
        counts.add(replace(report(key, TaskState.FAILED), errors=(error,)))
    (cause,) = counts.causes()
    assert (cause.tasks, cause.text, cause.others) == (2, one, (other,))


def test_errors_with_another_status_are_another_cause():
    counts = FailureCounts()
    for key, error in (("a", "transient: HTTP 500"), ("b", "transient: HTTP 503")):
        counts.add(replace(report(key, TaskState.FAILED), errors=(error,)))
    assert len(counts.causes()) == 2
