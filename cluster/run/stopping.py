"""Ctrl-C and SIGTERM: the first asks a run to stop, the second ends the process at once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from actors.core.errors import StoppedError

_LET_GO_WITHIN_S = 2.0  # what was cancelled may have to close a connection

DoneT = TypeVar("DoneT")


def stop_on_signal(exit_now: Callable[[int], object] = os._exit) -> asyncio.Event:
    """Return an event that the first SIGINT or SIGTERM sets. `exit_now` ends the process at the second.

    Called after `ray.init`, which replaces the handler of SIGTERM. An exception would not end the process:
    the event loop first waits for all that it runs, which took a minute where an actor did not answer.
    """
    stop = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            sys.stderr.write(f"ended at once by a second {number.name}; what was stored is kept\n")
            sys.stderr.flush()
            exit_now(128 + number)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    return stop


async def unless_stopped(work: Awaitable[DoneT], stop: asyncio.Event, what: str) -> DoneT:
    """Return what `work` returns. Raises `StoppedError` once `stop` is set: `what` names the work in it."""
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
            working.exception()  # retrieved: whoever pressed Ctrl-C does not want to read it
