"""A rate-limited log for repeated messages, which also counts the suppressed ones."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

_EVERY_S = 10.0
_MOST_KINDS = 16  # further kinds share one rate limit
_KIND_CHARACTERS = 200


@dataclass(slots=True)
class _Repeated:
    """When the next message of a kind may be logged, and how many were suppressed."""

    next_at: float = float("-inf")
    left_out: int = 0


class SparingLog:
    """Logs at most one message of a kind in `every_s` seconds: a lasting fault does not fill the disk.

    A kind is a message together with its cause, the type and the first line of an error. Without the cause
    one defect would hide another. The number of kinds is bounded.
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
        """Log a message, unless one of the same kind was logged within `every_s`.

        `error` is logged with its traceback. `cause`, by default `error`, is part of the kind.
        """
        now = self._clock()
        kind = self._kind(message, error if cause is None else cause, now)
        if now < kind.next_at:
            kind.left_out += 1
            return
        kind.next_at = now + self._every_s
        if kind.left_out:
            message += f" ({kind.left_out} similar messages suppressed)"
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
    except Exception:  # noqa: BLE001 - the `__str__` of an error may raise anything; its type is enough
        said = ""
    return f"{type(cause).__name__}: {said.partition(chr(10))[0][:_KIND_CHARACTERS]}"
