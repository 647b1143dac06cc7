"""The history of the endpoints is bounded and keeps its sums, whatever the clocks and the counts do."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.core.metrics.history import COUNTS, MOST_POINTS, EndpointReading, HistoryRecorder
from actors.core.metrics.history_format import pack, unpack

steps = st.lists(
    st.tuples(
        st.floats(0, 5000),  # the monotonic clock
        st.one_of(
            st.floats(-1e5, 1e5), st.sampled_from([math.inf, math.nan, 1e300, -1e300])
        ),  # a jump of the date
        st.lists(st.integers(0, 50), min_size=5, max_size=5),
        st.integers(0, 1000),
    ),
    max_size=60,
)


def readings(names, totals, gauge):
    return [
        EndpointReading(name, *totals, limit=gauge, in_flight=gauge // 2, queued=gauge * 3) for name in names
    ]


@settings(max_examples=60, deadline=None)
@given(
    lives=st.lists(steps, min_size=1, max_size=4),
    repeats=st.integers(1, 12),
    names=st.sets(st.sampled_from("abc"), min_size=1),
)
def test_counts_are_kept_times_ascend_and_the_size_is_bounded(lives, repeats, names):
    before, date, sums, gauges, active_s = None, 1.7e9, [0] * 5, {0}, 0.0
    for life in lives:
        recorder, now, totals = HistoryRecorder(before), 100.0, [0] * 5
        recorder.add(now, date, readings(names, totals, 0))
        for passed_s, jump_s, added, gauge in life * repeats:
            now, date = now + passed_s, date + passed_s
            active_s += passed_s
            totals = [total + count for total, count in zip(totals, added, strict=True)]
            recorder.add(now, date + jump_s, readings(names, totals, gauge))
            gauges.add(gauge)
        sums = [total + count for total, count in zip(sums, totals, strict=True)]
        recorder.check_invariants()
        before = unpack(pack(recorder.history()))
        assert len(before.at) <= MOST_POINTS
        for series in before.endpoints:
            assert [sum(getattr(series, name)) for name in COUNTS] == sums
            for least, mean, most in zip(
                series.limit.least, series.limit.mean, series.limit.most, strict=True
            ):
                assert least - 0.01 <= mean <= most + 0.01
                assert {least, most} <= gauges
        assert math.isclose(sum(before.active_s), active_s, abs_tol=0.5)
