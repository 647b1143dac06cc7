"""Which tasks have calls whose time may be over, and when to look.

By task, not by call, and forgotten with a task's last call: with ten minutes for each and a thousand tasks a
second, entries that are left behind would fill hundreds of megabytes.
"""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

TaskT = TypeVar("TaskT")

_SLACK = 64  # entries left behind that are not worth clearing away


class Expiries(Generic[TaskT]):
    """One time for each task: the earliest that was asked for."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TaskT]] = []
        self._serial = 0  # two tasks at one time need no order of their own
        self._at: dict[TaskT, tuple[float, int]] = {}  # of the entries of a task, the one that counts

    def __len__(self) -> int:
        return len(self._heap)

    def look_at(self, task: TaskT, when: float) -> None:
        """Have `task` looked at by `when`."""
        known = self._at.get(task)
        if known is None or when < known[0]:
            self._serial += 1
            self._at[task] = (when, self._serial)
            heapq.heappush(self._heap, (when, self._serial, task))

    def forget(self, task: TaskT) -> None:
        """Have `task` not looked at any more."""
        self._at.pop(task, None)
        if len(self._heap) > 2 * len(self._at) + _SLACK:
            self._heap = [entry for entry in self._heap if self._at.get(entry[2]) == entry[:2]]
            heapq.heapify(self._heap)

    def take_due(self, now: float) -> list[TaskT]:
        """Return the tasks to look at now. Each is forgotten until it is asked for again."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            *at, task = heapq.heappop(self._heap)
            if self._at.get(task) == tuple(at):
                del self._at[task]
                due.append(task)
        return due

    def next_at(self) -> float | None:
        """Return when there may be something to look at, None where nothing was asked for."""
        return self._heap[0][0] if self._heap else None
