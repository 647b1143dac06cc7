"""Before Serve and the door: what is too much for them ends here, where to say no costs least.

Serve spends most of a millisecond of processor time on a request before the door sees it. Twice as many as
can be done, and all wait until their callers have gone. So beyond a number that waits for a second the rest
is refused. A caller that sends bodies slowly holds places for longer, so that one caller gets half of them.

Serve reads a body as fast as it comes, whether or not the door takes it, and what a refused request leaves
there lies on a cycle until the garbage collector comes by (Ray 2.60): with every four bodies of 100 MB the
process grew by 25 MB. So the bodies of batches are bounded, each, by caller and together, before any of them
is read. A batch reserves its bytes until it ends, so one whose caller stalls is ended here.
Serve calls `middlewares`, where RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH names it, in
every process that takes requests in: each replica behind HAProxy, or its own proxy where there is none.
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
from cluster.http.guard.problems import Problem, array_too_large, batch_too_large, too_large, too_slow
from cluster.http.guard.serve_answers import ServeAnswers

_CUT: Message = {"type": "http.disconnect"}
_SWEEP_AFTER_S = 1.0  # Serve's own frames have to be gone by then
_YOUNG = 1  # the generation of what was made in the last seconds


def middlewares() -> list[Middleware]:
    """Return the middlewares that Serve calls before its own code: the last one is called first."""
    return [Middleware(ServeAnswers), Middleware(RequestBounds)]


class RequestBounds:
    """Lets through to `app` no more requests at once, and no more of a body, than the door takes.

    Answers 503, 429, 413 and 408 where there is more. Batches and streams last, and are counted by the door
    alone; probes are not counted.
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
            except Problem as problem:
                await problem.response()(scope, receive, send)
                return
            await self._bounded(scope, receive, send)

    async def _batch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a batch on while there is memory for all that it may hold."""
        most, announced = self._bounds(scope)
        names = {name for name, _ in scope["headers"]}
        size = most if announced is None and b"transfer-encoding" in names else min(announced or 0, most)
        holder = _holder(scope)
        try:
            self._reserved.add(holder, size)
        except Problem as problem:
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
                except Problem as problem:
                    refusal = problem
                else:
                    taken += len(message.get("body", b""))
                    if taken <= most:
                        return message
                    refusal = beyond
            return _CUT

        async def unless_cut(message: Message) -> None:
            nonlocal begun
            if refusal is None or begun:  # else what comes is said of a body that was cut here
                begun = True
                await send(message)

        if refusal is None:
            await self._app(scope, counted, unless_cut)
        if refusal is not None and not begun:
            await refusal.response()(scope, receive, send)
            self._sweep_soon()

    def _bounds(self, scope: Scope) -> tuple[int, int | None]:
        """Return how large a body may be, and how large it is said to be."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        most = limits.TASK_BYTES
        if path_of(scope) == BATCHES:
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


class _Reserved:
    """The bytes that batches under way may come to: `most` in all, half of it for one caller.

    Without the second bound one caller's stalled batches would have everybody else's refused.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._total = 0
        self._held: Counter[str] = Counter()

    def add(self, holder: str, size: int) -> None:
        """Reserve `size` bytes. Raises `Problem`: 429 for who holds too much, 503 where full."""
        if size and self._held[holder] + size > self._most // 2:
            text = (
                "your batches have as much memory reserved here as one caller may; let some end, try again "
                "later, or send Content-Length: a batch then reserves no more than that"
            )
            raise Problem(429, "too-many-open", text, retry_after_s=limits.OPEN_S)
        if self._total + size > self._most:
            text = "as many batches are being read as there is memory for; try again later"
            raise Problem(503, "busy", text, retry_after_s=limits.BUSY_S)
        self._total += size
        self._held[holder] += size

    def remove(self, holder: str, size: int) -> None:
        """Give the bytes back."""
        self._total -= size
        self._held[holder] -= size
        if not self._held[holder]:
            del self._held[holder]  # else every address that ever called would stay


class _Paced:
    """Receives a batch's body. A caller that stalls or trickles is ended: it would keep its bytes reserved.

    Only waits for the caller count: a batch that waits here for room is not slow.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_whole = False
        self._taken = 0
        self._waited_s = 0.0

    async def next(self) -> Message:
        """Return the next message. Raises `Problem` 408 where a piece of the body does not come in time."""
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
    """Return who holds a place or a batch's bytes: the caller's token, where it sends one, else its address.

    Many tenants may call through one proxy's address: by it one of them could have all others refused.
    The door answers an invented token before it reads the body: that holds nothing for long.
    """
    for name, value in scope["headers"]:
        if name == b"authorization":
            return f"token {digest(value.decode('latin-1').partition(' ')[2].strip())}"
    return f"address {address_of(scope)}"


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
