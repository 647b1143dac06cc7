"""What no idle slot would make of a batch, where it can be worked out by hand."""

from __future__ import annotations

import pytest

from benchmarks.w1.job import CALLS_A_TASK
from benchmarks.w1.perfect import perfect_calls_per_s


@pytest.mark.parametrize(
    ("tasks", "cap", "rounds"),
    [
        (1, 1000, 2),  # all evaluations, then all findings
        (1, 10, 3),  # two rounds of evaluations, one of findings
        (3, 1, 3 * CALLS_A_TASK),
        (10, 240, 2),  # 200 evaluations, and 40 findings that had to wait for them
    ],
)
def test_a_batch_takes_as_many_rounds_as_its_calls_need(tasks, cap, rounds):
    pace = perfect_calls_per_s(tasks, cap, latency_s=2.0, sigma=0.0)
    assert pace == pytest.approx(tasks * CALLS_A_TASK / (rounds * 2.0))
