"""Schedules the heartbeats of a journal independently of its event loop.

A source or a large task may block the event loop for longer than a lease. The process is alive, and must not
lose its runs to another one. So a separate thread schedules the heartbeats, and the thread of the store
commits them. Heartbeats do not replace fences: a journal that has lost a run cannot write to it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Protocol


class Heart(Protocol):
    """Calls a heartbeat at intervals."""

    def stop(self) -> None:
        """Schedule no further heartbeat."""
        ...


class ThreadHeart:
    """Calls `beat` in the thread of `store` every `interval_s` seconds, until `stop`."""

    def __init__(self, store: Executor, beat: Callable[[], None], interval_s: float) -> None:
        self._store = store
        self._beat = beat
        self._interval_s = interval_s
        self._stopped = threading.Event()
        self._scheduling = threading.Lock()
        threading.Thread(target=self._run, name="heart", daemon=True).start()

    def stop(self) -> None:
        """Schedule no further heartbeat. Work that `store` gets after this call runs after the last one."""
        with self._scheduling:
            self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            with self._scheduling:
                if self._stopped.is_set():
                    return  # a heartbeat would open the closed store again
                try:
                    beating = self._store.submit(self._beat)
                except RuntimeError:
                    return  # the interpreter ends
            beating.result()
