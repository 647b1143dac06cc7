"""How far apart messages may be, by how long the calls take that they are about.

A call of seconds gains nothing from messages that go one by one, every three milliseconds; at 460 calls a
second that took most of a call's processor time. Half a dozen messages lie on a call's way.
"""

from __future__ import annotations

from actors.core.messages.attempts import AttemptEnded

_SHARE = 0.01
_MOST_S = 0.02
_MEMORY = 16.0  # answers


class Leisure:
    """Learns from the answers that come what `interval_s` between messages delays none of them much."""

    __slots__ = ("_mean_s", "interval_s")

    def __init__(self) -> None:
        self.interval_s = 0.0
        self._mean_s = 0.0

    def on_ended(self, outcome: AttemptEnded) -> None:
        """Take note of the end of an attempt; only what an endpoint answered now tells how long it takes."""
        if outcome.values is not None and not outcome.reused:
            self._mean_s += (outcome.took_s - self._mean_s) / _MEMORY
            self.interval_s = min(_MOST_S, _SHARE * self._mean_s)
