"""The way to an actor over a connection of the courier's own; Ray only tells where the actor is.

A call through Ray costs each side 1.0-1.6 ms of processor time, a frame on an open connection some 50 us.
A killed actor's connection breaks within milliseconds; a stopped actor is found by its silence.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import secrets
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from actors.connection import Connection
from actors.core.messages import Delivery, Poll, Receipt
from actors.frames import Frame, FrameError, Kind
from actors.handshake import CHALLENGE_BYTES, CallerHandshake, Meeting
from actors.link import LinkError
from actors.meeting import Address, Introduction
from actors.pickling import dumps

_log = logging.getLogger(__name__)

CONNECT_WITHIN_S = 5.0


class LinkSettings(Struct, frozen=True):
    """Times in seconds.

    ping_after_s: how long a peer that owes an answer may be silent before it is asked for a sign of life.
    lost_after_s: how long before it is taken for lost. answer_within_s: how long it may take for an answer
    that it need not wait for, signs of life or not.
    """

    ping_after_s: float = 2.0
    lost_after_s: float = 10.0
    answer_within_s: float = 30.0


class Introducer(Protocol):
    """Whoever knows where the actor is."""

    async def meeting(self) -> Meeting:
        """Return where the actor is to be met now. Raises `LinkError`."""
        ...


class SocketLink:
    """The `Link` to the actor at `address`, which is `Reachable`. Connects when it is used, and again."""

    def __init__(
        self,
        address: Address,
        settings: LinkSettings = LinkSettings(),
        introducer: Introducer | None = None,
    ) -> None:
        self._settings = settings
        self._introducer = introducer or Introduction(address)
        self._connection: _ToActor | None = None
        self._connecting: asyncio.Task[_ToActor] | None = None

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Hand over items. Raises `LinkError`."""
        return await self._ask(delivery, self._settings.answer_within_s)

    async def collect(self, poll: Poll) -> Receipt:
        """Wait for replies. Raises `LinkError`."""
        return await self._ask(poll, poll.wait_s + self._settings.answer_within_s)

    async def close(self) -> None:
        """Let go of the connection. What is under way fails."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._connection is not None:
            self._connection.end("the link was closed")
            await self._connection.closed.wait()

    async def _ask(self, message: Delivery | Poll, within_s: float) -> Receipt:
        connection = self._connection
        if connection is None or not connection.is_open:
            connection = await self._connect()
        return await connection.ask(message, within_s)

    async def _connect(self) -> _ToActor:
        """Return the connection that is being made: a courier's two loops share it."""
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._open())
            self._connecting.add_done_callback(self._on_connected)
        return await asyncio.shield(self._connecting)

    def _on_connected(self, connecting: asyncio.Task[_ToActor]) -> None:
        self._connecting = None
        if not connecting.cancelled() and connecting.exception() is None:
            self._connection = connecting.result()

    async def _open(self) -> _ToActor:
        meeting = await self._introducer.meeting()
        made = _ToActor(meeting.secret, self._settings)
        where = f"{meeting.host}:{meeting.port}"
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: made, meeting.host, meeting.port)
            await made.opened
        except TimeoutError as error:
            raise LinkError(f"no connection to {where} within {CONNECT_WITHIN_S:.0f} s", False) from error
        except OSError as error:
            raise LinkError(f"no connection to {where}: {error}", False) from error
        except asyncio.CancelledError:
            made.end("the link was closed")
            raise
        return made


class _Question(Struct):
    answer: asyncio.Future[Receipt]
    deadline: float


class _ToActor(Connection):
    """An open connection to an actor, and the questions that it has not answered yet."""

    def __init__(self, secret: bytes, settings: LinkSettings) -> None:
        super().__init__(CallerHandshake(secret, secrets.token_bytes(CHALLENGE_BYTES)))
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed = asyncio.Event()
        self._settings = settings
        self._clock: Callable[[], float] = loop.time
        self._number = 0
        self._questions: dict[int, _Question] = {}
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._watch_due = 0.0

    async def ask(self, message: Delivery | Poll, within_s: float) -> Receipt:
        """Send `message` and return its receipt. Raises `LinkError`."""
        if not self.is_open:
            raise LinkError("the connection broke", False)
        now = self._clock()
        if not self._questions:
            self._heard_at = now  # nothing was owed before: that silence says nothing
        self._number = (self._number + 1) & 0xFFFFFFFF
        number = self._number
        question = _Question(asyncio.get_running_loop().create_future(), now + within_s)
        try:
            self.send(Kind.REQUEST, number, dumps(message))
        except FrameError as error:
            raise LinkError(str(error), True) from error
        self._questions[number] = question
        if self._watch is None:
            self._watch_again()
        try:
            return await question.answer
        finally:
            self._questions.pop(number, None)

    def on_open(self) -> None:
        """Let the questions come."""
        if not self.opened.done():
            self.opened.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Take note of a sign of life, whatever it says."""
        self._heard_at = self._clock()
        super().data_received(data)

    def on_frame(self, frame: Frame) -> None:
        """Give an answer to whoever waits for it, if somebody still does."""
        if frame.kind is Kind.PONG:
            return
        question = self._questions.get(frame.number)
        if question is None or question.answer.done():
            return
        if frame.kind is Kind.FAILURE:
            text = frame.body.decode("utf-8", "replace")
            _log.error("a message failed inside the actor it went to: %s", text)
            error = f"a defect in the actor: {text.strip().splitlines()[-1] if text.strip() else 'unknown'}"
            question.answer.set_exception(LinkError(error, True))
            return
        try:
            receipt = pickle.loads(frame.body)  # noqa: S301 - it comes from a holder of the secret
        except Exception as error:  # noqa: BLE001 - whatever a class does on being unpickled
            _log.exception("an actor's answer cannot be read")
            question.answer.set_exception(LinkError(f"an answer that cannot be read: {error!r}", True))
        else:
            question.answer.set_result(receipt)

    def on_closed(self, reason: str) -> None:
        """Tell all who wait."""
        self.closed.set()
        if self._watch is not None:
            self._watch.cancel()
        if not self.opened.done():
            self.opened.set_exception(LinkError(reason, False))
            self.opened.exception()  # retrieved: whoever waited may be gone
        for question in self._questions.values():
            if not question.answer.done():
                question.answer.set_exception(LinkError(reason, False))

    # ---- silence -----------------------------------------------------------------------------------------

    def _watch_again(self) -> None:
        self._watch_due = self._clock() + self._settings.ping_after_s
        self._watch = asyncio.get_running_loop().call_later(self._settings.ping_after_s, self._look)

    def _look(self) -> None:
        """Ask a silent peer for a sign of life, and give it up when none comes."""
        self._watch = None
        now = self._clock()
        if not self._questions:
            return  # nothing is owed: the next question begins to watch anew
        for question in self._questions.values():
            if now > question.deadline and not question.answer.done():
                question.answer.set_exception(LinkError("no answer in time, though the actor lives", False))
        if now - self._watch_due > self._settings.ping_after_s:
            self._heard_at = now  # it was this process that stood still; what came meanwhile is not yet read
        silent_s = now - self._heard_at
        if silent_s >= self._settings.lost_after_s:
            self.end(f"no sign of life for {silent_s:.0f} s")
            return
        if silent_s >= self._settings.ping_after_s:
            self.send(Kind.PING, 0)
        self._watch_again()
