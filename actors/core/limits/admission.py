"""Who may hand in another task: the backlog is bounded, and nobody may fill it alone while others are there.

Pure counting. Whoever asks first is let in first; the fair order of what was let in is decided elsewhere.
"""

from __future__ import annotations

import enum


class Admission(enum.Enum):
    """What becomes of one more task."""

    ROOM = "room"
    FULL = "full"  # for everybody
    SHARE = "share"  # this caller holds its share, and others are there


class Backlog:
    """Counts tasks that were taken in and have not ended, by caller.

    `capacity` bounds those that wait, `share` those of one caller while another has any. A caller over its
    share is told so in a full backlog, too: else what it is told would depend on who took the last place.
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
        """What each caller holds; one that holds nothing is not named."""
        return dict(self._held)

    def ask(self, tenant: str, active: int) -> Admission:
        """Say what becomes of one more task of `tenant` while `active` tasks are worked on."""
        mine = self._held.get(tenant, 0)
        if mine >= self._share and mine < self._total:
            return Admission.SHARE
        return Admission.FULL if self._total - active >= self._capacity else Admission.ROOM

    def add(self, tenant: str) -> None:
        """Count a task in."""
        self._held[tenant] = self._held.get(tenant, 0) + 1
        self._total += 1

    def remove(self, tenant: str) -> None:
        """Count a task out. Raises KeyError where the caller holds none."""
        self._held[tenant] -= 1
        self._total -= 1
        if not self._held[tenant]:
            del self._held[tenant]
