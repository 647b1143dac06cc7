"""A spool returns reports in the order of the input, in any order of arrival, with little memory."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from actors.core.messages.tasks import Task
from cluster.report.tables import spool
from cluster.report.tables.spool import Spool
from tests.unit.support.tables import rated, row


@given(st.lists(st.integers(0, 200), unique=True, max_size=50))
def test_reports_come_back_in_the_order_of_the_input_whatever_is_missing(ordinals):
    kept = Spool()
    for ordinal in ordinals:
        kept.add(ordinal, Task(f"t{ordinal}", {"n": ordinal}), rated(f"t{ordinal}"))
    found = [(task.params["n"], report.key) for batch in kept.in_order() for task, report in batch]
    assert found == [(ordinal, f"t{ordinal}") for ordinal in sorted(ordinals)]
    kept.close()


def test_a_report_comes_back_as_it_was(tmp_path):
    kept = Spool(tmp_path)
    task, report = Task("ä\n", {"a": [1, {"b": None}], "n": 2**70, "x": 0.1}), rated("ä\n")
    kept.add(0, task, report)
    assert list(kept.in_order()) == [[(task, report)]]
    assert list(tmp_path.iterdir()) == []  # it has no name, and ends with the process
    kept.close()


def test_batches_are_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr(spool, "_BATCH_BYTES", 10_000)
    kept = Spool()
    for number in range(9):
        kept.add(number, row(number + 1, text="x" * 4_000), rated())
    assert [len(batch) for batch in kept.in_order()] == [3, 3, 3]
    kept.close()


def test_a_task_takes_a_few_bytes_of_memory():
    kept = Spool()
    report = rated()
    tracemalloc.start()
    for number in range(20_000):
        kept.add(number, row(number + 1, text="a text"), report)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    kept.close()
    assert size / 20_000 < 16
