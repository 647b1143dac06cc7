"""A chat completion that comes in chunks, put together again as if it had come whole.

What is put together is read as any other answer (`completion.py`), so that a call comes to the same whether
or not it was streamed.
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
    """Takes the bytes of one stream in. `streamed` counts the characters that the model has written so far.

    `is_done`: the stream's last event has come. `is_whole`: the model has come to an end, as that or its
    finish reason says. `has_usage`: the endpoint has told what the answer took.
    """

    def __init__(self) -> None:
        self.streamed = 0
        self.is_done = False
        self.is_whole = False
        self.has_usage = False
        self._events = EventStream()
        self._document: dict[str, Json] = {}
        # A list of parts would take sixty bytes for each character that comes alone.
        self._message: dict[str, io.StringIO] = {}
        self._finish_reason: Json = None
        self._has_choice = False

    @property
    def is_complete(self) -> bool:
        """Whether nothing more is needed, so that it does not matter how the connection ends."""
        return self.is_done or (self.is_whole and self.has_usage)

    @property
    def size(self) -> int:
        """About how many bytes are kept."""
        return self.streamed + self._events.held

    def feed(self, piece: bytes) -> None:
        """Take the next bytes in. Never raises: what is no event of a completion shows in `document`."""
        for data in self._events.feed(piece):
            self._take(data)

    def close(self) -> None:
        """Take the end of the stream in."""
        for data in self._events.close():
            self._take(data)

    def document(self) -> dict[str, Json]:
        """Return the completion, as it would stand in an answer that came whole."""
        document = dict(self._document)
        # An error in the stream is what the answer came to, whatever was written before it.
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
        if isinstance(usage, dict):  # some count in every chunk: the last one stands
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
        for name in ("reasoning_content", "reasoning"):  # paid for as output, and never shown in the answer
            text = delta.get(name)
            if isinstance(text, str):
                self.streamed += len(text)
