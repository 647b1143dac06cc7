"""Middleware before Ray Serve that bounds the number of requests and the bytes of their bodies.

Serve spends most of a millisecond of processor time on a request before the application sees it. At twice the
rate that it can serve, every request waits until its caller has gone. So a number of requests may wait, about
as many as are answered in a second, and the rest is refused here. A caller that sends its bodies slowly holds
a place for longer: one caller gets half of the places at most.

Serve reads a body as fast as it arrives, whether or not the application reads it, and keeps the body of a
refused request on a reference cycle (Ray 2.60): with every four bodies of 100 MB the process grows by 25 MB.
So the bodies of batches are bounded, each, by caller and together, before any of them is read. A batch
reserves its bytes until it ends; a batch whose caller stalls is ended.

Serve calls `middlewares`, which RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH names, in each process that accepts
requests: in its own proxy, or in each replica behind HAProxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections import Counter

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.core.errors import ConfigError
from cluster.http.guard import limits
from cluster.http.guard.auth import digest
from cluster.http.guard.bodies import is_lines
from cluster.http.guard.occupancy import BATCHES, PROBES, OpenRequests, address_of, lasts, path_of
from cluster.http.guard.problems import ApiProblem, array_too_large, batch_too_large, too_large, too_slow
from cluster.http.guard.serve_answers import ServeAnswers

_CUT: Message = {"type": "http.disconnect"}
_SWEEP_AFTER_S = 1.0  # by then Serve's frames no longer refer to the body
_YOUNG = 1  # the garbage collector's generation of objects that are seconds old


def middlewares() -> list[Middleware]:
    """Return the middlewares that Serve calls before its own code: the last one is called first."""
    return [Middleware(ServeAnswers), Middleware(RequestBounds)]


class RequestBounds:
    """Passes to `app` as many requests at once, and as many bytes of a body, as the application accepts.

    Answers 503, 429, 413 and 408 beyond that. Batches and streams last for minutes and are counted by
    `Occupancy` in each replica; health checks are not counted.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._short = OpenRequests("requests", limits.SHORT_REQUESTS, limits.BUSY_S)
        self._batch_bytes = _largest_batch()
        self._reserved = _Reserved(limits.BATCHES_HELD * self._batch_bytes)
        self._sweep: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if path_of(scope) == BATCHES:
            await self._batch(scope, receive, send)
            return
        if _is_uncounted(path_of(scope)):
            await self._bounded(scope, receive, send)
            return
        with contextlib.ExitStack() as place:
            try:
                place.enter_context(self._short.held([_holder(scope)]))
            except ApiProblem as problem:
                await problem.response()(scope, receive, send)
                return
            await self._bounded(scope, receive, send)

    async def _batch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a batch on if there is memory for all bytes that it may hold."""
        most, announced = self._bounds(scope)
        names = {name for name, _ in scope["headers"]}
        size = most if announced is None and b"transfer-encoding" in names else min(announced or 0, most)
        holder = _holder(scope)
        try:
            self._reserved.add(holder, size)
        except ApiProblem as problem:
            await problem.response()(scope, receive, send)
            return
        try:
            await self._bounded(scope, _Paced(receive).next, send)
        finally:
            self._reserved.remove(holder, size)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        most, told = self._bounds(scope)
        beyond = _too_large(path_of(scope), most, self._batch_bytes)
        refusal = beyond if (told or 0) > most else None
        taken, begun = 0, False

        async def counted() -> Message:
            nonlocal taken, refusal
            if refusal is None:
                try:
                    message = await receive()
                except ApiProblem as problem:
                    refusal = problem
                else:
                    taken += len(message.get("body", b""))
                    if taken <= most:
                        return message
                    refusal = beyond
            return _CUT

        async def unless_cut(message: Message) -> None:
            nonlocal begun
            if refusal is None or begun:  # otherwise the application answers a body that was cut here
                begun = True
                await send(message)

        if refusal is None:
            await self._app(scope, counted, unless_cut)
        if refusal is not None and not begun:
            await refusal.response()(scope, receive, send)
            self._sweep_soon()

    def _bounds(self, scope: Scope) -> tuple[int, int | None]:
        """Return how large a body may be, and its Content-Length, None if it has none."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        most = limits.TASK_BYTES
        if path_of(scope) == BATCHES:
            lines = is_lines(headers.get(b"content-type", ""))
            most = self._batch_bytes if lines else min(limits.ARRAY_BYTES, self._batch_bytes)
        announced = headers.get(b"content-length", "")
        return most, int(announced[:20]) if announced.isascii() and announced.isdecimal() else None

    def _sweep_soon(self) -> None:
        """Collect the bodies of refused requests, once a second at most."""
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_SWEEP_AFTER_S, self._collect)

    def _collect(self) -> None:
        self._sweep = None
        gc.collect(_YOUNG)


