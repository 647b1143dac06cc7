"""Builds the bytes of chat completion requests.

The parts that are the same in all requests (headers), or in all requests of a form (model, bounds, schema),
are built once. Each call only adds its prompt.
"""

from __future__ import annotations

import orjson
from msgspec import Struct
from yarl import URL

from actors.core.messages.calls import Correction
from actors.http1.request import head, line
from actors.llm.forms import AnswerForm

_MAX_COMPLETION_TOKENS = "max_completion_tokens"
_USER = b'{"role":"user","content":'
_STREAMED = b',"stream":true,"stream_options":{"include_usage":true}}'


class PreparedForm(Struct, frozen=True):
    """The bytes of a request's body before and after the prompt."""

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
        # The models that know max_completion_tokens reject max_tokens beside it.
        bound = b"" if _MAX_COMPLETION_TOKENS in form.parameters else _bound(form.max_tokens)
        tail = b"}]" + bound
        if form.response_format is not None:
            tail += b',"response_format":' + form.response_format
        if form.parameters:
            tail += b"," + orjson.dumps(form.parameters)[1:-1]
        return cls(form, head, tail + b"}")

    def body(self, prompt: str, correction: Correction | None, *, stream: bool = False) -> bytes:
        """Return the body for `prompt`, followed by `correction` if given. `stream`: request a stream."""
        body = self._body(prompt, correction)
        return body[:-1] + _STREAMED if stream else body

    def _body(self, prompt: str, correction: Correction | None) -> bytes:
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


class PreparedHead(Struct, frozen=True):
    """The part of a request's head that is the same in all requests."""

    start: bytes

    @classmethod
    def of(cls, url: URL, key: str) -> PreparedHead:
        """Prepare requests to `url` that carry the API key `key`."""
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # decompressing small answers costs more than it saves
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "User-Agent": "headrace",
        }
        return cls(head("POST", url, headers))

    def request(self, idempotency_key: str, body: bytes) -> bytes:
        """Return the whole request. Raises ValueError if `idempotency_key` is not a valid header value."""
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        return b"".join((self.start, line("Idempotency-Key", idempotency_key), length, body))


def _bound(max_tokens: int) -> bytes:
    return b',"max_tokens":' + str(max_tokens).encode()


def _json_string(text: str) -> bytes:
    try:
        return orjson.dumps(text)
    except orjson.JSONEncodeError:
        # A lone surrogate, such as half an emoji, cannot be encoded. One bad character must not fail a call.
        return orjson.dumps(text.encode("utf-8", "replace").decode())
