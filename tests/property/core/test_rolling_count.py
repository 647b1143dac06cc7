"""A rolling count beside the list of all that happened."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.core.limits.rolling_count import RollingCount

gaps = st.floats(0, 30)


@given(span_s=st.floats(0.1, 100), steps=st.lists(gaps, max_size=80))
def test_a_rolling_count_covers_one_to_one_and_a_tenth_spans(span_s, steps):
    count, now, seen = RollingCount(span_s), 0.0, []
    for gap in steps:
        now += gap
        count.add(now)
        seen.append(now)
        inner = sum(now - at < span_s * (1 - 1e-9) for at in seen)
        outer = sum(now - at <= span_s * 1.1 * (1 + 1e-9) for at in seen)
        assert inner <= count.total(now) <= outer
