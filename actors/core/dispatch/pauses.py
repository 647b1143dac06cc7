"""Calls that sit out a pause before another try, and when each is over."""

from __future__ import annotations

import heapq

from actors.core.dispatch.open_call import CallState, OpenCall


class Pauses:
    """A heap of times. A call that no longer waits leaves its entry behind, which is dropped in its time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, OpenCall]] = []
        self._serial = 0  # two calls at one time need no order of their own
        self._latest: dict[str, int] = {}  # by call key: the entry that counts

    def begin(self, record: OpenCall, until: float) -> None:
        """Have `record` wait until then."""
        record.move(CallState.WAITING)
        self._serial += 1
        self._latest[record.call.key] = self._serial
        heapq.heappush(self._heap, (until, self._serial, record))

    def take_ended(self, now: float) -> list[OpenCall]:
        """Return the calls whose pause is over."""
        over = []
        while self._heap and self._heap[0][0] <= now:
            _, serial, record = heapq.heappop(self._heap)
            # A call may have been sent since, and wait again: its former entry would end that pause, too.
            if self._latest.get(record.call.key) == serial:
                del self._latest[record.call.key]
                if record.state is CallState.WAITING:
                    over.append(record)
        return over

    def next_end(self) -> float | None:
        """Return when the next pause is over, None where nobody waits."""
        return self._heap[0][0] if self._heap else None
