"""HTTP/1.1 as a simulator speaks it: one request at a time on a connection, read whole, and then answered.

A server of our own, since a simulator shares the machine with what is measured against it: aiohttp's took a
third of a simulator's processor time. llhttp (in httptools) reads the bytes.

Rule 1: a request is answered, or its connection ends, whatever becomes of its handler.
Rule 2: a handler goes on when its client leaves, and learns of it when it writes, or from `Request.departed`.
Rule 3: an idle connection is never closed from here: a client that uses it at that moment would see an end
that no fault plan asked for.
"""

from __future__ import annotations

import asyncio
import email.utils
import functools
import http
import socket
import struct
import sys
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, cast

import httptools

_MOST_BODY: Final = 64 << 20
_MOST_AHEAD: Final = 16  # requests that a client may send before their answers, until it is not read from
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: closing sends RST instead of FIN
_PHRASES: Final = {status.value: status.phrase for status in http.HTTPStatus}


class Request:
    """What a client asks, and the way to answer it: `send`, or `begin`, `write` and `end`, or `reset`.

    `target` is the path with its query, escaped as it came; the names of `headers` are in small letters.
    """

    __slots__ = ("_connection", "begun", "body", "headers", "keep_alive", "method", "target")

    def __init__(
        self,
        connection: Connection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        keep_alive: bool,
    ) -> None:
        self._connection = connection
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.keep_alive = keep_alive
        self.begun = False

    async def send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Answer in one piece. Raises `ConnectionError` where the client has left."""
        self.begun = True
        head = _head(status, headers, f"Content-Length: {len(body)}\r\n", keep_alive=self.keep_alive)
        await self._connection.write(head if self.method == "HEAD" else head + body)

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Begin an answer that comes in pieces. Raises `ConnectionError` where the client has left."""
        self.begun = True
        head = _head(status, headers, "Transfer-Encoding: chunked\r\n", keep_alive=self.keep_alive)
        await self._connection.write(head)

    async def write(self, piece: bytes) -> None:
        """Send a piece of the answer. Raises `ConnectionError` where the client has left."""
        await self._connection.write(_chunk(piece))

    async def end(self, piece: bytes) -> None:
        """Send the last piece. Raises `ConnectionError` where the client has left."""
        await self._connection.write(_chunk(piece) + b"0\r\n\r\n")

    def reset(self) -> None:
        """Drop the connection, as if the network had."""
        self.begun = True
        self._connection.reset()

    async def departed(self, timeout_s: float) -> None:
        """Return when the client has left, or after `timeout_s`."""
        await asyncio.wait([self._connection.lost], timeout=timeout_s)


Handler = Callable[[Request], Awaitable[None]]


class Connection(asyncio.Protocol):
    """One client's connection. `lost` is done when it has ended."""

    def __init__(self, handler: Handler) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._handler = handler
        self._transport: asyncio.Transport | None = None
        self._room: asyncio.Future[None] | None = None  # there is none to write into until it is done
        self._ahead: deque[Request] = deque()
        self._serving: asyncio.Task[None] | None = None
        self._has_last = False  # after the request that ends the connection: whatever follows is ignored
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0

    # ---- asyncio.Protocol --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # of a stream: uvloop's own class

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._has_last:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # it was taken in as a request like others, after whose answer the connection ends
        except httptools.HttpParserError as error:
            if not self._has_last:
                self._turn_down(400, f"this is no HTTP/1.1: {error}")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio has it
        """Tell whoever waits for the client."""
        self._transport = None
        self._ahead.clear()
        self.lost.set_result(None)
        self.resume_writing()

    def pause_writing(self) -> None:
        """Have writers wait: the client reads slower than it is written to."""
        self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Have writers go on."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    # ---- httptools.HttpRequestParser ---------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._target = b""
        self._headers = {}
        self._body = []
        self._size = 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._size += len(body)
        if self._size > _MOST_BODY:
            self._turn_down(413, f"a body of more than {_MOST_BODY:,} bytes")
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Serve the request, or have it wait for the answers to those before it."""
        request = Request(
            self,
            self._parser.get_method().decode("latin-1"),
            self._target.decode("latin-1"),
            self._headers,
            self._body[0] if len(self._body) == 1 else b"".join(self._body),
            keep_alive=self._parser.should_keep_alive() and "upgrade" not in self._headers,
        )
        if self._transport is None or self._transport.is_closing():
            return
        self._has_last = not request.keep_alive
        if self._serving is None:
            self._serving = asyncio.get_running_loop().create_task(self._serve(request))
            return
        self._ahead.append(request)
        if len(self._ahead) == _MOST_AHEAD:
            self._transport.pause_reading()

    # ---- for a request -----------------------------------------------------------------------------------

    async def write(self, data: bytes) -> None:
        """Send `data`, and wait where the client does not keep up."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the client has left")
        self._transport.write(data)
        if self._room is not None:
            await self._room
            if self._transport is None:
                raise ConnectionResetError("the client has left")

    def reset(self) -> None:
        """End the connection with RST."""
        if self._transport is not None:
            wire: socket.socket = self._transport.get_extra_info("socket")
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()

    async def _serve(self, request: Request) -> None:
        """Have `request` answered, and those that have come meanwhile."""
        while True:
            try:
                await self._handler(request)
                if not request.begun:
                    raise RuntimeError(f"{request.method} {request.target} was not answered")  # noqa: TRY301 - told like others
            except ConnectionError:
                self.reset()  # nobody is there any more
                break
            except Exception:  # noqa: BLE001 - rule 1; the client sees the 500, and who runs this the reason
                traceback.print_exc(file=sys.stderr)
                if request.begun:
                    self.reset()
                else:
                    self._turn_down(500, "the simulator failed: see what it wrote to stderr")
            if self._transport is None:
                break
            if not request.keep_alive:
                self._transport.close()
            if not self._ahead or self._transport.is_closing():
                break  # what was sent ahead on a connection that closes was never taken in
            request = self._ahead.popleft()
            if len(self._ahead) == _MOST_AHEAD - 1:
                self._transport.resume_reading()
        self._serving = None

    def _turn_down(self, status: int, reason: str) -> None:
        """Say what was wrong, and close: what follows on this connection cannot be made out."""
        if self._transport is not None and not self._transport.is_closing():
            body = f"{reason}\n".encode()
            head = _head(
                status,
                {"Content-Type": "text/plain; charset=utf-8"},
                f"Content-Length: {len(body)}\r\n",
                keep_alive=False,
            )
            self._transport.write(head + body)
            self._transport.close()


def _head(status: int, headers: Mapping[str, str], framing: str, *, keep_alive: bool) -> bytes:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    close = "" if keep_alive else "Connection: close\r\n"
    phrase = _PHRASES.get(status, "")
    head = f"HTTP/1.1 {status} {phrase}\r\n{lines}{framing}{close}Date: {_date(int(time.time()))}\r\n\r\n"
    return head.encode("latin-1")


@functools.lru_cache(maxsize=1)
def _date(second: int) -> str:
    return email.utils.formatdate(second, usegmt=True)


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
