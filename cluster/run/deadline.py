"""Reads a deadline that is written as a duration or as a time of day."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhd])\s*")
_TIME = re.compile(r"\s*([01]?\d|2[0-3]):([0-5]\d)\s*")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_to(text: str, now: datetime) -> float | None:
    """Return the seconds from `now` to a deadline such as ``4h`` or ``06:00``; None for other text."""
    if found := _DURATION.fullmatch(text):
        return float(found[1]) * _UNITS[found[2]]
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    at = now.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
    return (at - now + timedelta(days=at <= now)).total_seconds()
