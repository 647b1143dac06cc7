"""An endpoint that speaks OpenAI's chat completions, asked through aiohttp.

One attempt is one POST. What is the same in every request of a form (model, bounds, schema, headers) is made
once; per call only the prompt is written into the body. At thousands of calls a second this file is where
the processor time goes, so it uses of aiohttp only what it needs: no cookies, no redirects, no traces, one
deadline of its own. Slots are counted by the caller: the connector has no limit, so that no request waits
inside where nobody sees it.

The rule about doubt: a request counts as sent from the moment its body is handed to the socket
(`_Body.write_with_length`). Before that the endpoint cannot have acted on it. A kept-alive connection that
the endpoint closes at that moment is in doubt, too: nobody can tell.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp
import orjson
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict, istr
from yarl import URL

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.messages import Attempt, AttemptEnded, Correction, RateHeaders, Refusal, Usage
from actors.endpoints.base import EndpointSettings
from actors.endpoints.completion import read_completion
from actors.endpoints.forms import AnswerForm, Problem, Values
from actors.endpoints.translate import (
    from_connection_error,
    from_status,
    from_timeout,
    from_unusable,
    rate_headers,
)

_log = logging.getLogger(__name__)

_CONNECT_S = 15.0  # a connect that takes longer will not come, and the attempt has better uses for its time
_KEEPALIVE_S = 60.0
_ERROR_BODY_BYTES = 64 << 10
_CORRECTED_CHARACTERS = 8_000  # of an answer that is shown to the model again; all of it is paid for
_DEFECT_CHARACTERS = 300
_PLAIN_KEY_CHARACTERS = 4  # "none", "test": what people write where no key is needed
_USER = b'{"role":"user","content":'
_NO_USAGE = Usage()
_CONTENT_HEADERS = CIMultiDict({"Content-Type": "application/json"})
_IDEMPOTENCY_KEY = istr("Idempotency-Key")
_REPLAYED = istr("Idempotent-Replayed")


class OpenAICompatible:
    """One OpenAI-compatible URL. See `actors.endpoints.base.Endpoint` for the contract.

    `forms` are all the shapes of answers that attempts may name. The session is made by the first attempt,
    on the loop that runs it. `wall_clock` tells seconds since 1970.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        forms: Mapping[str, AnswerForm],
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = settings.name
        self._url = URL(settings.chat_url)
        self._key = settings.api_key.get_secret_value()
        self._price = settings.price
        self._max_answer_bytes = settings.max_answer_bytes
        self._forms = {name: _PreparedForm.of(form, settings.model) for name, form in forms.items()}
        self._wall_clock = wall_clock
        self._session: aiohttp.ClientSession | None = None
        self._warned_of_usage = False

    def __repr__(self) -> str:
        return f"<OpenAICompatible {self.name} {self._url}>"

    async def attempt(self, attempt: Attempt, timeout_s: float) -> AttemptEnded:
        """Make one request for `attempt` and return what became of it, within `timeout_s` seconds."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            end = await self._ask(attempt, timeout_s)
        except Exception as error:  # noqa: BLE001 - a defect becomes a value too, and is loud
            end = _End(error=self._defect(error, attempt))
        return AttemptEnded(
            attempt.id,
            end.values,
            end.error,
            end.usage,
            end.correction,
            end.refusal,
            end.headers,
            end.replayed,
            took_s=loop.time() - started,
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def _ask(self, attempt: Attempt, timeout_s: float) -> _End:
        limit_s = min(timeout_s, attempt.expires_in_s)
        expires = attempt.expires_in_s <= timeout_s
        if limit_s <= 0:
            return _End(error=from_timeout(limit_s, sent=False, expired=expires))
        form = self._forms[attempt.form]
        body = _Body(form.body(attempt.prompt, attempt.correction))
        response: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout(limit_s):
                response = await self._running_session().post(
                    self._url,
                    data=body,
                    headers={_IDEMPOTENCY_KEY: attempt.idempotency_key},
                    allow_redirects=False,
                )
                answer, flaw = await self._read(response)
        except (aiohttp.ClientError, OSError) as error:
            if response is not None and not _is_success(response):
                return self._failed(response, b"")  # the status counts, though its explanation got lost
            if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
                return _End(error=from_timeout(limit_s, sent=body.sent, expired=expires))
            return _End(error=from_connection_error(error, sent=body.sent, hide=self._hide))
        if _is_success(response):
            return self._answered(response, answer, flaw, form.form)
        return self._failed(response, answer)

    def _running_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
                # All that aiohttp would add by itself stands here, so that it need not merge and sort.
                headers={
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",  # small answers: unpacking costs more than it saves
                    "Authorization": f"Bearer {self._key}",
                    "Content-Type": "application/json",
                    "User-Agent": "headrace",
                },
                trust_env=False,
            )
        return self._session

    async def _read(self, response: aiohttp.ClientResponse) -> tuple[bytes, str | None]:
        """Return the body, and what is wrong with it: it broke off, or it is larger than allowed."""
        limit = self._max_answer_bytes if _is_success(response) else _ERROR_BODY_BYTES
        body = bytearray()
        try:
            while not response.content.at_eof():
                body += await response.content.readany()
                if len(body) > limit:
                    response.close()
                    return bytes(body[:limit]), f"it is larger than {limit} bytes"
        except (aiohttp.ClientError, OSError) as error:
            response.close()
            return bytes(body), f"it broke off after {len(body)} bytes: {type(error).__name__}"
        except BaseException:
            response.close()  # else the rest of this answer would be read as the start of the next one
            raise
        return bytes(body), None

    def _answered(
        self, response: aiohttp.ClientResponse, body: bytes, flaw: str | None, form: AnswerForm
    ) -> _End:
        headers = rate_headers(response.headers)
        replayed = _REPLAYED in response.headers
        if flaw is not None:
            error = from_unusable(f"the body cannot be read: {flaw}", hide=self._hide)
            return _End(error=error, headers=headers, replayed=replayed)
        completion = read_completion(form, body)
        usage = self._usage(completion.input_tokens, completion.output_tokens)
        if not isinstance(completion.found, Problem):
            return _End(values=completion.found, usage=usage, headers=headers, replayed=replayed)
        correction = None
        if completion.content:
            correction = Correction(completion.content[:_CORRECTED_CHARACTERS], completion.found.text)
        error = from_unusable(completion.found.text, hide=self._hide)
        return _End(error=error, usage=usage, correction=correction, headers=headers, replayed=replayed)

    def _failed(self, response: aiohttp.ClientResponse, body: bytes) -> _End:
        error, refusal = from_status(
            response.status, response.headers, body, wall_now=self._wall_clock(), hide=self._hide
        )
        return _End(error=error, refusal=refusal, headers=rate_headers(response.headers))

    def _usage(self, input_tokens: int | None, output_tokens: int | None) -> Usage:
        if (input_tokens is None or output_tokens is None) and not self._warned_of_usage:
            self._warned_of_usage = True
            _log.warning("endpoint %s does not say what an answer took; it is counted as 0 tokens", self.name)
        return self._price.usage(input_tokens or 0, output_tokens or 0)

    def _defect(self, error: Exception, attempt: Attempt) -> Failure:
        text = self._hide("".join(traceback.format_exception(error)))
        _log.error("endpoint %s: a defect ended a call for %s\n%s", self.name, attempt.call_key, text)
        last_line = text.rstrip().rpartition("\n")[2]
        return Failure(FailureKind.PERMANENT, Blame.UNKNOWN, f"defect: {last_line}"[:_DEFECT_CHARACTERS])

    def _hide(self, text: str) -> str:
        """Return `text` without the key. A key of a few letters is no secret, and would blot out words."""
        return text.replace(self._key, "***") if len(self._key) > _PLAIN_KEY_CHARACTERS else text


# ---- parts -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _End:
    """An `AttemptEnded` without what only `attempt` knows."""

    values: Values | None = None
    error: Failure | None = None
    usage: Usage = _NO_USAGE
    correction: Correction | None = None
    refusal: Refusal | None = None
    headers: RateHeaders | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class _PreparedForm:
    """The bytes of a request's body before and after the conversation."""

    form: AnswerForm
    head: bytes
    tail: bytes

    @classmethod
    def of(cls, form: AnswerForm, model: str) -> _PreparedForm:
        system = b""
        if form.instructions is not None:
            system = b'{"role":"system","content":' + _json_string(form.instructions) + b"},"
        head = b'{"model":' + _json_string(model) + b',"messages":[' + system + _USER
        tail = b'}],"max_tokens":' + str(form.max_tokens).encode()
        if form.response_format is not None:
            tail += b',"response_format":' + form.response_format
        return cls(form, head, tail + b"}")

    def body(self, prompt: str, correction: Correction | None) -> bytes:
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


class _Body(aiohttp.Payload):
    """The body of one request, which knows whether it was handed to the socket.

    `Payload.__init__` is left out: it would make a new set of headers for every call.
    """

    _autoclose = True

    def __init__(self, value: bytes) -> None:
        self._value: bytes = value
        self.sent = False

    @property
    def size(self) -> int:
        return len(self._value)

    @property
    def headers(self) -> CIMultiDict[str]:
        return _CONTENT_HEADERS

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._value.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        # A connection that closed after it was chosen takes nothing: the write raises, and nothing was sent.
        self.sent = writer.transport is not None and not writer.transport.is_closing()
        await writer.write(self._value[:content_length])


def _is_success(response: aiohttp.ClientResponse) -> bool:
    return 200 <= response.status < 300


def _json_string(text: str) -> bytes:
    try:
        return orjson.dumps(text)
    except orjson.JSONEncodeError:
        # A lone surrogate, as half an emoji leaves it, has no UTF-8: one bad character must not fail a call.
        return orjson.dumps(text.encode("utf-8", "replace").decode())
