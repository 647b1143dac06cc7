"""Handles SIGINT and SIGTERM: the first asks a run to stop, the last ends the process immediately.

While a run that stops waits for the answers in flight, the second signal ends that wait and the third ends
the process. Otherwise the second one does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from actors.core.errors import StoppedError

_STDERR = 2
_LET_GO_WITHIN_S = 2.0  # cancelled work may have to close a connection
ONE_REQUEST_S = 0.3  # `timeout` signals its child and then the process group, which counts as one request

DoneT = TypeVar("DoneT")


class StopRequest(asyncio.Event):
    """Set when a run has to stop. `hurry` is not None while a further request can end a wait; it sets it."""

    def __init__(self) -> None:
        super().__init__()
        self.hurry: asyncio.Event | None = None

    def request(self) -> None:
        """Ask the run to stop; ask one that waits for answers in flight to wait no longer."""
        self.set()
        if self.hurry is not None:
            self.hurry.set()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[asyncio.Event]:
        """Yield the event that the next request sets."""
        self.hurry = asyncio.Event()
        try:
            yield self.hurry
        finally:
            self.hurry = None


def stop_on_signal(
    exit_now: Callable[[int], object] = os._exit, clock: Callable[[], float] = time.monotonic
) -> StopRequest:
    """Return a request that the first SIGINT or SIGTERM sets. `exit_now` ends the process at the last.

    A signal within 0.3 s of the one before is ignored. Call this function after `ray.init`, which replaces
    the SIGTERM handler. An exception instead of `exit_now` would not end the process: the event loop first
    waits for its tasks, up to a minute if an actor does not answer. The handlers do not belong to the event
    loop, which would call them only after the code that blocks it.
    """
    stop = StopRequest()
    loop = asyncio.get_running_loop()
    last_at: float | None = None

    def on_signal(number: int, _: object) -> None:
        nonlocal last_at
        now = clock()
        if last_at is not None:
            if now - last_at < ONE_REQUEST_S:
                return
            if stop.hurry is not None and not stop.hurry.is_set():
                last_at = now
                loop.call_soon_threadsafe(stop.request)
                return
            name = signal.Signals(number).name
            text = f"ended immediately by another {name}; the store keeps what was done\n"
            with contextlib.suppress(OSError):
                os.write(_STDERR, text.encode())  # the signal may interrupt a write to `sys.stderr`
            exit_now(128 + number)
        elif loop.is_closed():
            raise KeyboardInterrupt
        else:
            last_at = now
            loop.call_soon_threadsafe(stop.request)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return stop


async def unless_stopped(work: Awaitable[DoneT], stop: asyncio.Event, what: str) -> DoneT:
    """Return the result of `work`. Raises `StoppedError` once `stop` is set; its message names `what`."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise StoppedError(f"interrupted while {what}")
        return working.result()
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.wait({working, stopping}, timeout=_LET_GO_WITHIN_S)
        if working.done() and not working.cancelled():
            working.exception()  # otherwise asyncio logs an error that the user interrupted
