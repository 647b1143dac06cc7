"""Which tasks have calls whose time may be over, and when to look.

By task, not by call: a call that ends early leaves its entry behind, and with ten minutes for each and
thousands of calls a second such entries would fill the memory.
"""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

TaskT = TypeVar("TaskT")


class Expiries(Generic[TaskT]):
    """One time for each task: the earliest that was asked for."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TaskT]] = []
        self._serial = 0  # two tasks at one time need no order of their own
        self._at: dict[TaskT, float] = {}  # of the entries of a task, the one that counts

    def __len__(self) -> int:
        return len(self._heap)

    def look_at(self, task: TaskT, when: float) -> None:
        """Have `task` looked at by `when`."""
        if when < self._at.get(task, float("inf")):
            self._at[task] = when
            self._serial += 1
            heapq.heappush(self._heap, (when, self._serial, task))

    def take_due(self, now: float) -> list[TaskT]:
        """Return the tasks to look at now. Each is forgotten until it is asked for again."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            at, _, task = heapq.heappop(self._heap)
            if self._at.get(task) == at:
                del self._at[task]
                due.append(task)
        return due

    def next_at(self) -> float | None:
        """Return when there may be something to look at, None where nothing was asked for."""
        return self._heap[0][0] if self._heap else None
