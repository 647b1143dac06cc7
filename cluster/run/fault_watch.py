"""Decides when a fault of all endpoints of a step stops a run. Pure: statistics and time are arguments."""

from __future__ import annotations

from collections.abc import Iterator

from actors.core.dispatch.settings import DispatchStatistics
from actors.core.errors import Failure, FailureKind

# A shorter fault may be the restart of an endpoint, or a first call whose text is blocked: the next call
# shows that after a second.
_FOR_S = 3.0


class FaultWatch:
    """Watches the statistics of one run's dispatcher.

    A configuration fault always stops the run. Unreachable endpoints stop it only before the first answer:
    after that, the network is expected to recover, and calls wait for it.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._told: set[str] = set()
        self._answered = False

    def look(self, seen: DispatchStatistics | None, now: float) -> Failure | None:
        """Return the fault that must stop the run, None if the run may continue."""
        fault = None if seen is None else seen.stopped_by
        self._answered |= seen is not None and seen.completed > 0
        if fault is None or (self._answered and fault.kind is not FailureKind.MISCONFIGURED):
            self._since = None
            return None
        if self._since is None:
            self._since = now
        return fault if now - self._since >= _FOR_S else None

    @property
    def has_fault(self) -> bool:
        """Whether there is a fault that stops the run unless it passes."""
        return self._since is not None

    def news(self, seen: DispatchStatistics | None) -> Iterator[str]:
        """Yield the fault of each endpoint that has one, once, while the run can use others."""
        for endpoint in () if seen is None or seen.stopped_by is not None else seen.endpoints:
            if endpoint.fault is not None and endpoint.name not in self._told:
                self._told.add(endpoint.name)
                yield endpoint.fault.message
