"""An event loop whose time passes only when nothing else is left to do, and processes that can be killed.

A day passes in seconds. What runs in the context of a `Life` stops, as after a kill -9, once that life has
ended: its callbacks, timers and tasks are not run any more.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import selectors
import sys
import time
from collections.abc import Callable
from typing import Any

_life: contextvars.ContextVar[Life | None] = contextvars.ContextVar("life", default=None)


class Life:
    """One process, from its start to its end. What it would do later is held until the loop ends."""

    def __init__(self) -> None:
        asyncio.get_running_loop().lives.append(self)
        self.is_alive = True
        self.held: list[tuple[Callable[..., Any], tuple[Any, ...], contextvars.Context]] = []
        self.context = contextvars.copy_context()
        self.context.run(_life.set, self)

    def run(self, what, *arguments, **named):
        """Call `what` as a part of this process."""
        return self.context.run(lambda: what(*arguments, **named))

    def end(self):
        """Kill it."""
        self.is_alive = False

    def go_on(self):
        """Do what was held: a task that is never woken again cannot be cancelled either."""
        held, self.held = self.held, []
        for callback, arguments, context in held:
            asyncio.get_running_loop().call_soon(callback, *arguments, context=context)


class NothingLeftToDoError(Exception):
    """No event and no timer is left: whatever is waited for will never come."""


class _Leap(selectors.DefaultSelector):
    """A selector that does not wait: it has the loop's time leap to the next timer."""

    loop: VirtualLoop

    def select(self, timeout=None):
        if timeout is not None and timeout <= 0:
            return []  # something is ready; there are no sockets, and to ask for them takes a system call
        events = super().select(0)
        if not events:
            if timeout is None:
                raise NothingLeftToDoError
            self.loop.now += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module. `now` is seconds on the monotonic clock; the wall clock shows `wall_offset` more."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.wall_offset = 1_750_000_000.0
        self.store_takes_s = 0.0  # each piece of work that is handed to a thread
        self.lives: list[Life] = []
        self.is_ending = False  # what is left of all lives is cleared away
        leap = _Leap()
        leap.loop = self
        super().__init__(leap)

    def time(self):
        return self.now

    def wall_time(self):
        """Return what the wall clock shows."""
        return self.now + self.wall_offset

    def call_soon(self, callback, *args, context=None):
        return super().call_soon(*self._of_its_life(callback, args, context), context=context)

    def call_at(self, when, callback, *args, context=None):
        return super().call_at(when, *self._of_its_life(callback, args, context), context=context)

    def run_in_executor(self, executor, func, *args):
        """Do the work at once, and have its result there once the store has had its time."""
        future = self.create_future()
        try:
            result, error = func(*args), None
        except Exception as raised:  # noqa: BLE001 - it belongs to whoever waits
            result, error = None, raised

        def settle():
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        if self.store_takes_s:
            self.call_later(self.store_takes_s, settle)
        else:
            self.call_soon(settle)
        return future

    def _of_its_life(self, callback, args, context):
        life = _life.get() if context is None else context.get(_life)
        return (callback, *args) if life is None else (self._guarded, life, callback, args)

    def _guarded(self, life, callback, args):
        if self.is_ending or life.is_alive:
            callback(*args)
        else:
            life.held.append((callback, args, contextvars.copy_context()))


def run_in_virtual_time(main, monkeypatch):
    """Run the coroutine function `main(loop)` on a loop of its own. All of `actors` reads its clocks."""
    loop = VirtualLoop()
    sleep = _sleeper(loop)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", loop.time)
    monkeypatch.setattr(time, "time", loop.wall_time)
    _replace_defaults(loop, monkeypatch)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(_then_clear_away(loop, main))


async def _then_clear_away(loop, main):
    try:
        return await main(loop)
    finally:
        # A task that was never woken again cannot be cancelled either.
        loop.is_ending = True
        for life in loop.lives:
            life.go_on()


def _sleeper(loop):
    async def sleep(delay, result=None):
        future = loop.create_future()
        timer = loop.call_later(max(delay, 0.0), lambda: future.done() or future.set_result(result))
        try:
            return await future
        finally:
            timer.cancel()

    return sleep


_REAL = {time.monotonic: VirtualLoop.time, time.time: VirtualLoop.wall_time}


def _replace_defaults(loop, monkeypatch):
    """Put the loop's clocks in place of those that constructors have as defaults."""
    for name, module in list(sys.modules.items()):
        if not name.startswith("actors."):
            continue
        for _, cls in inspect.getmembers(module, inspect.isclass):
            init = vars(cls).get("__init__")
            if cls.__module__ != name or not inspect.isfunction(init):
                continue
            for argument, value in (init.__kwdefaults__ or {}).items():
                if inspect.isbuiltin(value) and value in _REAL:
                    monkeypatch.setitem(init.__kwdefaults__, argument, _REAL[value].__get__(loop))
            if init.__defaults__ and any(inspect.isbuiltin(it) and it in _REAL for it in init.__defaults__):
                replaced = tuple(
                    _REAL[it].__get__(loop) if inspect.isbuiltin(it) and it in _REAL else it
                    for it in init.__defaults__
                )
                monkeypatch.setattr(init, "__defaults__", replaced)
