"""Decides when the owner of a run counts as dead: after a whole lease under observation without a heartbeat.

Rule 1: only observed time counts. A watcher that was suspended, or whose read of the store blocked, starts
    again: the owner may have been suspended too, and then needs a lease to write its next heartbeat.
Rule 2: silence lasts from the end of the read that first returned a heartbeat to the beginning of the latest
    read that returned the same one. The duration of a read never counts as silence.
"""

from __future__ import annotations

from collections.abc import Hashable

LEASE_S = 5.0  # unless configured otherwise
LONGEST_LEASE_S = 600.0
LONGEST_GAP = 0.25  # of a lease: an owner writes several heartbeats in a lease
_SHORTEST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.1
_READS_PER_LEASE = 20  # at least: a pause close to LONGEST_GAP would count as an interruption
_UNSEEN = object()


def is_gap(seconds: float, lease_s: float) -> bool:
    """Return whether a watcher that did not read for `seconds` has to start a new lease."""
    return seconds > lease_s * LONGEST_GAP


class LeaseWatch:
    """Watches the heartbeat of one owner.

    `pause_s` is the wait between two reads. `interruptions` counts how often the watch started again.
    """

    def __init__(self, lease_s: float) -> None:
        self.pause_s = max(_SHORTEST_PAUSE_S, min(_LONGEST_PAUSE_S, lease_s / _READS_PER_LEASE))
        self.interruptions = 0
        self._lease_s = lease_s
        self._sign: Hashable = _UNSEEN
        self._since = 0.0
        self._read_at = 0.0

    def observe(self, sign: Hashable, began: float, ended: float) -> bool:
        """Return whether the owner has been silent for a whole lease.

        `sign` is the heartbeat as read between `began` and `ended`, in seconds on one monotonic clock.
        """
        interrupted = self._sign is not _UNSEEN and is_gap(ended - self._read_at, self._lease_s)
        self._read_at = ended
        if interrupted or sign != self._sign:
            self.interruptions += interrupted
            self._sign, self._since = sign, ended
            return False
        return began - self._since > self._lease_s
