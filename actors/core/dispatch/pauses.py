"""The calls that wait before another attempt, and when each wait ends."""

from __future__ import annotations

import heapq

from actors.core.dispatch.open_call import CallState, OpenCall


class Pauses:
    """A heap of end times. The entry of a call that no longer waits stays until its time, and is ignored."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, OpenCall]] = []
        self._serial = 0  # breaks ties: calls are not comparable
        self._latest: dict[str, int] = {}  # the valid entry of each call key

    def begin(self, record: OpenCall, until: float) -> None:
        """Make `record` wait until then."""
        record.move(CallState.WAITING)
        self._serial += 1
        self._latest[record.call.key] = self._serial
        heapq.heappush(self._heap, (until, self._serial, record))

    def take_ended(self, now: float) -> list[OpenCall]:
        """Remove and return the calls whose wait has ended."""
        over = []
        while self._heap and self._heap[0][0] <= now:
            _, serial, record = heapq.heappop(self._heap)
            # A call may have been sent since and wait again: an earlier entry must not end that wait.
            if self._latest.get(record.call.key) == serial:
                del self._latest[record.call.key]
                if record.state is CallState.WAITING:
                    over.append(record)
        return over

    def next_end(self) -> float | None:
        """Return when `take_ended` must be called next, None if no call waits."""
        return self._heap[0][0] if self._heap else None
