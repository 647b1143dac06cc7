"""How often something happened lately."""

from __future__ import annotations

import pytest

from actors.core.limits.rolling_count import RollingCount


def test_a_rolling_count_forgets_what_is_older_than_its_span():
    count = RollingCount(10.0)
    count.add(0.5)
    count.add(5.5)
    assert count.total(10.4) == 2
    assert count.total(11.1) == 1
    assert count.total(1e6) == 0


def test_a_rolling_count_survives_a_clock_that_steps_back():
    count = RollingCount(10.0)
    count.add(50.0)
    count.add(1.0)
    assert count.total(50.0) == 2
    assert count.total(61.1) == 0


def test_a_rolling_count_can_be_cleared():
    count = RollingCount(10.0)
    count.add(1.0)
    count.clear()
    assert count.total(1.0) == 0
    assert count.total(20.0) == 0


def test_a_rolling_count_needs_a_span():
    with pytest.raises(ValueError, match="span must be"):
        RollingCount(0.0)
