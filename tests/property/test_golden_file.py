"""A golden set holds what was added, whatever a crash cut from the end of its file."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from cluster.golden.file import GoldenFile, read_golden
from cluster.golden.records import Decision, GoldenRecord
from cluster.golden.standing import GoldenSet

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
RECORDS = st.builds(
    GoldenRecord,
    task=st.sampled_from(["a", "\udcff\n"]),
    item=st.sampled_from(["x", "y"]),
    field=st.just("label"),
    decision=st.sampled_from([*Decision]),
    reviewer=st.text(max_size=3),
    at=st.floats(0, 2e9),
    answer=JSON,
    value=JSON,
)
SESSIONS = st.lists(st.tuples(st.lists(RECORDS, max_size=4), st.integers(0, 200)), max_size=4)


def standing(golden):
    return {record.place: record for record in (*golden, *golden.preferences())}


@given(SESSIONS)
def test_a_crash_costs_at_most_the_lines_that_it_cut(sessions):
    kept: list[tuple[GoldenRecord, int]] = []  # with the size of the file after each
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.jsonl"
        for records, cut in sessions:
            with GoldenFile(path) as file:
                assert standing(file.golden) == standing(GoldenSet(record for record, _ in kept))
                for record in records:
                    file.append(record)
                    kept.append((record, path.stat().st_size))
            left = max(0, path.stat().st_size - cut)
            os.truncate(path, left)
            # A line that lacks only its end is whole.
            kept = [(record, size) for record, size in kept if size - 1 <= left]
            assert standing(read_golden(path)) == standing(GoldenSet(record for record, _ in kept))
