"""Watches the owner of a run in a store, without a cluster, to decide whether it is alive."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable

from actors.core.journal import keys
from actors.core.journal.turn import Observed
from actors.core.liveness import LeaseWatch
from actors.journal.stores.base import Store

_MOST_INTERRUPTIONS = 5  # with more, the store is too slow to decide


class Sign(enum.Enum):
    """The result of watching an owner."""

    ALIVE = "alive"
    SILENT = "silent"  # it showed no sign of life for a whole lease
    UNKNOWN = "unknown"  # the store cannot be read, or not fast enough


def observed(store: Store, run_id: str) -> Observed:
    """Return the owner of a run and its heartbeat, as the store has them now."""
    return Observed(store.get(keys.writer(run_id)) or b"", store.get(keys.heartbeat(run_id)))


def watched(
    store: Store,
    run_id: str,
    lease_s: float,
    *,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Sign, Observed]:
    """Watch the owner of a run for a lease; return the result and the first observation.

    A store sends no notice of changes, so this reads it repeatedly. Raises the errors of the store.
    """
    watch, first = LeaseWatch(lease_s), None
    while True:
        began = clock()
        seen = observed(store, run_id)
        first = first or seen
        if seen != first:
            return Sign.ALIVE, first
        if watch.observe(seen, began, clock()):
            return Sign.SILENT, first
        if watch.interruptions > _MOST_INTERRUPTIONS:
            return Sign.UNKNOWN, first
        pause(watch.pause_s)
