"""Decides whether a caller may submit another task.

The backlog is bounded, and one caller cannot fill it while other callers have tasks in it. Callers are
admitted in the order in which they ask; the fair queue orders the admitted work.
"""

from __future__ import annotations

import enum


class Admission(enum.Enum):
    """The decision on one more task."""

    ROOM = "room"
    FULL = "full"  # for all callers
    SHARE = "share"  # this caller has used up its share, and others have tasks


class Backlog:
    """Counts the accepted tasks that have not ended, by caller.

    `capacity` bounds the waiting tasks. Half of it bounds the tasks of one caller while another has any. A
    caller over its share gets `SHARE` even if the backlog is full: otherwise its answer would depend on which
    caller took the last place.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._share = max(1, capacity // 2)
        self._held: dict[str, int] = {}
        self._total = 0

    def __len__(self) -> int:
        return self._total

    @property
    def tenants(self) -> dict[str, int]:
        """The number of tasks of each caller that has any."""
        return dict(self._held)

    def ask(self, tenant: str, active: int) -> Admission:
        """Return the decision on one more task of `tenant` while `active` tasks are running."""
        mine = self._held.get(tenant, 0)
        if mine >= self._share and mine < self._total:
            return Admission.SHARE
        return Admission.FULL if self._total - active >= self._capacity else Admission.ROOM

    def add(self, tenant: str) -> None:
        """Count an accepted task."""
        self._held[tenant] = self._held.get(tenant, 0) + 1
        self._total += 1

    def remove(self, tenant: str) -> None:
        """Stop counting a task that has ended. Raises KeyError if the caller has none."""
        self._held[tenant] -= 1
        self._total -= 1
        if not self._held[tenant]:
            del self._held[tenant]
