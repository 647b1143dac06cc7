"""Before Serve and the door: what is too much for them ends here, where to say no costs least.

Serve spends most of a millisecond of processor time on a request before the door sees it. Twice as many as
can be done, and all wait until their callers have gone. So beyond a number that waits for a second the rest
is refused.

Serve reads a body as fast as it comes, whether or not the door takes it, and what a refused request leaves
there lies on a cycle until the garbage collector comes by (Ray 2.60): with every four bodies of 100 MB the
process grew by 25 MB. So the bodies of batches are bounded, each and together, before any of them is read.
Serve calls `middlewares`, where RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH names it, in
every process that takes requests in: each replica behind HAProxy, or its own proxy where there is none.
"""

from __future__ import annotations

import asyncio
import gc

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.core.errors import ConfigError
from http_api import limits
from http_api.bodies import is_lines
from http_api.occupancy import BATCHES, PROBES, lasts
from http_api.problems import Problem, array_too_large, batch_too_large, too_large

_CUT: Message = {"type": "http.disconnect"}
_SWEEP_AFTER_S = 1.0  # Serve's own frames have to be gone by then
_YOUNG = 1  # the generation of what was made in the last seconds


def middlewares() -> list[Middleware]:
    """Return what Serve is to put before all it passes on."""
    return [Middleware(Bounds)]


class Bounds:
    """Lets through to `app` no more requests at once, and no more of a body, than the door takes.

    Answers 503 and 413 where there is more. Batches and streams last, and are counted by the door alone;
    probes are not counted.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._inside = 0
        self._batch_bytes = _largest_batch()
        self._reserved = 0  # bytes of batches that are under way, as far as they may come to
        self._sweep: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] == "http" and scope["path"] == BATCHES:
            await self._batch(scope, receive, send)
            return
        if scope["type"] != "http" or _is_uncounted(scope["path"]):
            await self._bounded(scope, receive, send)
            return
        if self._inside >= limits.SHORT_REQUESTS:
            text = "more requests come in than can be answered; try again later"
            busy = Problem(503, "busy", text, retry_after_s=limits.BUSY_S)
            await busy.response()(scope, receive, send)
            return
        self._inside += 1
        try:
            await self._bounded(scope, receive, send)
        finally:
            self._inside -= 1

    async def _batch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a batch on while there is memory for all that it may hold."""
        most, announced = self._bounds(scope)
        names = {name for name, _ in scope["headers"]}
        size = most if announced is None and b"transfer-encoding" in names else min(announced or 0, most)
        if self._reserved + size > limits.BATCHES_HELD * self._batch_bytes:
            text = "as many batches are being read as there is memory for; try again later"
            busy = Problem(503, "busy", text, retry_after_s=limits.BUSY_S)
            await busy.response()(scope, receive, send)
            return
        self._reserved += size
        try:
            await self._bounded(scope, receive, send)
        finally:
            self._reserved -= size

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most, told = self._bounds(scope)
        announced = told or 0
        taken, begun = announced, False

        async def counted() -> Message:
            nonlocal taken
            if taken > most:
                return _CUT
            message = await receive()
            taken += len(message.get("body", b""))
            return _CUT if taken > most else message

        async def unless_cut(message: Message) -> None:
            nonlocal begun
            if taken <= most or begun:  # else what comes is said of a body that was cut here
                begun = True
                await send(message)

        if announced <= most:
            taken = 0
            await self._app(scope, counted, unless_cut)
        if taken > most and not begun:
            await _too_large(scope["path"], most, self._batch_bytes).response()(scope, receive, send)
            self._sweep_soon()

    def _bounds(self, scope: Scope) -> tuple[int, int | None]:
        """Return how large a body may be, and how large it is said to be."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        most = limits.TASK_BYTES
        if scope["path"] == BATCHES:
            lines = is_lines(headers.get(b"content-type", ""))
            most = self._batch_bytes if lines else min(limits.ARRAY_BYTES, self._batch_bytes)
        announced = headers.get(b"content-length", "")
        return most, int(announced[:20]) if announced.isascii() and announced.isdecimal() else None

    def _sweep_soon(self) -> None:
        """Have what was read of refused bodies collected, once a second at the most."""
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_SWEEP_AFTER_S, self._collect)

    def _collect(self) -> None:
        self._sweep = None
        gc.collect(_YOUNG)


def _is_uncounted(path: str) -> bool:
    return path in PROBES or lasts(path)


def _too_large(path: str, most: int, batch_bytes: int) -> Problem:
    if path != BATCHES:
        return too_large("the body", most)
    return batch_too_large(most) if most == batch_bytes else array_too_large(most)


def _largest_batch() -> int:
    try:
        return limits.batch_bytes()
    except ConfigError:  # which the application tells when it is deployed; a proxy has to start all the same
        return limits.BATCH_BYTES
