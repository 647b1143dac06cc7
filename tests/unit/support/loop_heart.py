"""A journal's heart on the event loop, for loops whose time leaps and that have no threads."""

from __future__ import annotations

import asyncio


class LoopHeart:
    def __init__(self, store, beat, interval_s):
        self.beat, self.interval_s = beat, interval_s
        self.loop = asyncio.get_running_loop()
        self.timer = self.loop.call_later(interval_s, self.go)

    def go(self):
        self.timer = self.loop.call_later(self.interval_s, self.go)
        self.beat()

    def stop(self):
        self.timer.cancel()
