"""When the owner of a run counts as dead: it was watched for a whole lease, and showed no sign of life.

Rule 1: only time in which the owner was watched counts. A watcher that stood still, or whose read of the
    store blocked, begins again: the owner may have stood still with it, and needs a lease to show itself.
Rule 2: a sign is as old as the end of the read that first saw it, and as young as the beginning of the read
    that saw it last: the time of a read never counts as silence.
"""

from __future__ import annotations

from collections.abc import Hashable

MOST_GAP = 0.25  # of a lease: an owner shows several signs of life in that time
_SHORTEST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.1
_LOOKS_A_LEASE = 20  # at the least: a pause near MOST_GAP would be taken for an interruption
_UNSEEN = object()


def is_gap(seconds: float, lease_s: float) -> bool:
    """Return whether a watcher that did not look for `seconds` has to watch a whole lease anew."""
    return seconds > lease_s * MOST_GAP


class LeaseWatch:
    """Watches one owner by its signs of life.

    `pause_s` is how long to wait between two looks. `interruptions` counts how often watching began again.
    """

    def __init__(self, lease_s: float) -> None:
        self.pause_s = max(_SHORTEST_PAUSE_S, min(_LONGEST_PAUSE_S, lease_s / _LOOKS_A_LEASE))
        self.interruptions = 0
        self._lease_s = lease_s
        self._sign: Hashable = _UNSEEN
        self._since = 0.0
        self._looked = 0.0

    def observe(self, sign: Hashable, began: float, ended: float) -> bool:
        """Return whether the owner was silent for a whole lease.

        `sign` was read between `began` and `ended`, on one monotonic clock.
        """
        interrupted = self._sign is not _UNSEEN and is_gap(ended - self._looked, self._lease_s)
        self._looked = ended
        if interrupted or sign != self._sign:
            self.interruptions += interrupted
            self._sign, self._since = sign, ended
            return False
        return began - self._since > self._lease_s
