"""What is promised names the tests that show it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROMISES = (ROOT / "docs" / "guarantees.md").read_text().partition("## Costs")[0]


def test_every_promise_in_a_table_names_a_test():
    rows = [line for line in PROMISES.splitlines() if line.startswith("| ") and "---" not in line]
    promises = [row for row in rows if not row.startswith("| promise")]
    assert len(promises) > 15
    assert [row for row in promises if "`tests/" not in row] == []


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[\w/.]+)`", PROMISES))))
def test_a_test_that_a_promise_names_is_there(path):
    assert (ROOT / path).is_file()
