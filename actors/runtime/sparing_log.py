"""A log for what may happen again and again: one line in a while of each kind, and how many were left out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

_EVERY_S = 10.0
_MOST_KINDS = 16  # of trouble at once; what is beyond shares one line in a while
_KIND_CHARACTERS = 200


@dataclass(slots=True)
class _Repeated:
    """When the next line of this kind may be logged, and how many were not."""

    next_at: float = float("-inf")
    left_out: int = 0


class SparingLog:
    """Logs at most one message of a kind in `every_s` seconds. An hour of one trouble does not fill a disk.

    A kind is a message and its cause: the type and the first line of an error. Without the cause one defect
    would hide another. The number of kinds is bounded.
    """

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
        self._kinds: dict[tuple[str, str], _Repeated] = {}
        self._others = _Repeated()

    def write(
        self,
        level: int,
        message: str,
        *arguments: object,
        error: BaseException | None = None,
        cause: object = None,
    ) -> None:
        """Log a message, unless the last one of its kind was a moment ago.

        `error` is logged with its traceback. `cause`, by default `error`, tells one kind from another.
        """
        now = self._clock()
        kind = self._kind(message, error if cause is None else cause, now)
        if now < kind.next_at:
            kind.left_out += 1
            return
        kind.next_at = now + self._every_s
        if kind.left_out:
            message += f" ({kind.left_out} more like this since the last such line)"
            kind.left_out = 0
        self._log.log(level, message, *arguments, exc_info=error)

    def _kind(self, message: str, cause: object, now: float) -> _Repeated:
        key = (message, _first_line(cause))
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= _MOST_KINDS:
                self._kinds = {key: kind for key, kind in self._kinds.items() if now < kind.next_at}
            if len(self._kinds) >= _MOST_KINDS:
                return self._others
            kind = self._kinds[key] = _Repeated()
        return kind


def _first_line(cause: object) -> str:
    if cause is None:
        return ""
    try:
        said = str(cause)
    except Exception:  # noqa: BLE001 - an error's text may raise anything, and its type is enough
        said = ""
    return f"{type(cause).__name__}: {said.partition(chr(10))[0][:_KIND_CHARACTERS]}"