class _Reserved:
    """The bytes that running batches may hold: `most` in all, half of it for one caller.

    Without the second bound the stalled batches of one caller would block those of all others.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._total = 0
        self._held: Counter[str] = Counter()

    def add(self, holder: str, size: int) -> None:
        """Reserve `size` bytes. Raises `ApiProblem`: 429 if the holder has too many, 503 if none are left."""
        if size and self._held[holder] + size > self._most // 2:
            text = (
                "your batches have as much memory reserved here as one caller may; let some end, try again "
                "later, or send Content-Length: a batch then reserves no more than that"
            )
            raise ApiProblem(429, "too-many-open", text, retry_after_s=limits.OPEN_S)
        if self._total + size > self._most:
            text = "as many batches are being read as there is memory for; try again later"
            raise ApiProblem(503, "busy", text, retry_after_s=limits.BUSY_S)
        self._total += size
        self._held[holder] += size

    def remove(self, holder: str, size: int) -> None:
        """Give the bytes back."""
        self._total -= size
        self._held[holder] -= size
        if not self._held[holder]:
            del self._held[holder]  # otherwise the entry of every address would stay


class _Paced:
    """Receives the body of a batch, and ends one whose caller stalls: its bytes would stay reserved.

    Only time spent waiting for the caller counts: a batch that waits for room here is not slow.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_whole = False
        self._taken = 0
        self._waited_s = 0.0

    async def next(self) -> Message:
        """Return the next message. Raises `ApiProblem` 408 if a piece of the body does not arrive in time."""
        if self._is_whole:
            return await self._receive()
        loop = asyncio.get_running_loop()
        may_take_s = limits.BATCH_WITHIN_S + self._taken / limits.BATCH_BYTES_EACH_S
        within_s = min(limits.CHUNK_WITHIN_S, may_take_s - self._waited_s)
        began = loop.time()
        try:
            async with asyncio.timeout(within_s):
                message = await self._receive()
        except TimeoutError as error:
            raise too_slow(
                limits.CHUNK_WITHIN_S if within_s == limits.CHUNK_WITHIN_S else may_take_s
            ) from error
        self._waited_s += loop.time() - began
        self._taken += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        return message


def _holder(scope: Scope) -> str:
    """Return the holder of a place or of reserved bytes: the caller's token, else its address.

    Many tenants may call through the address of one proxy; by address, one of them could block all others.
    The application refuses an unknown token before it reads the body: it holds nothing for long.
    """
    for name, value in scope["headers"]:
        if name == b"authorization":
            return f"token {digest(value.decode('latin-1').partition(' ')[2].strip())}"
    return f"address {address_of(scope)}"


def _is_uncounted(path: str) -> bool:
    return path in PROBES or lasts(path)


def _too_large(path: str, most: int, batch_bytes: int) -> ApiProblem:
    if path != BATCHES:
        return too_large("the body", most)
    return batch_too_large(most) if most == batch_bytes else array_too_large(most)


def _largest_batch() -> int:
    try:
        return limits.batch_bytes()
    except ConfigError:  # the application reports it when it is deployed; the proxy must start all the same
        return limits.BATCH_BYTES
