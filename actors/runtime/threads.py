"""Threads that belong to one source or reader: code that blocks or hangs stops no other one and no actor.

All of them are daemon threads. Python waits at its exit for the threads of `concurrent.futures` and of an
event loop's default executor, so one call that hangs would keep the process alive.

The code is the user's, or calls the user's. `KeyboardInterrupt`, `SystemExit`, `GeneratorExit` and
`StopIteration` would end the event loop of the actors or get lost in it: they become a `SourceError`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections.abc import Callable, Coroutine
from queue import SimpleQueue
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from actors.core.errors import SourceError

_log = logging.getLogger(__name__)

DoneT = TypeVar("DoneT")
_Job: TypeAlias = Callable[[], None]


class SourceThreads:
    """Runs plain functions on at most `most` threads, which it starts when they are needed.

    A call that is cancelled keeps its thread until the function returns. Use it from one event loop.
    """

    def __init__(self, name: str, most: int, bound: str = "concurrency") -> None:
        self.most = most
        self.bound = bound  # the setting that `most` is
        self._name = name
        self._busy = 0
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._waiting: set[asyncio.Future[None]] = set()
        self._end = weakref.finalize(self, _end_threads, self._jobs, self._threads)
        self._end.atexit = False

    async def free(self) -> None:
        """Return once a thread is free. The caller gets that thread if it calls `run` before it awaits."""
        while self._busy >= self.most:
            waits = asyncio.get_running_loop().create_future()
            self._waiting.add(waits)
            try:
                await waits
            finally:
                self._waiting.discard(waits)

    async def run(self, work: Callable[..., DoneT], *arguments: Any) -> DoneT:
        """Return what `work` returns, or raise what it raises. Waits for a thread if none is free."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[DoneT] = loop.create_future()

        def job() -> None:
            result, error = None, None
            try:
                if not done.cancelled():
                    result = work(*arguments)
            except BaseException as raised:  # noqa: BLE001 - any code's: see the module
                error = _harmless(raised)
            try:
                loop.call_soon_threadsafe(self._on_end, done, result, error)
            except RuntimeError:
                _log.debug("a thread of source %s ended after its event loop", self._name)

        self._busy += 1
        if len(self._threads) < min(self._busy, self.most):
            thread = threading.Thread(
                target=_work, args=(self._jobs,), name=f"source-{self._name}", daemon=True
            )
            self._threads.append(thread)
            thread.start()
        self._jobs.put(job)
        return await done

    def close(self) -> None:
        """End each thread once its call has returned. Does not wait."""
        self._end()

    def _on_end(self, done: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
        self._busy -= 1
        for waits in self._waiting:
            if not waits.done():
                waits.set_result(None)
        if done.done():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)


class SourceLoop:
    """Runs coroutines on an event loop in a thread of its own."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_run_loop, args=(self._loop,), name=f"source-{name}", daemon=True).start()
        self._end = weakref.finalize(self, _end_loop, self._loop)
        self._end.atexit = False

    async def run(self, work: Coroutine[Any, Any, DoneT]) -> DoneT:
        """Return what `work` returns, or raise what it raises. Cancelling this cancels `work`."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_outcome(work), self._loop))

    def call(self, work: Callable[[], DoneT], within_s: float) -> DoneT:
        """Call `work` in the thread and block the caller until it has returned.

        Raises TimeoutError after `within_s` seconds. `work` goes on in its thread.
        """

        async def called() -> DoneT:
            return work()

        return asyncio.run_coroutine_threadsafe(_outcome(called()), self._loop).result(within_s)

    def close(self) -> None:
        """End the thread once the code that it runs lets it. Does not wait."""
        self._end()


@runtime_checkable
class OnThreads(Protocol):
    """A source whose `fetch` calls `threads.run` before it awaits anything else, if at all."""

    threads: SourceThreads


def _harmless(error: BaseException) -> Exception:
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return SourceError(f"{type(error).__name__}: {error}")


async def _outcome(work: Coroutine[Any, Any, DoneT]) -> DoneT:
    try:
        return await work
    except BaseException as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise
        harmless = _harmless(error)
        if harmless is error:
            raise
        raise harmless from error


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # it holds a whole answer


def _end_threads(jobs: SimpleQueue[_Job | None], threads: list[threading.Thread]) -> None:
    for _ in threads:
        jobs.put(None)


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    while True:
        try:
            loop.run_forever()
        except BaseException:  # noqa: BLE001 - a task that the user's code started beside its fetch
            _log.exception("a task of a source raised what ends an event loop; the loop goes on")
        else:
            loop.close()
            return


def _end_loop(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_soon_threadsafe(loop.stop)
