"""Decides until when a fetch waits for a source that is down.

Rule 1: an outage counts from when the source went down, so that one that lasts holds the tasks of a run once.
Rule 2: a report may lack a source that is not required, so the outage of one has a short default.
"""

from __future__ import annotations

_OPTIONAL_S = 600.0


def waits_until(
    began: float, expires_in_s: float, down_since: float, *, outage_s: float | None, required: bool
) -> float:
    """Return when a fetch gives up. Times are in seconds on one monotonic clock.

    began, expires_in_s: of the fetch. down_since: when the source went down. outage_s: the configured longest
    outage, None without one. required: a task fails where its source does.
    """
    if outage_s is not None:
        return min(down_since + outage_s, began + expires_in_s)
    # The other half of the time is for the calls about the items of the other sources.
    half = began + expires_in_s / 2
    return half if required else min(down_since + _OPTIONAL_S, half)
