"""One connection: a request at a time, its answer read as it comes.

llhttp (in httptools) reads the bytes; what it is silent about is decided here: where a body without a length
ends, what an interim answer is, and when a connection may serve the next request (RFC 9112, sections 6 to 9).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from actors.http1.exchange import BrokenOffError, Exchange, GarbledError, Http1Error

_MOST_HEAD_BYTES = 64 << 10
_FAREWELL_S = 0.5  # for an answer to end once all that is wanted of it is there; then its connection goes
_INTERIM = range(100, 200)


class HttpConnection(asyncio.Protocol):
    """See the module. `on_free` is called when it may serve another request, `on_lost` when it is gone."""

    def __init__(
        self, on_free: Callable[[HttpConnection], None], on_lost: Callable[[HttpConnection], None]
    ) -> None:
        self._on_free = on_free
        self._on_lost = on_lost
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._has_head = self._is_whole = self._stays = self._ends_with_connection = False
        self._failure: Exception | None = None
        self._farewell: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether a request may be started."""
        return self._transport is not None and not self._transport.is_closing()

    def start(self, exchange: Exchange) -> None:
        """Send the request; `exchange` tells what comes of it. Nothing else is under way."""
        if self._transport is None or self._transport.is_closing():
            exchange.fail(BrokenOffError("the connection closed before the request was sent"))
            return
        self._exchange = exchange
        self._headers = {}
        self._head_bytes = 0
        self._has_head = self._is_whole = False
        exchange.sent = True
        self._transport.write(exchange.request)

    def drop(self, exchange: Exchange) -> None:
        """Hang up, if `exchange` is still what this is about: the rest of its answer is no other's start."""
        if self._exchange is exchange:
            self._exchange = None
            self.close(at_once=True)

    def close(self, *, at_once: bool = False) -> None:
        """Close the connection, once what was written is sent; or `at_once`."""
        if self._transport is not None:
            if at_once:
                self._transport.abort()
            else:
                self._transport.close()

    # ---- asyncio.Protocol --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # of a stream: uvloop's own class

    def data_received(self, data: bytes) -> None:
        """Read on."""
        exchange = self._exchange
        if exchange is None:
            self.close(at_once=True)  # nobody asked: what this says is no answer to the next request
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(exchange, GarbledError(f"what came is not HTTP/1.1: {error}"))
            return
        if self._failure is not None:
            self._fail(exchange, self._failure)
        elif self._is_whole:
            self._finish(exchange)
        elif not self._has_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_HEAD_BYTES:
                self._fail(exchange, GarbledError(f"its head is larger than {_MOST_HEAD_BYTES} bytes"))

    def connection_lost(self, error: Exception | None) -> None:
        """Tell what that means for the exchange under way: the end of its answer, or that there is none."""
        exchange = self._exchange
        if exchange is not None:
            if error is None and self._has_head and self._ends_with_connection:
                self._stays = False
                self._finish(exchange)
            else:
                self._fail(exchange, self._broken_off(exchange, error))
        self._on_lost(self)

    # ---- httptools ---------------------------------------------------------------------------------------
    # What is raised in one of these would come wrapped in the parser's own error: it is kept instead.

    def on_message_begin(self) -> None:
        """Notice that more came than one answer."""
        if self._is_whole:
            self._stays = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; of equal ones the first."""
        self._headers.setdefault(name.decode("latin-1").lower(), value.decode("utf-8", "replace"))

    def on_headers_complete(self) -> None:
        """Hand on the head, unless it is that of an interim answer."""
        status = self._parser.get_status_code()
        if self._is_whole or self._exchange is None or status in _INTERIM:
            self._headers = {}
            return
        headers, self._headers = self._headers, {}  # what follows are trailers, which nobody asked for
        self._has_head = True
        self._ends_with_connection = "content-length" not in headers and not _is_chunked(headers)
        try:
            self._exchange.on_head(status, headers)
        except Exception as error:  # noqa: BLE001 - see above
            self._failure = error

    def on_body(self, piece: bytes) -> None:
        """Hand on a piece of the body."""
        exchange = self._exchange
        if self._is_whole or exchange is None or self._failure is not None or exchange.ended.done():
            return
        try:
            if exchange.on_piece(piece):
                self._say_farewell(exchange)
        except Exception as error:  # noqa: BLE001 - see above
            self._failure = error

    def on_message_complete(self) -> None:
        """Take note of the end of the answer, unless it was an interim one."""
        if self._has_head and not self._is_whole:
            self._is_whole = True
            self._stays = self._parser.should_keep_alive()

    # ---- ends --------------------------------------------------------------------------------------------

    def _say_farewell(self, exchange: Exchange) -> None:
        """Tell that all that is wanted is there; the rest may come for a while, to keep the connection."""
        exchange.succeed()
        self._farewell = asyncio.get_running_loop().call_later(_FAREWELL_S, self.drop, exchange)

    def _finish(self, exchange: Exchange) -> None:
        try:
            if not exchange.ended.done():
                exchange.on_end()
        except Http1Error as error:
            self._fail(exchange, error)
            return
        self._let_go()
        if self._stays and self._is_idle():
            self._on_free(self)
        else:
            self.close()
        exchange.succeed()

    def _fail(self, exchange: Exchange, error: Exception) -> None:
        self._let_go()
        self.close(at_once=True)
        exchange.fail(error)

    def _let_go(self) -> None:
        self._exchange = self._failure = None
        if self._farewell is not None:
            self._farewell.cancel()
            self._farewell = None

    def _is_idle(self) -> bool:
        """Return whether all is said. A request may be answered before all of it was sent."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and not transport.get_write_buffer_size()

    def _broken_off(self, exchange: Exchange, error: Exception | None) -> Exception:
        how = "the connection was closed" if error is None else f"{type(error).__name__}: {error}"
        if not self._has_head:
            return BrokenOffError(f"{how}, and no answer had come")
        return BrokenOffError(f"it broke off after {len(exchange.body)} bytes: {how}")


def _is_chunked(headers: dict[str, str]) -> bool:
    return headers.get("transfer-encoding", "").rpartition(",")[2].strip().lower() == "chunked"
