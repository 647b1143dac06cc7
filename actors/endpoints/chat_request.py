"""The bytes of a request for a chat completion.

What is the same in every request of a form (model, bounds, schema) is made once; per call only the prompt is
written into it.
"""

from __future__ import annotations

import aiohttp
import orjson
from aiohttp.abc import AbstractStreamWriter
from msgspec import Struct
from multidict import CIMultiDict

from actors.core.messages import Correction
from actors.endpoints.forms import AnswerForm

_USER = b'{"role":"user","content":'
_STREAMED = b',"stream":true,"stream_options":{"include_usage":true}}'
_CONTENT_HEADERS = CIMultiDict({"Content-Type": "application/json"})


class PreparedForm(Struct, frozen=True):
    """The bytes of a request's body before and after the conversation."""

    form: AnswerForm
    head: bytes
    tail: bytes

    @classmethod
    def of(cls, form: AnswerForm, model: str) -> PreparedForm:
        """Prepare `form` for requests to `model`."""
        system = b""
        if form.instructions is not None:
            system = b'{"role":"system","content":' + _json_string(form.instructions) + b"},"
        head = b'{"model":' + _json_string(model) + b',"messages":[' + system + _USER
        tail = b'}],"max_tokens":' + str(form.max_tokens).encode()
        if form.response_format is not None:
            tail += b',"response_format":' + form.response_format
        return cls(form, head, tail + b"}")

    def body(self, prompt: str, correction: Correction | None, *, stream: bool = False) -> bytes:
        """Return the body that asks `prompt`, or again after a correction; `stream`: in a stream."""
        whole = self._whole(prompt, correction)
        return whole[:-1] + _STREAMED if stream else whole

    def _whole(self, prompt: str, correction: Correction | None) -> bytes:
        if correction is None:
            return self.head + _json_string(prompt) + self.tail
        wanted = "only JSON that fits" if self.form.fields else "only the text"
        again = f"Your answer did not fit: {correction.problem}. Answer again, with {wanted}."
        return b"".join(
            (
                self.head,
                _json_string(prompt),
                b'},{"role":"assistant","content":',
                _json_string(correction.answer),
                b"},",
                _USER,
                _json_string(again),
                self.tail,
            )
        )


class Body(aiohttp.Payload):
    """The body of one request, which knows whether it was handed to the socket.

    `Payload.__init__` is left out: it would make a new set of headers for every call.
    """

    _autoclose = True

    def __init__(self, value: bytes) -> None:
        self._value: bytes = value
        self.sent = False

    @property
    def size(self) -> int:
        """The bytes of the body."""
        return len(self._value)

    @property
    def headers(self) -> CIMultiDict[str]:
        """The headers that describe the body."""
        return _CONTENT_HEADERS

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the body as text."""
        return self._value.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Hand the whole body to the socket."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Hand the body to the socket, at most so many bytes of it."""
        # A connection that closed after it was chosen takes nothing: the write raises, and nothing was sent.
        self.sent = writer.transport is not None and not writer.transport.is_closing()
        await writer.write(self._value[:content_length])


def _json_string(text: str) -> bytes:
    try:
        return orjson.dumps(text)
    except orjson.JSONEncodeError:
        # A lone surrogate, as half an emoji leaves it, has no UTF-8: one bad character must not fail a call.
        return orjson.dumps(text.encode("utf-8", "replace").decode())
