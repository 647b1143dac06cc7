"""The part of a connection that both ends share: the handshake, with a deadline, and then frames."""

from __future__ import annotations

import asyncio
from typing import cast

from actors.core.errors import text_of
from actors.transport.tcp.authentication import Handshake, HandshakeError
from actors.transport.tcp.frames import Frame, FrameError, FrameKind, FrameReader, encode

HANDSHAKE_WITHIN_S = 5.0


class TcpConnection(asyncio.Protocol):
    """One end of a connection. Parses no frame before the handshake has succeeded.

    Subclasses implement `on_open`, `on_frame` and `on_closed`.
    """

    def __init__(self, handshake: Handshake, *, within_s: float = HANDSHAKE_WITHIN_S) -> None:
        self._handshake = handshake
        self._within_s = within_s
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._received = bytearray()
        self._frames = FrameReader()
        self._reason = "the connection was closed by the other end"
        self.is_open = False

    def on_open(self) -> None:
        """Begin: the other end is authenticated."""

    def on_frame(self, frame: Frame) -> None:
        """Process a frame."""
        raise NotImplementedError

    def on_closed(self, reason: str) -> None:
        """Clean up. Called once, when the connection has ended."""
        raise NotImplementedError

    def send(self, kind: FrameKind, body: bytes = b"") -> None:
        """Send a frame, unless the connection is lost. Raises `FrameError` if `body` is too large."""
        head, body = encode(kind, body)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(head + body)

    def end(self, reason: str) -> None:
        """Close at once, and drop unsent data."""
        self._reason = reason
        if self._transport is not None:
            self._transport.abort()

    @property
    def peer(self) -> str:
        """The address of the other end."""
        return str(self._transport.get_extra_info("peername")) if self._transport is not None else "nobody"

    # ---- called by asyncio -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._transport = cast("asyncio.Transport", transport)
        self._deadline = asyncio.get_running_loop().call_later(
            self._within_s, self.end, f"no handshake within {self._within_s:.0f} s"
        )
        self._transport.write(self._handshake.begin())

    def data_received(self, data: bytes) -> None:
        """Continue the handshake, or process frames."""
        try:
            if not self.is_open:
                data = self._continue_handshake(data)
            if data and self.is_open:
                for frame in self._frames.feed(data):
                    self.on_frame(frame)
        except (FrameError, HandshakeError) as error:
            self.end(str(error))

    def connection_lost(self, error: Exception | None) -> None:
        """Call `on_closed` with the reason."""
        self._stop_deadline()
        self.is_open = False
        self.on_closed(f"the connection broke: {text_of(error)}" if error is not None else self._reason)

    def _continue_handshake(self, data: bytes) -> bytes:
        """Continue the handshake, and return the data that follows it."""
        self._received += data
        while 0 < self._handshake.wants <= len(self._received):
            part = bytes(self._received[: self._handshake.wants])
            del self._received[: len(part)]
            answer = self._handshake.take(part)
            if self._transport is not None and answer:
                self._transport.write(answer)
        if self._handshake.wants:
            return b""
        self._stop_deadline()
        self.is_open = True
        self.on_open()
        rest, self._received = bytes(self._received), bytearray()
        return rest

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
