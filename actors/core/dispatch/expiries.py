"""Schedules the checks of tasks for calls whose deadline has passed.

Keeps one entry per task, and drops it with the last call of the task. With a deadline of ten minutes and a
thousand tasks a second, stale entries would fill hundreds of megabytes.
"""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

TaskT = TypeVar("TaskT")

_SLACK = 64  # stale entries that are not worth removing


class Expiries(Generic[TaskT]):
    """The time of the next check of each task: the earliest that was scheduled."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TaskT]] = []
        self._serial = 0  # breaks ties: tasks need not be comparable
        self._at: dict[TaskT, tuple[float, int]] = {}  # the valid entry of each task

    def __len__(self) -> int:
        return len(self._heap)

    def schedule(self, task: TaskT, when: float) -> None:
        """Schedule a check of `task` at `when`, unless an earlier one is scheduled."""
        known = self._at.get(task)
        if known is None or when < known[0]:
            self._serial += 1
            self._at[task] = (when, self._serial)
            heapq.heappush(self._heap, (when, self._serial, task))

    def forget(self, task: TaskT) -> None:
        """Cancel the check of `task`."""
        self._at.pop(task, None)
        if len(self._heap) > 2 * len(self._at) + _SLACK:
            self._heap = [entry for entry in self._heap if self._at.get(entry[2]) == entry[:2]]
            heapq.heapify(self._heap)

    def take_due(self, now: float) -> list[TaskT]:
        """Remove and return the tasks whose check is due."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            *at, task = heapq.heappop(self._heap)
            if self._at.get(task) == tuple(at):
                del self._at[task]
                due.append(task)
        return due

    def next_at(self) -> float | None:
        """Return when `take_due` must be called next, None if nothing is scheduled."""
        return self._heap[0][0] if self._heap else None
