"""Assembles a chat completion from the chunks of a stream.

`completion.py` reads the result like any other answer, so a call has the same result whether or not it was
streamed.
"""

from __future__ import annotations

import io
from typing import Any

import orjson

from actors.core.messages.values import Json
from actors.llm.dialects.event_stream import EventStream

_DONE = b"[DONE]"
_SHOWN = 100


class StreamedCompletion:
    """Assembles the completion of one stream.

    streamed: the number of characters received, including reasoning.
    is_done: whether the last event of the stream has arrived.
    is_whole: whether the model has finished, by the last event or a finish reason.
    has_usage: whether the endpoint has reported the usage.
    """

    def __init__(self) -> None:
        self.streamed = 0
        self.is_done = False
        self.is_whole = False
        self.has_usage = False
        self._events = EventStream()
        self._document: dict[str, Json] = {}
        # A list of parts would take sixty bytes per character if each arrives in its own chunk.
        self._message: dict[str, io.StringIO] = {}
        self._finish_reason: Json = None
        self._has_choice = False

    @property
    def is_complete(self) -> bool:
        """Whether all data has arrived, so that an error of the connection no longer matters."""
        return self.is_done or (self.is_whole and self.has_usage)

    @property
    def size(self) -> int:
        """The approximate number of bytes kept."""
        return self.streamed + self._events.held

    def feed(self, piece: bytes) -> None:
        """Process the next bytes. Never raises: an invalid event results in an error in `document`."""
        for data in self._events.feed(piece):
            self._take(data)

    def close(self) -> None:
        """Process the end of the stream."""
        for data in self._events.close():
            self._take(data)

    def document(self) -> dict[str, Json]:
        """Return the completion in the format of an answer that was not streamed."""
        document = dict(self._document)
        # An error in the stream is the result, whatever was written before it.
        if self._has_choice and "error" not in document:
            message = {name: parts.getvalue() for name, parts in self._message.items()}
            document["choices"] = [{"message": message, "finish_reason": self._finish_reason}]
        return document

    def _take(self, data: bytes) -> None:
        if data.strip() == _DONE:
            self.is_done = self.is_whole = True
            return
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            shown = data[:_SHOWN].decode(errors="replace")
            self._document.setdefault("error", f"an event of the stream is not JSON: {shown}")
            return
        if not isinstance(chunk, dict):
            return
        if error := chunk.get("error"):
            self._document.setdefault("error", error)
        usage = chunk.get("usage")
        if isinstance(usage, dict):  # some endpoints report it in every chunk: the last one counts
            self._document["usage"] = usage
            self.has_usage = True
        match chunk.get("choices"):
            case [dict(choice), *_]:
                self._take_choice(choice)

    def _take_choice(self, choice: dict[str, Any]) -> None:
        self._has_choice = True
        if choice.get("finish_reason") is not None:
            self._finish_reason = choice["finish_reason"]
            self.is_whole = True
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return
        for name in ("content", "refusal"):
            text = delta.get(name)
            if isinstance(text, str):
                self._message.setdefault(name, io.StringIO()).write(text)
                self.streamed += len(text)
        for name in ("reasoning_content", "reasoning"):  # billed as output, but not part of the answer
            text = delta.get(name)
            if isinstance(text, str):
                self.streamed += len(text)
