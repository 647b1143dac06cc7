"""When a fault of all endpoints stops a run. Pure: it is told what is seen, and when."""

from __future__ import annotations

from actors.core.dispatch.settings import DispatchStatistics
from actors.core.errors import Failure, FailureKind

_FOR_S = 3.0  # a fault that stands for less may be a moment in which an endpoint begins anew


class FaultWatch:
    """Watches the dispatcher of one run, as the run's driver sees it.

    A fault of the configuration always stops the run. Endpoints that were never reached stop it only while no
    call was answered: a network that is away later comes back, and calls wait for it.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._answered = False

    def look(self, seen: DispatchStatistics | None, now: float) -> Failure | None:
        """Return the fault for which the run has to stop, None where it may go on."""
        fault = None if seen is None else seen.stopped_by
        self._answered |= seen is not None and seen.completed > 0
        if fault is None or (self._answered and fault.kind is not FailureKind.MISCONFIGURED):
            self._since = None
            return None
        if self._since is None:
            self._since = now
        return fault if now - self._since >= _FOR_S else None
