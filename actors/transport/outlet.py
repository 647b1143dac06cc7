"""Schedules the sending of a batch: at once after a quiet period, and at even intervals under load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from actors.transport.pacer import Pacer


class Outlet:
    """Calls `send` in a later iteration of the event loop, once for all requests made before."""

    __slots__ = ("_clock", "_due", "_is_next", "_pacer", "_send")

    def __init__(self, send: Callable[[], None], pacer: Pacer, clock: Callable[[], float]) -> None:
        self._send = send
        self._pacer = pacer
        self._clock = clock
        self._due: asyncio.Handle | None = None
        self._is_next = False

    def send_paced(self) -> None:
        """Schedule `send` for when the pacer allows it."""
        if self._due is not None:
            return
        wait_s = self._pacer.wait_s(self._clock())
        if wait_s > 0:
            self._due = asyncio.get_running_loop().call_later(wait_s, self._go)
        else:
            self.send_next()

    def send_next(self) -> None:
        """Schedule `send` for the next iteration of the event loop, without pacing."""
        if self._is_next:
            return  # rescheduling on each request could delay it without end
        self.stop()
        self._is_next = True
        self._due = asyncio.get_running_loop().call_soon(self._go)

    def stop(self) -> None:
        """Cancel what is scheduled."""
        if self._due is not None:
            self._due.cancel()
        self._due = None
        self._is_next = False

    def _go(self) -> None:
        self._due = None
        self._is_next = False
        self._pacer.happened(self._clock())
        self._send()
