"""Reads a deadline: a time of day, a moment, or a duration from now."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from actors.core.errors import ConfigError

Deadline = str | float | timedelta | datetime

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhd])\s*")
_TIME = re.compile(r"\s*(\d{1,2}):(\d{2})\s*")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


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
    if found := _DURATION.fullmatch(text):
        return float(found[1]) * _UNITS[found[2]]
    found = _TIME.fullmatch(text)
    if found is None or int(found[1]) > 23 or int(found[2]) > 59:
        raise ConfigError(f"deadline {text!r} is not a time: write 45m, 4h, 2d or 06:00")
    at = now.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
    return (at - now + timedelta(days=at <= now)).total_seconds()
