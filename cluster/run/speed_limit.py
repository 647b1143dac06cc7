"""Describes what limits the speed of a run. Pure: statistics and time are arguments."""

from __future__ import annotations

from actors.core.dispatch.endpoint import EndpointStatistics
from actors.core.limits.breaker import BreakerState
from cluster.assembly.constraint import binding
from cluster.assembly.topology import TopologyStatistics
from cluster.report.console import plain

_SILENT_S = 10.0  # a shorter silence is not shown
_SILENT = 3.0  # nor one shorter than this many average answers
_MAX_CAUSE = 120  # characters; the display cuts the whole description at 200


class SpeedLimit:
    """Observes the endpoints of a run, to see when one stops answering. `active_tasks` is the limit of tasks.

    `is_outage`: at the last look no endpoint answered: its breaker was not closed, or it was named as silent.
    """

    def __init__(self, active_tasks: int | None = None) -> None:
        self._active_tasks = active_tasks
        self.is_outage = False
        self._last_answers: dict[str, tuple[int, float]] = {}  # by endpoint: answers, and silent since when

    def text(self, known: TopologyStatistics, now: float) -> str:
        """Return what limits the speed: an unavailable store, else failing endpoints and the calls' limit."""
        endpoints = () if known.dispatcher is None else known.dispatcher.endpoints
        silences = [(endpoint, self._silence(endpoint, now)) for endpoint in endpoints]
        self.is_outage = known.dispatcher is not None and all(
            silence or endpoint.breaker is not BreakerState.CLOSED for endpoint, silence in silences
        )
        if known.journal is not None and known.journal.trouble:
            return f"the store: {known.journal.trouble}"
        if known.dispatcher is None:
            return "the dispatcher does not answer"
        troubles = (self._trouble(endpoint, silence) for endpoint, silence in silences)
        down = (
            f"{source.name}: {plain(source.last_error, _MAX_CAUSE)}"
            for source in known.sources
            if source.breaker is not BreakerState.CLOSED and source.last_error
        )
        return "; ".join([*filter(None, troubles), *down, binding(known, self._active_tasks)])

    @staticmethod
    def _trouble(endpoint: EndpointStatistics, silence: str) -> str:
        cause = plain(endpoint.last_failure, _MAX_CAUSE)
        if endpoint.breaker is not BreakerState.CLOSED and cause:
            return f"{endpoint.name}: {cause}"
        return f"{silence}: {cause}" if silence and endpoint.is_failing else silence

    def _silence(self, endpoint: EndpointStatistics, now: float) -> str:
        """Return for how long the endpoint has not answered; empty if that is usual.

        A refusal or a timeout does not end the silence. After one, the silence is shown earlier.
        """
        outcomes = endpoint.attempts.outcomes
        # The journal answered a reused attempt. An endpoint that rejects its configuration has a fault.
        answers = endpoint.answered + outcomes.get("reused", 0) + outcomes.get("misconfigured", 0)
        before, since = self._last_answers.get(endpoint.name, (answers, now))
        if answers != before or not (endpoint.limiter.in_flight or endpoint.is_failing):
            since = now
        self._last_answers[endpoint.name] = answers, since
        usual = 1.0 if endpoint.is_failing else _SILENT
        if now - since < max(_SILENT_S, usual * endpoint.attempts.answer_s):
            return ""
        return f"no answer from {endpoint.name} for {now - since:.0f} s"
