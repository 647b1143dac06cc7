"""Reads the answer to one request as a stream, with bounds and with reports of its progress."""

from __future__ import annotations

from collections.abc import Callable

from actors.http1.exchange import Exchange, Sink, TooLargeError
from actors.llm.dialects.dialect import Dialect
from actors.llm.endpoint import OnStreamed

_MOST_STREAM = 512  # bytes of the stream per byte of the answer: at worst an event holds one character


class AnswerStream:
    """The reading of a streamed answer, with reports of its progress."""

    def __init__(
        self,
        dialect: Dialect,
        on_streamed: OnStreamed | None,
        clock: Callable[[], float],
        started: float,
        most_bytes: int,
    ) -> None:
        self.reader = dialect.reader()
        self._type = dialect.stream_type
        self.is_read = False  # whether the answer is a stream
        self.began_s = 0.0  # seconds from the start to the first character
        self._on_streamed = on_streamed
        self._clock = clock
        self._started = started
        self._most_bytes = most_bytes
        self._taken = 0

    def on_head(self, exchange: Exchange) -> Sink | None:
        """Return a sink for the body if it is a stream: some endpoints ignore the ``stream`` parameter."""
        self.is_read = 200 <= exchange.status < 300 and exchange.media_type == self._type
        return self._feed if self.is_read else None

    def flaw(self) -> str | None:
        """Process the end of the stream, and return what is wrong with the answer, None if nothing."""
        self.reader.close()
        return None if self.reader.is_whole else "the stream ended before the answer did"

    def _feed(self, piece: bytes) -> bool:
        reader = self.reader
        self._taken += len(piece)
        if self._taken > _MOST_STREAM * self._most_bytes:
            raise TooLargeError(_MOST_STREAM * self._most_bytes)
        before = reader.streamed
        reader.feed(piece)
        if reader.streamed > before:
            after_s = self._clock() - self._started
            if not before:
                self.began_s = after_s
            if self._on_streamed is not None:
                self._on_streamed(reader.streamed, after_s)
        if reader.size > self._most_bytes:
            raise TooLargeError(self._most_bytes)
        return reader.is_done
