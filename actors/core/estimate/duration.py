"""Bounds how long a job takes, from the rates and limits of its endpoints and the latency of its calls."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct


class EndpointLoad(Struct, frozen=True):
    """The work of one endpoint, and how fast it may do it. None: no such bound is known."""

    calls: float
    tokens: float
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    in_flight: float | None = None
    latency_s: float | None = None

    @property
    def bounds(self) -> dict[str, float]:
        """The least seconds that each known bound allows, by its name."""
        found: dict[str, float] = {}
        if self.requests_per_minute:
            found["requests a minute"] = 60 * self.calls / self.requests_per_minute
        if self.tokens_per_minute:
            found["tokens a minute"] = 60 * self.tokens / self.tokens_per_minute
        if self.in_flight and self.latency_s:
            found["latency and requests in flight"] = self.calls * self.latency_s / self.in_flight
        return found


def slowest(loads: Sequence[EndpointLoad]) -> tuple[float, str]:
    """Return the seconds until the last endpoint has done its work, and which bound sets them.

    Endpoints work at the same time. Without any bound the seconds are 0 and the name is empty.
    """
    bounds = [(seconds, name) for load in loads for name, seconds in load.bounds.items()]
    return max(bounds, default=(0.0, ""))
