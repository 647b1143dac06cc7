"""When something that gathers is sent: at once after a quiet spell, and at even distances under load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from actors.transport.pacer import Pacer


class Outlet:
    """Calls `send` in a later turn of the event loop, once for all who asked for it by then."""

    __slots__ = ("_at_once", "_clock", "_due", "_pacer", "_send")

    def __init__(self, send: Callable[[], None], pacer: Pacer, clock: Callable[[], float]) -> None:
        self._send = send
        self._pacer = pacer
        self._clock = clock
        self._due: asyncio.Handle | None = None
        self._at_once = False

    def in_time(self) -> None:
        """Have it sent as soon as the pace allows."""
        if self._due is not None:
            return
        wait_s = self._pacer.wait_s(self._clock())
        if wait_s > 0:
            self._due = asyncio.get_running_loop().call_later(wait_s, self._go)
        else:
            self.at_once()

    def at_once(self) -> None:
        """Have it sent in the next turn of the loop, whatever the pace."""
        if self._at_once:
            return  # put off by each that asks, it might never be sent
        self.stop()
        self._at_once = True
        self._due = asyncio.get_running_loop().call_soon(self._go)

    def stop(self) -> None:
        """Have nothing sent, until somebody asks again."""
        if self._due is not None:
            self._due.cancel()
        self._due = None
        self._at_once = False

    def _go(self) -> None:
        self._due = None
        self._at_once = False
        self._pacer.happened(self._clock())
        self._send()
