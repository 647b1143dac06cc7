"""Describes what limits the speed of a run. Pure: statistics and time are arguments."""

from __future__ import annotations

from actors.core.dispatch.endpoint import EndpointStatistics
from actors.core.limits.breaker import BreakerState
from cluster.assembly.topology import TopologyStatistics
from cluster.report.console import plain

_SILENT_S = 10.0  # a shorter silence is not shown
_SILENT = 3.0  # nor one shorter than this many average attempts
_MAX_CAUSE = 120  # characters; the display cuts the whole description at 200


class SpeedLimit:
    """Observes the endpoints of a run, to see when one stops answering."""

    def __init__(self) -> None:
        self._last_ends: dict[str, tuple[int, float]] = {}  # by endpoint: ended attempts, and since when

    def text(self, known: TopologyStatistics, now: float) -> str:
        """Return what limits the speed: an unavailable store, else failing endpoints and the calls' limit."""
        if known.journal is not None and known.journal.trouble:
            return f"the store: {known.journal.trouble}"
        if known.dispatcher is None:
            return "the dispatcher does not answer"
        troubles = (self._trouble(endpoint, now) for endpoint in known.dispatcher.endpoints)
        return "; ".join([*filter(None, troubles), known.dispatcher.binding])

    def _trouble(self, endpoint: EndpointStatistics, now: float) -> str:
        silent_s = self._silent_s(endpoint, now)
        if endpoint.breaker is not BreakerState.CLOSED and endpoint.last_failure:
            return f"{endpoint.name}: {plain(endpoint.last_failure, _MAX_CAUSE)}"
        seconds = endpoint.attempts.seconds
        usual_s = seconds.total / seconds.count if seconds.count else 0.0
        if silent_s < max(_SILENT_S, _SILENT * usual_s):
            return ""
        return f"no answer from {endpoint.name} for {silent_s:.0f} s"

    def _silent_s(self, endpoint: EndpointStatistics, now: float) -> float:
        """Return for how long attempts have been in flight without the end of one."""
        reused = endpoint.attempts.outcomes.get("reused", 0)  # answered by the journal: nothing was sent
        ended = endpoint.succeeded + endpoint.refused + endpoint.failed + reused
        before, since = self._last_ends.get(endpoint.name, (ended, now))
        if ended != before or not endpoint.limiter.in_flight:
            since = now
        self._last_ends[endpoint.name] = ended, since
        return now - since
