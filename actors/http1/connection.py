"""One connection. It serves one request at a time and reads the response incrementally.

llhttp (in httptools) parses the bytes. This module decides where a body without a length ends, what an
interim response is, and when a connection may be reused (RFC 9112, sections 6 to 9).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from actors.http1.exchange import BrokenOffError, Exchange, GarbledError, Http1Error

_MOST_BARE_BYTES = 64 << 10  # of a head, of trailers, or of one chunk extension
_DRAIN_S = 0.5  # how long to wait for the end of a response whose needed part has arrived
_INTERIM = range(100, 200)


class HttpConnection(asyncio.Protocol):
    """A connection. Calls `on_free` when it may serve another request, and `on_lost` when it has closed."""

    def __init__(
        self, on_free: Callable[[HttpConnection], None], on_lost: Callable[[HttpConnection], None]
    ) -> None:
        self._on_free = on_free
        self._on_lost = on_lost
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._headers: dict[str, str] = {}
        self._bare_bytes = 0  # received since the last piece of the body
        self._has_head = self._is_complete = self._is_reusable = self._ends_with_connection = False
        self._failure: Exception | None = None
        self._drain_timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether a request may be started."""
        return self._transport is not None and not self._transport.is_closing()

    def start(self, exchange: Exchange) -> None:
        """Send the request of `exchange`. No other exchange may be in progress."""
        if self._transport is None or self._transport.is_closing():
            exchange.fail(BrokenOffError("the connection closed before the request was sent"))
            return
        self._exchange = exchange
        self._headers = {}
        self._bare_bytes = 0
        self._has_head = self._is_complete = False
        exchange.sent = True
        self._transport.write(exchange.request)

    def drop(self, exchange: Exchange) -> None:
        """Close the connection if `exchange` is in progress: no other may get the rest of its response."""
        if self._exchange is exchange:
            self._exchange = None
            self.close(at_once=True)

    def close(self, *, at_once: bool = False) -> None:
        """Close the connection after sending buffered data, or `at_once`."""
        if self._transport is not None:
            if at_once:
                self._transport.abort()
            else:
                self._transport.close()

    # ---- asyncio.Protocol --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's class is no subclass

    def data_received(self, data: bytes) -> None:
        """Parse the data, and finish or fail the exchange."""
        exchange = self._exchange
        if exchange is None:
            self.close(at_once=True)  # unsolicited data must not count as the response to the next request
            return
        self._bare_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(exchange, GarbledError(f"the response is not HTTP/1.1: {error}"))
            return
        if self._failure is not None:
            self._fail(exchange, self._failure)
        elif self._is_complete:
            self._finish(exchange)
        elif self._bare_bytes > _MOST_BARE_BYTES:  # the parser keeps a header until it ends
            part = "trailers or a chunk extension" if self._has_head else "a head"
            text = f"the response has {part} larger than {_MOST_BARE_BYTES} bytes"
            self._fail(exchange, GarbledError(text))

    def connection_lost(self, error: Exception | None) -> None:
        """Finish the exchange if the response ends with the connection, else fail it."""
        exchange = self._exchange
        if exchange is not None:
            if error is None and self._has_head and self._ends_with_connection:
                self._is_reusable = False
                self._finish(exchange)
            else:
                self._fail(exchange, self._broken_off(exchange, error))
        self._on_lost(self)

    # ---- httptools ---------------------------------------------------------------------------------------
    # httptools would wrap an exception that one of these callbacks raises, so they keep it in `_failure`.

    def on_message_begin(self) -> None:
        """Do not reuse the connection if a second response begins."""
        if self._is_complete:
            self._is_reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header of the head. Of repeated headers the first counts."""
        if not self._has_head:  # trailers are ignored
            self._headers.setdefault(name.decode("latin-1").lower(), value.decode("utf-8", "replace"))

    def on_headers_complete(self) -> None:
        """Pass the head to the exchange, unless the response is an interim one."""
        status = self._parser.get_status_code()
        if self._is_complete or self._exchange is None or status in _INTERIM:
            self._headers = {}
            return
        headers, self._headers = self._headers, {}
        self._has_head = True
        self._ends_with_connection = "content-length" not in headers and not _is_chunked(headers)
        try:
            self._exchange.on_head(status, headers)
        except Exception as error:  # noqa: BLE001 - see above
            self._failure = error

    def on_body(self, piece: bytes) -> None:
        """Pass a piece of the body to the exchange."""
        self._bare_bytes = 0
        exchange = self._exchange
        if self._is_complete or exchange is None or self._failure is not None or exchange.ended.done():
            return
        try:
            if exchange.on_piece(piece):
                self._succeed_early(exchange)
        except Exception as error:  # noqa: BLE001 - see above
            self._failure = error

    def on_message_complete(self) -> None:
        """Record the end of the response, unless it is an interim one."""
        if self._has_head and not self._is_complete:
            self._is_complete = True
            self._is_reusable = self._parser.should_keep_alive()

    # ---- end of an exchange ------------------------------------------------------------------------------

    def _succeed_early(self, exchange: Exchange) -> None:
        """Let the exchange succeed early, and wait for the rest of the response to reuse the connection."""
        exchange.succeed()
        self._drain_timer = asyncio.get_running_loop().call_later(_DRAIN_S, self.drop, exchange)

    def _finish(self, exchange: Exchange) -> None:
        try:
            if not exchange.ended.done():
                exchange.on_end()
        except Http1Error as error:
            self._fail(exchange, error)
            return
        self._release()
        if self._is_reusable and self._is_idle():
            self._on_free(self)
        else:
            self.close()
        exchange.succeed()

    def _fail(self, exchange: Exchange, error: Exception) -> None:
        self._release()
        self.close(at_once=True)
        exchange.fail(error)

    def _release(self) -> None:
        self._exchange = self._failure = None
        if self._drain_timer is not None:
            self._drain_timer.cancel()
            self._drain_timer = None

    def _is_idle(self) -> bool:
        """Return whether the whole request was sent. A server may respond before it has read all of it."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and not transport.get_write_buffer_size()

    def _broken_off(self, exchange: Exchange, error: Exception | None) -> Exception:
        how = "the connection was closed" if error is None else f"{type(error).__name__}: {error}"
        if not self._has_head:
            return BrokenOffError(f"{how} before a response arrived")
        return BrokenOffError(f"the response broke off after {len(exchange.body)} bytes: {how}")


def _is_chunked(headers: dict[str, str]) -> bool:
    return headers.get("transfer-encoding", "").rpartition(",")[2].strip().lower() == "chunked"
