"""An endpoint that speaks OpenAI's chat completions, asked through aiohttp.

One attempt is one POST. What is the same in every request of a form (model, bounds, schema, headers) is made
once; per call only the prompt is written into the body. At thousands of calls a second this file is where
the processor time goes, so it uses of aiohttp only what it needs: no cookies, no redirects, no traces, one
deadline of its own. Slots are counted by the caller: the connector has no limit, so that no request waits
inside where nobody sees it.

A streamed answer comes to the same as a whole one. An endpoint that will not stream, or that does not say
what a streamed answer took, is not asked to again.

The rule about doubt: a request counts as sent from the moment its body is handed to the socket
(`Body.write_with_length`). Before that the endpoint cannot have acted on it. A kept-alive connection that
the endpoint closes at that moment is in doubt, too: nobody can tell. So is a stream that breaks off: its
status came when the work began, so that it says nothing of whether it was finished and billed.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Mapping

import aiohttp
from msgspec import Struct
from msgspec.structs import replace
from multidict import istr
from yarl import URL

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.messages import Attempt, AttemptEnded, Correction, RateHeaders, Refusal, Usage
from actors.endpoints.base import EndpointSettings, OnStreamed
from actors.endpoints.chat_request import Body, PreparedForm
from actors.endpoints.completion import Completion, read_completion, read_document
from actors.endpoints.forms import AnswerForm, Problem, Values
from actors.endpoints.streamed_completion import StreamedCompletion
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
_FAREWELL_S = 0.5  # for a stream to end after its last event; one that does not costs its connection
_ANOTHER_BODY = frozenset({400, 409, 422})
_NO_SUCH_OPTION = frozenset({400, 422})  # where it says so; or the question is wrong, however it is asked
_WILL_NOT_STREAM = frozenset({405, 415, 501})
_CORRECTED_CHARACTERS = 8_000  # of an answer that is shown to the model again; all of it is paid for
_DEFECT_CHARACTERS = 300
_PLAIN_KEY_CHARACTERS = 4  # "none", "test": what people write where no key is needed
_NO_USAGE = Usage()
_EVENTS = "text/event-stream"
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
        self._forms = {name: PreparedForm.of(form, settings.model) for name, form in forms.items()}
        self._wall_clock = wall_clock
        self._session: aiohttp.ClientSession | None = None
        self._warned_of_usage = False
        self._streams = True  # until it is seen that it does not

    def __repr__(self) -> str:
        return f"<OpenAICompatible {self.name} {self._url}>"

    async def attempt(
        self,
        attempt: Attempt,
        timeout_s: float,
        on_streamed: OnStreamed | None = None,
        *,
        waited_s: float = 0.0,
    ) -> AttemptEnded:
        """Make one request for `attempt` and return what became of it, within `timeout_s` seconds."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        stream = _Stream(on_streamed, loop.time, started) if attempt.stream and self._streams else None
        left_s = attempt.expires_in_s - waited_s
        is_second = False
        try:
            end = await self._ask(attempt, left_s, timeout_s, stream)
            is_other_body = _speaks_of_another_body(end)
            is_second = is_other_body or (stream is not None and _will_not_stream(end))
            if is_second:
                took_s, streamed = loop.time() - started, stream is not None
                stream = None if streamed else _Stream(on_streamed, loop.time, started)
                end = await self._ask(attempt, left_s - took_s, timeout_s - took_s, stream)
                if streamed and not is_other_body and _is_success(end.status):
                    self._streams = False
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
            waited_s,
            loop.time() - started,
            streamed=end.streamed,
            began_s=stream.began_s if stream is not None and end.streamed else 0.0,
            is_second=is_second,
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def _ask(self, attempt: Attempt, left_s: float, timeout_s: float, stream: _Stream | None) -> _End:
        limit_s = min(timeout_s, left_s)
        expires = left_s <= timeout_s
        if limit_s <= 0:
            return _End(error=from_timeout(limit_s, sent=False, expired=expires))
        form = self._forms[attempt.form]
        body = Body(form.body(attempt.prompt, attempt.correction, stream=stream is not None))
        response: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout(limit_s):
                response = await self._running_session().post(
                    self._url,
                    data=body,
                    headers={_IDEMPOTENCY_KEY: attempt.idempotency_key},
                    allow_redirects=False,
                )
                if stream is not None and _is_success(response.status) and response.content_type == _EVENTS:
                    flaw = await self._read_stream(response, stream)
                    return self._streamed(response, stream.completion, flaw, form.form)
                answer, flaw = await self._read(response)
        except (aiohttp.ClientError, OSError) as error:
            if response is not None and not _is_success(response.status):
                return self._failed(response, b"")  # the status counts, though its explanation got lost
            if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
                failure = from_timeout(limit_s, sent=body.sent, expired=expires)
            else:
                failure = from_connection_error(error, sent=body.sent, hide=self._hide)
            return _End(error=failure)
        if not _is_success(response.status):
            return self._failed(response, answer)
        return self._answered(response, read_completion(form.form, answer), flaw)

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
        limit = self._max_answer_bytes if _is_success(response.status) else _ERROR_BODY_BYTES
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

    async def _read_stream(self, response: aiohttp.ClientResponse, stream: _Stream) -> str | None:
        """Read the answer into `stream`, and return what is wrong with it.

        Raises what the connection raises, where it breaks before the answer is whole.
        """
        limit, content = self._max_answer_bytes, response.content
        try:
            while not content.at_eof():
                stream.feed(await content.readany())
                if stream.completion.size > limit:
                    response.close()
                    return f"it is larger than {limit} bytes"
                if stream.completion.is_done:
                    async with asyncio.timeout(_FAREWELL_S):
                        while not content.at_eof():
                            await content.readany()
        except (aiohttp.ClientError, OSError):
            response.close()
            if not stream.completion.is_complete:
                raise
        except BaseException:
            response.close()
            raise
        stream.completion.close()
        return None if stream.completion.is_whole else "the stream ended before the answer did"

    def _streamed(
        self,
        response: aiohttp.ClientResponse,
        streamed: StreamedCompletion,
        flaw: str | None,
        form: AnswerForm,
    ) -> _End:
        document = streamed.document()
        if "error" in document:
            flaw = None  # it says why there is no more
        elif flaw is None and not streamed.has_usage:
            self._streams = False  # what is not counted cannot be charged to a budget
        end = self._answered(response, read_document(form, document), flaw)
        return replace(end, streamed=streamed.streamed)

    def _answered(self, response: aiohttp.ClientResponse, completion: Completion, flaw: str | None) -> _End:
        status, headers = response.status, rate_headers(response.headers)
        replayed = _REPLAYED in response.headers
        if flaw is not None:
            error = from_unusable(f"the body cannot be read: {flaw}", hide=self._hide)
            return _End(status, error=error, headers=headers, replayed=replayed)
        usage = self._usage(completion.input_tokens, completion.output_tokens)
        if not isinstance(completion.found, Problem):
            return _End(status, values=completion.found, usage=usage, headers=headers, replayed=replayed)
        correction = None
        if completion.content:
            correction = Correction(completion.content[:_CORRECTED_CHARACTERS], completion.found.text)
        error = from_unusable(completion.found.text, hide=self._hide)
        return _End(
            status, error=error, usage=usage, correction=correction, headers=headers, replayed=replayed
        )

    def _failed(self, response: aiohttp.ClientResponse, body: bytes) -> _End:
        error, refusal = from_status(
            response.status, response.headers, body, wall_now=self._wall_clock(), hide=self._hide
        )
        return _End(response.status, error=error, refusal=refusal, headers=rate_headers(response.headers))

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


