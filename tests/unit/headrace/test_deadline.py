"""A deadline is a duration, a time of day, or a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from actors.core.errors import ConfigError
from headrace.deadline import seconds_until

NOW = datetime(2026, 11, 30, 13, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("deadline", "seconds"),
    [
        ("45m", 2700),
        ("1.5h", 5400),
        ("90 s", 90),
        ("2d", 172_800),
        (10, 10),
        (0.5, 0.5),
        (timedelta(minutes=1), 60),
        (NOW + timedelta(hours=2), 7200),
        ("14:00", 3570),
        ("06:00", 17 * 3600 - 30),
        ("13:00", 86_400 - 30),
    ],
    ids=str,
)
def test_a_deadline_is_so_far_away(deadline, seconds):
    assert seconds_until(deadline, NOW) == seconds


@pytest.mark.parametrize(
    "deadline", ["soon", "25:00", "12:60", "", -1, 0, float("nan"), NOW, "999d"], ids=str
)
def test_what_is_no_time_to_come_is_an_error(deadline):
    with pytest.raises(ConfigError, match="deadline"):
        seconds_until(deadline, NOW)
