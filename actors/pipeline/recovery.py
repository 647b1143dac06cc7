"""Recovers accepted tasks that no pipeline is working on. Tries again until that has succeeded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from actors.core.errors import HeadraceError, text_of
from actors.runtime.sparing_log import SparingLog

_sparing = SparingLog(logging.getLogger(__name__))

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0


class TaskRecovery:
    """Calls `recover` now, again after each failure, and whenever `again` is called.

    Made on a running event loop. The pauses between two calls grow while they are needed one after the other.
    `trouble` says why the last one failed; it is empty where it did not.
    """

    def __init__(self, recover: Callable[[], Awaitable[None]]) -> None:
        self.trouble = ""
        self._recover = recover
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._working = asyncio.create_task(self._keep_on())

    def again(self) -> None:
        """Have it done again: something that was accepted is worked on by nobody."""
        self._wanted.set()

    def close(self) -> None:
        """Stop."""
        self._working.cancel()

    async def _keep_on(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s, done_at = 0.0, loop.time()
        while True:
            await self._wanted.wait()
            if loop.time() - done_at > _LONGEST_PAUSE_S:
                pause_s = min(pause_s, _FIRST_PAUSE_S)
            await asyncio.sleep(pause_s)
            self._wanted.clear()
            try:
                await self._recover()
            except Exception as error:  # noqa: BLE001 - whatever it is, what was accepted has to be gone on with
                self._wanted.set()
                self.trouble = text_of(error)
                defect = None if isinstance(error, HeadraceError) else error
                _sparing.write(
                    logging.WARNING, "accepted tasks cannot be continued yet: %s", self.trouble, error=defect
                )
            else:
                self.trouble = ""
            pause_s, done_at = min(_LONGEST_PAUSE_S, max(_FIRST_PAUSE_S, 2 * pause_s)), loop.time()
