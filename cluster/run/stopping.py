"""Handles SIGINT and SIGTERM: the first asks a run to stop, the second ends the process immediately."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from actors.core.errors import StoppedError

_LET_GO_WITHIN_S = 2.0  # cancelled work may have to close a connection

DoneT = TypeVar("DoneT")


def stop_on_signal(exit_now: Callable[[int], object] = os._exit) -> asyncio.Event:
    """Return an event that the first SIGINT or SIGTERM sets. `exit_now` ends the process at the second.

    Call it after `ray.init`, which replaces the SIGTERM handler. An exception instead of `exit_now` would not
    end the process: the event loop first waits for its tasks, up to a minute if an actor does not answer.
    """
    stop = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            sys.stderr.write(f"ended immediately by a second {number.name}; the store keeps what was done\n")
            sys.stderr.flush()
            exit_now(128 + number)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
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
