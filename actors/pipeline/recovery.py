"""Resumes accepted tasks that no pipeline runs, and retries until this succeeds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from actors.core.errors import HeadraceError, text_of
from actors.runtime.sparing_log import SparingLog

_sparing = SparingLog(logging.getLogger(__name__))

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0


class TaskRecovery:
    """Calls `recover` at once, after each failure, and whenever `again` is called.

    Create it on a running event loop. The pauses between consecutive calls grow.
    trouble: why the last call failed; empty if it succeeded.
    """

    def __init__(self, recover: Callable[[], Awaitable[None]]) -> None:
        self.trouble = ""
        self._recover = recover
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._working = asyncio.create_task(self._keep_on())

    def again(self) -> None:
        """Call `recover` again: an accepted task could not be run."""
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
            except Exception as error:  # noqa: BLE001 - accepted tasks must be resumed after any error
                self._wanted.set()
                self.trouble = text_of(error)
                defect = None if isinstance(error, HeadraceError) else error
                _sparing.write(
                    logging.WARNING, "cannot resume accepted tasks yet: %s", self.trouble, error=defect
                )
            else:
                self.trouble = ""
            pause_s, done_at = min(_LONGEST_PAUSE_S, max(_FIRST_PAUSE_S, 2 * pause_s)), loop.time()
