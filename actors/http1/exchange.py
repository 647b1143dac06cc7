"""A request and its response."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable

_GZIP_OR_ZLIB = 47  # window bits: zlib detects the format from the header
_COMPRESSED = frozenset({"gzip", "x-gzip", "deflate"})
_PLAIN = frozenset({"", "identity"})

Sink = Callable[[bytes], bool]


class Http1Error(Exception):
    """The response is invalid, incomplete or too large."""


class BrokenOffError(Http1Error):
    """The connection closed before the end of the response."""


class GarbledError(Http1Error):
    """The response is not valid HTTP/1.1, or its body is not in the declared encoding."""


class TooLargeError(Http1Error):
    """The body exceeds the bound. The exchange has its beginning, up to the bound.

    size: the size of the body declared in the head, None if there is none.
    """

    def __init__(self, most: int, size: int | None = None) -> None:
        super().__init__(f"the body is larger than {most} bytes" + (f": it has {size}" if size else ""))
        self.size = size


class Exchange:
    """One request and its response, which a connection fills in.

    request: the bytes of head and body.
    bound: returns the largest size of the decompressed body for a status.
    on_head: called when status and headers are known. It may return a sink that receives the decompressed
    pieces of the body instead of `body`, and returns True when it needs no more. An exception of the sink
    fails the exchange.
    headers: with names in lower case; of repeated headers the first.
    status: 0 until the head has arrived.
    sent: whether the request was written to the socket; before that the server cannot have acted on it.
    ended: resolves when the response, or the part that the sink needs, has arrived. Fails with `Http1Error`,
    OSError, or the exception of the sink.
    """

    __slots__ = (
        "_bound", "_decoder", "_is_packed", "_left", "_on_head", "_sink",
        "body", "ended", "headers", "request", "sent", "status",
    )  # fmt: skip

    def __init__(
        self,
        request: bytes,
        bound: Callable[[int], int],
        on_head: Callable[[Exchange], Sink | None] | None = None,
    ) -> None:
        self.request = request
        self.sent = False
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._bound = bound
        self._on_head = on_head
        self._sink: Sink | None = None
        self._decoder: zlib._Decompress | None = None
        self._is_packed = False  # whether compressed data has arrived; the head alone is no proof of a body
        self._left = 0

    @property
    def media_type(self) -> str:
        """The media type of the body, without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        """Process the head. Raises `GarbledError` if the encoding of the body is not supported."""
        self.status, self.headers = status, headers
        self._left = self._bound(status)
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding in _COMPRESSED:
            self._decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
        elif encoding not in _PLAIN:
            raise GarbledError(f"the body has the encoding {encoding[:40]!r}, which was not requested")
        if self._on_head is not None:
            self._sink = self._on_head(self)

    def on_piece(self, piece: bytes) -> bool:
        """Process a piece of the body. Return whether the sink needs no more.

        Raises `TooLargeError`, `GarbledError`, and what the sink raises.
        """
        if self._decoder is not None:
            self._is_packed = True
            if self._decoder.eof:
                return False  # zlib would keep data after the end in memory, without a bound
            piece = self._unpacked(self._decoder, piece)
        if self._sink is not None:
            has_all = self._sink(piece)
            if self._decoder is not None and self._decoder.unconsumed_tail:
                raise TooLargeError(self._bound(self.status))
            return has_all
        self._left -= len(piece)
        if self._left < 0:
            self.body += piece[: self._left]
            raise TooLargeError(self._bound(self.status), self._announced())
        self.body += piece
        return False

    def on_end(self) -> None:
        """Process the end of the body. Raises `BrokenOffError` if its compressed data is incomplete."""
        if self._decoder is not None and self._is_packed and not self._decoder.eof:
            raise BrokenOffError(
                f"the response broke off after {len(self.body)} bytes: its compressed data is incomplete"
            )

    def succeed(self) -> None:
        """Resolve `ended`."""
        if not self.ended.done():
            self.ended.set_result(None)

    def fail(self, error: Exception) -> None:
        """Fail `ended` with `error`."""
        if not self.ended.done():
            self.ended.set_exception(error)

    def _announced(self) -> int | None:
        """Return the size of the body that the head declares, None if it is unknown."""
        length = self.headers.get("content-length", "")
        is_known = self._decoder is None and length.isascii() and length.isdecimal()
        return int(length[:20]) if is_known else None

    def _unpacked(self, decoder: zlib._Decompress, piece: bytes) -> bytes:
        # Bounded: a few kilobytes may decompress to gigabytes. One extra byte shows that there is more.
        try:
            return decoder.decompress(piece, self._left + 1)
        except zlib.error as error:
            raise GarbledError(f"the body cannot be decompressed: {error}") from error
