"""Handles SIGINT and SIGTERM: the first asks a run to stop, the second ends the process immediately."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from actors.core.errors import StoppedError

_STDERR = 2
_LET_GO_WITHIN_S = 2.0  # cancelled work may have to close a connection
_ONE_REQUEST_S = 0.3  # `timeout` signals its child and then the process group, which counts as one request

DoneT = TypeVar("DoneT")


def stop_on_signal(
    exit_now: Callable[[int], object] = os._exit, clock: Callable[[], float] = time.monotonic
) -> asyncio.Event:
    """Return an event that the first SIGINT or SIGTERM sets. `exit_now` ends the process at the second.

    A signal within 0.3 s of the first is ignored. Call this function after `ray.init`, which replaces the
    SIGTERM handler. An exception instead of `exit_now` would not end the process: the event loop first waits
    for its tasks, up to a minute if an actor does not answer. The handlers do not belong to the event loop,
    which would call them only after the code that blocks it.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    first_at: float | None = None

    def on_signal(number: int, _: object) -> None:
        nonlocal first_at
        now = clock()
        if first_at is not None:
            if now - first_at < _ONE_REQUEST_S:
                return
            name = signal.Signals(number).name
            text = f"ended immediately by a second {name}; the store keeps what was done\n"
            with contextlib.suppress(OSError):
                os.write(_STDERR, text.encode())  # the signal may interrupt a write to `sys.stderr`
            exit_now(128 + number)
        elif loop.is_closed():
            raise KeyboardInterrupt
        else:
            first_at = now
            loop.call_soon_threadsafe(stop.set)

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
