"""Reads a stream of server-sent events whose data are JSON objects, as all dialects but Bedrock's stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import orjson

from actors.core.messages.values import Json
from actors.llm.dialects.dialect import ParsedAnswer
from actors.llm.dialects.event_stream import EventStream
from actors.llm.dialects.reading import bounded
from actors.llm.forms import AnswerForm

_SHOWN = 100


class EventReader(ABC):
    """Reads one streamed answer. See `StreamReader` for the contract; a dialect adds `take` and `answer`.

    error: the first error in the stream, None if there is none.
    """

    end: ClassVar[bytes | None] = None  # the data of an event that only ends the stream

    def __init__(self) -> None:
        self.streamed = 0
        self.is_done = False
        self.is_whole = False
        self.has_usage = False
        self.error: Json = None
        self._events = EventStream()

    @property
    def size(self) -> int:
        """The approximate number of bytes kept."""
        return self.streamed + self._events.held

    @property
    def has_failed(self) -> bool:
        """Whether the stream contains an error."""
        return self.error is not None

    def feed(self, piece: bytes) -> None:
        """Process the next bytes."""
        for data in self._events.feed(piece):
            self._take_data(data)

    def close(self) -> None:
        """Process the end of the stream."""
        for data in self._events.close():
            self._take_data(data)

    @abstractmethod
    def take(self, event: dict[str, Any]) -> None:
        """Process one event."""

    @abstractmethod
    def answer(self, form: AnswerForm) -> ParsedAnswer:
        """Return what the stream amounts to so far. Never raises."""

    def fail(self, error: Json) -> None:
        """Note an error in the stream. The first one counts."""
        if self.error is None:
            self.error = bounded(error)

    def _take_data(self, data: bytes) -> None:
        if data.strip() == self.end:
            self.is_done = self.is_whole = True
            return
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            self.fail(f"an event of the stream is not JSON: {data[:_SHOWN].decode(errors='replace')}")
            return
        if isinstance(event, dict):
            self.take(event)
