"""Chooses the linger time between messages from the observed call latency.

A call that takes seconds gains nothing from messages every three milliseconds. At 460 calls a second, sending
them took most of the processor time of a call. Each call needs about six messages.
"""

from __future__ import annotations

from actors.core.messages.attempts import AttemptEnded

_SHARE = 0.01
_MAX_S = 0.02
_MEMORY = 16.0  # answers


class AdaptiveLinger:
    """Keeps `interval_s`, the linger time, at 1 % of the mean latency of recent answers, up to 20 ms."""

    __slots__ = ("_mean_s", "interval_s")

    def __init__(self) -> None:
        self.interval_s = 0.0
        self._mean_s = 0.0

    def on_ended(self, outcome: AttemptEnded) -> None:
        """Learn from an attempt. Failures and reused answers do not show the latency of the endpoint."""
        if outcome.values is not None and not outcome.reused:
            self._mean_s += (outcome.took_s - self._mean_s) / _MEMORY
            self.interval_s = min(_MAX_S, _SHARE * self._mean_s)
