"""An event loop whose time leaps to the next timer: an hour of waiting takes no time."""

from __future__ import annotations

import asyncio
import selectors

_MOST_TURNS = 50_000  # of the loop at one moment: ten times what any test needs


class _Leap(selectors.DefaultSelector):
    loop = None
    turns, at = 0, 0.0

    def select(self, timeout=None):
        events = super().select(0)
        if not events:
            assert timeout is not None, "nothing is left to do: what is waited for will never come"
            self.loop.now += max(timeout, 0.0)
        self._count_turn()
        return events

    def _count_turn(self):
        """Fail where something repeats without a pause: time would stand still, and the test would hang."""
        self.turns = self.turns + 1 if self.loop.now == self.at else 0
        self.at = self.loop.now
        if self.turns > _MOST_TURNS:
            self.turns = 0
            msg = "time stands still: something is repeated again and again without a pause"
            raise AssertionError(msg)


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
