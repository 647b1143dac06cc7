"""Keeps answers that are expensive to make for a few seconds, for all who ask for the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

_MOST = 1_000  # answers


class RecentAnswers:
    """Makes the answer for a key once in `kept_s` seconds. Callers that come meanwhile wait for the same."""

    def __init__(self, kept_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept_s = kept_s
        self._clock = clock
        self._known: dict[Hashable, tuple[float, asyncio.Task[Any]]] = {}

    async def of(self, key: Hashable, make: Callable[[], Awaitable[Any]]) -> Any:
        """Return the answer for `key`. An error is raised for those who wait, and is not kept."""
        made_at, task = self._known.get(key, (float("-inf"), None))
        if task is None or self._clock() - made_at >= self._kept_s or _has_failed(task):
            if len(self._known) >= _MOST:
                self._known.clear()
            task = asyncio.ensure_future(make())
            self._known[key] = (self._clock(), task)
        return await asyncio.shield(task)  # the first caller may leave; the others still wait


def _has_failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
