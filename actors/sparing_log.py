"""A log for what may happen again and again: one line in a while, and how many were left out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_EVERY_S = 10.0


class SparingLog:
    """Logs at most one message in `every_s` seconds. An hour of one trouble does not fill a disk."""

    def __init__(
        self,
        log: logging.Logger,
        *,
        every_s: float = _EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._every_s = every_s
        self._clock = clock
        self._next_at = float("-inf")
        self._left_out = 0

    def write(self, level: int, message: str, *arguments: object, error: BaseException | None = None) -> None:
        """Log a message, unless the last one was a moment ago."""
        now = self._clock()
        if now < self._next_at:
            self._left_out += 1
            return
        self._next_at = now + self._every_s
        if self._left_out:
            message += f" ({self._left_out} more like this since the last such line)"
            self._left_out = 0
        self._log.log(level, message, *arguments, exc_info=error)
