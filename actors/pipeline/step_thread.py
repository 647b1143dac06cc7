"""A thread that does jobs in batches, and that is left if one of them does not end.

No thread can be stopped: the remaining jobs of a batch get another one. This does not help against code that
holds the interpreter's lock while it hangs, such as a regular expression, which stops the whole process.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


class ThreadBatch(Generic[JobT, ResultT]):
    """Jobs that a thread does in their order. Made on the event loop.

    ended: done once the thread has stopped work on the batch.
    results: of the first jobs; the thread appends to it.
    error: what a job raised, after which the thread stopped.
    """

    def __init__(self, work: Callable[[JobT], ResultT], jobs: Sequence[JobT]) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.results: list[ResultT] = []
        self.error: BaseException | None = None
        self._work = work
        self._jobs = jobs
        self._is_left = False
        self._lock = threading.Lock()

    def run(self) -> None:
        """Do the jobs, on the thread."""
        try:
            self._do_all()
        except BaseException as error:  # noqa: BLE001 - it would end the thread, for which later batches wait
            self.error = error
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(self.ended.set_result, None)

    def leave(self) -> int:
        """Have the thread begin no further job. Return the position of the one in progress."""
        with self._lock:
            self._is_left = True
            return len(self.results)

    def _do_all(self) -> None:
        for job in self._jobs:
            result = self._work(job)
            with self._lock:  # otherwise `leave` could return the position of a job that does not begin
                self.results.append(result)
                if self._is_left:
                    return


class StepThread:
    """A thread for batches. It does not keep the process from ending."""

    def __init__(self) -> None:
        self._batches: SimpleQueue[ThreadBatch[Any, Any] | None] = SimpleQueue()
        threading.Thread(target=_run, args=(self._batches,), name="steps", daemon=True).start()

    def begin(self, batch: ThreadBatch[Any, Any]) -> None:
        """Do `batch` after those before it."""
        self._batches.put(batch)

    def close(self) -> None:
        """End the thread after its batches. Does not wait."""
        self._batches.put(None)


def _run(batches: SimpleQueue[ThreadBatch[Any, Any] | None]) -> None:
    while (batch := batches.get()) is not None:
        batch.run()
        del batch  # it holds whole items
