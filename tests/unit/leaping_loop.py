"""An event loop whose time leaps to the next timer: an hour of waiting takes no time."""

from __future__ import annotations

import asyncio
import selectors


class _Leap(selectors.DefaultSelector):
    loop = None

    def select(self, timeout=None):
        events = super().select(0)
        if not events:
            assert timeout is not None, "nothing is left to do: what is waited for will never come"
            self.loop.now += max(timeout, 0.0)
        return events


class LeapingLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        self.now = 1000.0
        leap = _Leap()
        leap.loop = self
        super().__init__(leap)

    def time(self):
        return self.now

    def run_in_executor(self, executor, func, *arguments):
        """Do at once what is meant for a thread, and have it done in a later turn."""
        future = self.create_future()
        try:
            self.call_soon(future.set_result, func(*arguments))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits
            self.call_soon(future.set_exception, error)
        return future


def run_leaping(main):
    """Run the coroutine `main` on such a loop, where sleeping is allowed."""
    guarded, asyncio.sleep = asyncio.sleep, asyncio.tasks.sleep
    try:
        with asyncio.Runner(loop_factory=LeapingLoop) as runner:
            return runner.run(main)
    finally:
        asyncio.sleep = guarded
