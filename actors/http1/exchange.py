"""A request, and what has come back for it so far."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable

_GZIP_OR_ZLIB = 47  # window bits by which zlib tells the two by their first bytes
_COMPRESSED = frozenset({"gzip", "x-gzip", "deflate"})
_PLAIN = frozenset({"", "identity"})

Sink = Callable[[bytes], bool]


class Http1Error(Exception):
    """What came over a connection is no answer, or not all of one."""


class BrokenOffError(Http1Error):
    """The connection ended before the answer did."""


class GarbledError(Http1Error):
    """What came is not HTTP/1.1, or not in the encoding that it says."""


class TooLargeError(Http1Error):
    """The answer is larger than it may be. What is within the bound is there.

    `size` is how many bytes the head announced, None where it did not.
    """

    def __init__(self, most: int, size: int | None = None) -> None:
        super().__init__(f"it is larger than {most} bytes" + (f": it has {size}" if size else ""))
        self.size = size


class Exchange:
    """One request and its answer, which a connection fills in.

    `request` is the bytes of head and body. `bound` says by the status how many bytes the body may have,
    unpacked. `on_head`, called when status and headers are there, may return a sink: it is handed the body in
    pieces, unpacked, in place of `body`, and returns whether it has all that it wants; what it raises ends
    the exchange. Names of `headers` are in lower case; of equal ones the first counts.

    `ended` is None as soon as the answer, or all that is wanted of it, is there; or raises `Http1Error`,
    OSError, or what the sink raised. `sent` is True from the moment the request was handed to the socket:
    before, nobody can have acted on it. `status` is 0 until the head is there.
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
        self._is_packed = False  # there is a body, not only a head that speaks of one
        self._left = 0

    @property
    def media_type(self) -> str:
        """What the body is, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        """Take note of the head. Raises `GarbledError` for a body that nobody here can unpack."""
        self.status, self.headers = status, headers
        self._left = self._bound(status)
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding in _COMPRESSED:
            self._decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
        elif encoding not in _PLAIN:
            raise GarbledError(f"it is encoded as {encoding[:40]!r}, which was not asked for")
        if self._on_head is not None:
            self._sink = self._on_head(self)

    def on_piece(self, piece: bytes) -> bool:
        """Take in a piece of the body; return whether that is all that is wanted.

        Raises `TooLargeError`, `GarbledError`, and what the sink raises.
        """
        if self._decoder is not None:
            self._is_packed = True
            if self._decoder.eof:
                return False  # zlib would keep whatever follows the end, without a bound
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
        """Take note that the body is whole. Raises `BrokenOffError` where what it packs is not."""
        if self._decoder is not None and self._is_packed and not self._decoder.eof:
            raise BrokenOffError(f"it broke off after {len(self.body)} bytes: the compressed data goes on")

    def succeed(self) -> None:
        """Have `ended` be there."""
        if not self.ended.done():
            self.ended.set_result(None)

    def fail(self, error: Exception) -> None:
        """Have `ended` raise `error`."""
        if not self.ended.done():
            self.ended.set_exception(error)

    def _announced(self) -> int | None:
        """Return how large the body is, where the head says so."""
        length = self.headers.get("content-length", "")
        is_known = self._decoder is None and length.isascii() and length.isdecimal()
        return int(length[:20]) if is_known else None

    def _unpacked(self, decoder: zlib._Decompress, piece: bytes) -> bytes:
        # Bounded: a few kilobytes may unpack to gigabytes. One byte more tells that there is more.
        try:
            return decoder.decompress(piece, self._left + 1)
        except zlib.error as error:
            raise GarbledError(f"it cannot be unpacked: {error}") from error
