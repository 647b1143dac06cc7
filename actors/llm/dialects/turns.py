"""Writes the texts of requests, and bodies whose conversation is a list of messages with role and content."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from msgspec import Struct
from msgspec.structs import replace

from actors.core.messages.calls import Correction
from actors.core.messages.values import Json
from actors.llm.forms import AnswerForm

USER = b'{"role":"user","content":'
_ASSISTANT = b'{"role":"assistant","content":'
_STREAMED = b',"stream":true}'


def json_string(text: str) -> bytes:
    """Return `text` as a JSON string."""
    try:
        return orjson.dumps(text)
    except orjson.JSONEncodeError:
        return orjson.dumps(encodable(text))


def encodable(text: str) -> str:
    """Return `text` without lone surrogates, such as half an emoji, which must not fail a call."""
    return text.encode("utf-8", "replace").decode()


def correction_request(form: AnswerForm, problem: str) -> str:
    """Return the message that asks the model to answer again."""
    wanted = "only JSON that fits" if form.fields else "only the text"
    return f"Your answer did not fit: {problem}. Answer again, with {wanted}."


class PreparedTurns(Struct, frozen=True):
    """The bytes of a request's body around the prompt, which is the content of the user's first message.

    head: ends with `USER`. tail: begins with the end of a message. streamed: replaces the last brace of a
    request for a stream. begin, end: around the prompt if its content is a list of parts. skips_blank: an
    answer of the model without text is left out, since the API rejects it.
    """

    form: AnswerForm
    head: bytes
    tail: bytes = b"}]}"
    streamed: bytes = _STREAMED
    begin: bytes = b""
    end: bytes = b""
    skips_blank: bool = False

    def with_parts(self, parts: Sequence[Json], kind: str) -> PreparedTurns:
        """Return a form whose prompts follow these parts. `kind`: the type of a part with text."""
        before = b"".join(orjson.dumps(part) + b"," for part in parts)
        begin = b"".join((b"[", before, b'{"type":"', kind.encode(), b'","text":'))
        return replace(self, begin=begin, end=b"}]")

    def body(self, prompt: str, correction: Correction | None, *, stream: bool = False) -> bytes:
        """Return the body for `prompt`."""
        tail = self.tail[:-1] + self.streamed if stream else self.tail
        asked = (self.head, self.begin, json_string(prompt), self.end)
        if correction is None:
            return b"".join((*asked, tail))
        answer = b""
        if correction.answer.strip() or not self.skips_blank:
            answer = _ASSISTANT + json_string(correction.answer) + b"},"
        request = json_string(correction_request(self.form, correction.problem))
        return b"".join((*asked, b"},", answer, USER, request, tail))
