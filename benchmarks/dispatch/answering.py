"""Actors to measure the dispatcher alone: clients that answer at once, and a feeder that keeps calls waiting.

They use the same messages, couriers and inboxes as Headrace's actors.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from typing import Any

import ray

from actors.core.messages.attempts import Attempt, AttemptEnded, TakeOver, WatchStreams
from actors.core.messages.calls import Call, Completion
from actors.core.messages.values import Done, Usage
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, OnRestart
from actors.transport.discovery import RayAddress, Reachable
from actors.transport.inbox import Inbox, Reply

_TASKS = 1000
_USAGE = Usage(100, 60)
_VALUES = {"quality": 0.5}
_LATENCY_S = 0.3  # the latency that it reports


class AnsweringClient(Reachable):
    """A client that answers attempts at once while its gate is open, and holds them otherwise."""

    def __init__(self) -> None:
        self._gate = False
        self._held: list[tuple[int, Reply]] = []
        self._watching: list[Reply] = []
        super().__init__(Inbox(self._on_item))
        _settle_in()

    async def pid(self) -> int:
        """Return the id of this process."""
        return os.getpid()

    async def open_gate(self) -> None:
        """Answer the held attempts, and new ones at once."""
        self._gate = True
        held, self._held = self._held, []
        for attempt_id, reply in held:
            reply(_ended(attempt_id))

    async def close_gate(self) -> None:
        """Hold new attempts."""
        self._gate = False

    def _on_item(self, item: Any, reply: Reply) -> None:
        match item:
            case Attempt(id=attempt_id):
                if self._gate:
                    reply(_ended(attempt_id))
                else:
                    self._held.append((attempt_id, reply))
            case TakeOver():
                reply(())
            case WatchStreams():
                self._watching.append(reply)  # nothing is streamed, so there is no progress to report
            case _:
                reply(Done())


class Feeder:
    """Keeps a number of calls at the dispatcher: it sends a new one for each answer."""

    def __init__(self, dispatcher: RayAddress[Call, Completion], outstanding: int) -> None:
        settings = CourierSettings(
            max_outstanding=outstanding + 1,
            max_outstanding_bytes=8 << 30,
            on_restart=OnRestart.RESEND,
        )
        self._courier = Courier(dispatcher, settings=settings)
        self._outstanding = outstanding
        self._sent = 0
        self._answered = 0
        self._until = 0
        self._enough = asyncio.Event()
        self._failure: BaseException | None = None
        _settle_in()

    async def pid(self) -> int:
        """Return the id of this process."""
        return os.getpid()

    async def fill(self) -> None:
        """Send the calls that are to wait, and return when the dispatcher has accepted them."""
        for _ in range(self._outstanding):
            self._send()
            if self._sent % 1000 == 0:
                await asyncio.sleep(0)  # lets the courier send
        while self._courier.statistics().queued:  # noqa: ASYNC110 - a courier offers no such event
            await asyncio.sleep(0.01)

    async def keep(self, calls: int) -> float:
        """Return the seconds until `calls` more calls were answered."""
        self._until = self._answered + calls
        self._enough.clear()
        started = time.monotonic()
        await self._enough.wait()
        if self._failure is not None:
            raise self._failure
        return time.monotonic() - started

    def _send(self) -> None:
        self._sent += 1
        call = Call(
            f"call-{self._sent}", "evaluate", "", 300, f"task-{self._sent % _TASKS}", expires_in_s=1e6
        )
        self._courier.post(call).add_done_callback(self._on_answer)

    def _on_answer(self, answer: asyncio.Future[Completion]) -> None:
        error = answer.exception() or answer.result().error
        if error is not None:
            self._failure = error if isinstance(error, BaseException) else RuntimeError(str(error))
            self._enough.set()
            return
        self._answered += 1
        if self._answered >= self._until:
            self._enough.set()
        self._send()


def _settle_in() -> None:
    """Configure the garbage collector for a million objects, as Headrace's actors do."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _ended(attempt_id: int) -> AttemptEnded:
    return AttemptEnded(attempt_id, _VALUES, usage=_USAGE, took_s=_LATENCY_S)


AnsweringClientActor = ray.remote(AnsweringClient)
FeederActor = ray.remote(Feeder)