class _End(Struct, frozen=True):
    """An `AttemptEnded` without what only `attempt` knows. `status` is 0 where none came."""

    status: int = 0
    values: Values | None = None
    error: Failure | None = None
    usage: Usage = _NO_USAGE
    correction: Correction | None = None
    refusal: Refusal | None = None
    headers: RateHeaders | None = None
    replayed: bool = False
    streamed: int = 0


class _Stream:
    """An answer that is being streamed, and who wants to know how far it has come."""

    def __init__(self, on_streamed: OnStreamed | None, clock: Callable[[], float], started: float) -> None:
        self.completion = StreamedCompletion()
        self.began_s = 0.0  # from the start to the first character
        self._on_streamed = on_streamed
        self._clock = clock
        self._started = started

    def feed(self, piece: bytes) -> None:
        before = self.completion.streamed
        self.completion.feed(piece)
        if self.completion.streamed > before:
            after_s = self._clock() - self._started
            if not before:
                self.began_s = after_s
            if self._on_streamed is not None:
                self._on_streamed(self.completion.streamed, after_s)


def _is_success(status: int) -> bool:
    return 200 <= status < 300


def _will_not_stream(end: _End) -> bool:
    """Tell whether a request for a stream was turned down for being one, as far as can be told."""
    if end.status not in _NO_SUCH_OPTION or end.error is None:
        return end.status in _WILL_NOT_STREAM
    return "stream" in end.error.message or end.error.message == f"HTTP {end.status}"


def _speaks_of_another_body(end: _End) -> bool:
    """Tell whether the question was asked before under this key, and streamed where it now was not, or so.

    An earlier life of the dispatcher, or of the run, may have asked, and nobody remembers how.
    """
    return end.status in _ANOTHER_BODY and end.error is not None and "idempoten" in end.error.message.lower()
