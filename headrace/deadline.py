"""Reads a deadline: a time of day, a moment, or a duration from now."""

from __future__ import annotations

from datetime import datetime, timedelta

from actors.core.errors import ConfigError
from cluster.run.deadline import seconds_to

Deadline = str | float | timedelta | datetime


def seconds_until(deadline: Deadline, now: datetime) -> float:
    """Return the seconds from `now`, which has a time zone, until `deadline`. Raises `ConfigError`.

    A number is in seconds. A text is a duration, such as ``45m`` or ``4h``, or a time of day: ``06:00``.
    """
    match deadline:
        case timedelta():
            seconds = deadline.total_seconds()
        case datetime():
            seconds = (deadline.astimezone(now.tzinfo) - now).total_seconds()
        case str():
            seconds = _of_text(deadline, now)
        case _:
            seconds = float(deadline)
    if not 0 < seconds < 366 * 86400:
        raise ConfigError(f"the deadline {deadline} is not within the next year")
    return seconds


def _of_text(text: str, now: datetime) -> float:
    seconds = seconds_to(text, now)
    if seconds is None:
        raise ConfigError(f"deadline {text!r} is not a time: write 45m, 4h, 2d or 06:00")
    return seconds
