"""An endpoint that is reached by HTTP/1.1, or by a library if its dialect uses one.

An attempt is one POST with one deadline. The caller counts the slots. The number of connections is not
bounded here, so that no request waits in a queue that the statistics do not show.

A streamed answer gives the same result as one that is not streamed. If an endpoint refuses to stream, or does
not report the usage of a stream, it is not asked to stream again.

A request counts as sent from the moment it is written to the socket (`Exchange.sent`); before that the
endpoint cannot have acted on it. If the endpoint closes a kept-alive connection at that moment, the request
is in doubt. So is a stream that breaks off: its status arrived before the work was finished and billed.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from contextvars import ContextVar

from msgspec import Struct
from msgspec.structs import replace

from actors.core.censor import HIDDEN, NO_SECRETS, Censor
from actors.core.errors import Blame, Failure, FailureKind, HeadraceError, SourceError
from actors.core.messages.attempts import Attempt, AttemptEnded, RateHeaders, Refusal
from actors.core.messages.calls import Correction
from actors.core.messages.values import TokenCounts, Usage
from actors.http1.exchange import Exchange, Http1Error, TooLargeError
from actors.http1.origin import Origin
from actors.llm.dialects.dialect import Dialect, LibraryAnswer, ParsedAnswer, PreparedForm, StreamReader
from actors.llm.endpoint import OnStreamed
from actors.llm.forms import AnswerForm, AnswerProblem, Values
from actors.llm.requests.answer_stream import AnswerStream
from actors.llm.requests.attachments import (
    TEXT,
    AttachedFile,
    AttachmentReader,
    AttachmentSettings,
    digest_of,
)
from actors.llm.requests.head import PreparedHead, authorized, plain_url, proxy_of, request_url
from actors.llm.requests.ranking import ranking_problem
from actors.llm.translate import (
    ErrorReport,
    Site,
    from_connection_error,
    from_defect,
    from_no_completion,
    from_report,
    from_timeout,
    from_unusable,
    rejects_key,
)

_log = logging.getLogger(__name__)

_CONNECT_S = 15.0  # a slower connect will not succeed, and another attempt may
_KEEPALIVE_S = 60.0
_ERROR_BODY_BYTES = 64 << 10
_IN_PROGRESS = 409  # usually of a request with the same key
_ANOTHER_BODY = frozenset({400, _IN_PROGRESS, 422})
_DIGEST_DIGITS = 16
_NO_SUCH_OPTION = frozenset({400, 422})  # only if the message says so: the question itself may be invalid
_WILL_NOT_STREAM = frozenset({405, 415, 501})
_CORRECTED_CHARACTERS = 8_000  # of an answer that is sent again in a correction, where it is billed as input
_NO_USAGE = Usage()
_SENT: ContextVar[tuple[str, ...]] = ContextVar("_SENT", default=())  # the secrets of the attempt's request
_REPLAYED = "idempotent-replayed"


class HttpEndpoint:
    """One endpoint. See `actors.llm.endpoint.Endpoint` for the contract.

    dialect: translates requests and answers.
    forms: all forms that attempts may name.
    wall_clock: returns seconds since 1970.
    attachments: reads the files that are sent with prompts.
    """

    def __init__(
        self,
        dialect: Dialect,
        forms: Mapping[str, AnswerForm],
        *,
        wall_clock: Callable[[], float] = time.time,
        censor: Censor = NO_SECRETS,
        attachments: AttachmentReader | None = None,
    ) -> None:
        self._attachments = attachments or AttachmentReader(AttachmentSettings())
        settings = dialect.settings
        self._dialect = dialect
        self._censor = settings.key_censor() | censor  # if both know the key, `censor` has a name for it
        self.name = settings.name
        self._url = request_url(dialect, stream=False)
        key = settings.key_setting
        self._site = Site(self.name, self._url.raw_path, key)
        self._credentials = dialect.credentials
        self._head = PreparedHead.of(dialect, self._url)
        self._stream_head = PreparedHead.of(dialect, request_url(dialect, stream=True))
        plain = {name: plain_url(dialect, form) or self._url for name, form in forms.items() if form.is_plain}
        self._plain_heads = {name: PreparedHead.of(dialect, url) for name, url in plain.items()}
        self._plain_sites = {name: Site(self.name, url.raw_path, key) for name, url in plain.items()}
        self._origin = Origin(
            self._url, connect_s=_CONNECT_S, keep_s=_KEEPALIVE_S, proxy=proxy_of(dialect, self._url)
        )
        self._prices = {name: settings.price_of(form.parameters) for name, form in forms.items()}
        self._max_answer_bytes = settings.max_answer_bytes
        self._given = dict(forms)
        self._forms = self._prepared(dialect)
        self._wall_clock = wall_clock
        self._warned_of_usage = False
        self._library = dialect.client() if dialect.uses_library else None
        self._streams = self._library is None  # False once the endpoint has shown that it does not stream

    def __repr__(self) -> str:
        return f"<HttpEndpoint {self.name} {self._url}>"

    async def attempt(
        self,
        attempt: Attempt,
        timeout_s: float,
        on_streamed: OnStreamed | None = None,
        *,
        waited_s: float = 0.0,
    ) -> AttemptEnded:
        """Make one request for `attempt` and return its outcome. See `Endpoint.attempt`."""
        if not attempt.attachments:
            return await self._attempt(attempt, timeout_s, on_streamed, waited_s)
        loop = asyncio.get_running_loop()
        started = loop.time()
        left_s = min(timeout_s, attempt.expires_in_s - waited_s)
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(left_s):
                    files = await held.enter_async_context(self._attachments.read(attempt.attachments))
                for file in files:
                    self._check_type(file)
            except TimeoutError:
                failure = Failure(
                    FailureKind.TRANSIENT, Blame.SOURCE, f"no attachments within {left_s:.3g} s"
                )
                return AttemptEnded(attempt.id, error=failure, waited_s=waited_s, sent=False)
            except HeadraceError as error:
                failure = error.failure()
                failure = replace(failure, message=self._hide(failure.message))
                return AttemptEnded(attempt.id, error=failure, waited_s=waited_s, sent=False)
            waited_s += loop.time() - started
            # An endpoint that honours keys would reject changed files, or repeat the answer about the old.
            key = f"{attempt.idempotency_key}.{digest_of(files)}"
            attempt = replace(attempt, idempotency_key=key)
            return await self._attempt(attempt, timeout_s, on_streamed, waited_s, files)

    def _check_type(self, file: AttachedFile) -> None:
        if file.type != TEXT and file.type not in self._dialect.attaches:
            dialect = self._dialect.settings.dialect
            raise SourceError(
                f"endpoint {self.name}: its dialect {dialect} takes no {file.type}, such as {file.name}"
            )

    async def _attempt(
        self,
        attempt: Attempt,
        timeout_s: float,
        on_streamed: OnStreamed | None,
        waited_s: float,
        files: Sequence[AttachedFile] = (),
    ) -> AttemptEnded:
        loop = asyncio.get_running_loop()
        started = loop.time()
        is_streamed = attempt.stream and self._streams and attempt.form not in self._plain_heads
        stream = self._stream(on_streamed, started) if is_streamed else None
        left_s = attempt.expires_in_s - waited_s
        is_second = is_adapted = False
        try:
            dialect = self._dialect
            end = await self._ask(attempt, left_s, timeout_s, stream, files)
            while end.report is not None and self._adapt(dialect, end.report):
                is_adapted = True
                dialect, took_s = self._dialect, loop.time() - started
                end = await self._ask(attempt, left_s - took_s, timeout_s - took_s, stream, files)
            is_second = _is_key_conflict(end)
            if is_second:
                first = end
                for other, streams in self._other_requests(attempt, files, is_streamed=is_streamed):
                    is_keyed = other is not attempt
                    if not _is_key_conflict(end) or (is_keyed and _IN_PROGRESS in (first.status, end.status)):
                        break
                    took_s = loop.time() - started
                    stream = self._stream(on_streamed, started) if streams else None
                    end = await self._ask(other, left_s - took_s, timeout_s - took_s, stream, files)
                if first.status == _IN_PROGRESS and _is_key_conflict(end):
                    end = first  # another attempt may get the answer of the request in progress
            elif stream is not None and _refused_to_stream(end):
                is_second, stream, took_s = True, None, loop.time() - started
                end = await self._ask(attempt, left_s - took_s, timeout_s - took_s, stream, files)
                if _is_success(end.status):
                    self._streams = False
        except Exception as error:  # noqa: BLE001 - a defect is logged, and returned as a value too
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
            is_second=is_second or is_adapted,
            unmetered=end.unmetered,
            sent=end.sent,
            is_page=end.is_page,
            is_final=end.is_final,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._origin.close()
        if self._library is not None:
            await self._library.close()

    async def _ask(
        self,
        attempt: Attempt,
        left_s: float,
        timeout_s: float,
        stream: AnswerStream | None,
        files: Sequence[AttachedFile],
    ) -> _End:
        limit_s = min(timeout_s, left_s)
        expires = left_s <= timeout_s
        if limit_s <= 0:
            return _End(error=from_timeout(limit_s, sent=False, expired=expires), sent=False)
        form = self._forms[attempt.form]
        body = self._body(attempt, files, stream=stream is not None)
        key = attempt.idempotency_key
        if self._library is not None:
            end = await self._by_library(self._library.send(body, key), form.form, limit_s, expires=expires)
        else:
            end = await self._by_http(body, key, form.form, limit_s, stream, expires=expires)
        problem = ranking_problem(form.form, attempt.prompt, end.values)
        return replace(end, values=None, error=from_unusable(problem, hide=self._hide)) if problem else end

    def _body(self, attempt: Attempt, files: Sequence[AttachedFile], *, stream: bool) -> bytes:
        form = self._forms[attempt.form]
        prompt = form.form.preface + attempt.prompt
        if files:
            prompt = "".join([prompt, *(file.part for file in files if file.type == TEXT)])
            others = [file for file in files if file.type != TEXT]
            form = self._dialect.with_files(form, others) if others else form
        return form.body(prompt, attempt.correction, stream=stream)

    def _other_requests(
        self, attempt: Attempt, files: Sequence[AttachedFile], *, is_streamed: bool
    ) -> Iterator[tuple[Attempt, bool]]:
        """Yield requests to make while the endpoint says that the key was used with another body.

        Each has whether it asks for a stream. The earlier request may have been sent before a restart, with
        or without streaming. If it had another body in both forms, the configuration or the program has
        changed since: the question gets a key of its own. The key is that of the body without streaming, so
        that a later attempt in either form gets the same answer.
        """
        may_stream = self._library is None and attempt.form not in self._plain_heads
        if may_stream:
            yield attempt, not is_streamed
        digest = hashlib.sha256(self._body(attempt, files, stream=False)).hexdigest()[:_DIGEST_DIGITS]
        keyed = replace(attempt, idempotency_key=f"{attempt.idempotency_key}.{digest}")
        yield keyed, is_streamed
        if may_stream:
            yield keyed, not is_streamed

    async def _by_http(
        self,
        body: bytes,
        idempotency_key: str,
        form: AnswerForm,
        limit_s: float,
        stream: AnswerStream | None,
        *,
        expires: bool,
    ) -> _End:
        head = self._head_of(form, stream)
        if self._credentials is None:
            request = head.request(idempotency_key, body, {})
            return await self._exchanged(request, form, limit_s, stream, expires=expires)
        started = asyncio.get_running_loop().time()
        try:
            headers = await authorized(self._credentials, "POST", head.url, body, limit_s)
        except HeadraceError as error:
            return _End(error=self._unauthorized(error.failure()), sent=False)
        _SENT.set(self._credentials.secrets())  # a renewal may replace them before the answer quotes them
        limit_s = max(0.0, limit_s - (asyncio.get_running_loop().time() - started))
        request = head.request(idempotency_key, body, headers)
        end = await self._exchanged(request, form, limit_s, stream, expires=expires)
        if end.report is not None and rejects_key(end.report):
            self._credentials.reject(headers)
        return end

    async def _exchanged(
        self, request: bytes, form: AnswerForm, limit_s: float, stream: AnswerStream | None, *, expires: bool
    ) -> _End:
        exchange = Exchange(request, self._bound, None if stream is None else stream.on_head)
        broken: Exception | None = None
        try:
            await self._origin.send(exchange, limit_s)
        except (Http1Error, OSError) as error:
            broken = error
        if exchange.status and not _is_success(exchange.status):
            return self._failed(exchange, form)  # the status counts even if the body is incomplete
        if broken is not None and not (exchange.status and _is_answer(broken, stream)):
            if isinstance(broken, TimeoutError):
                failure = from_timeout(limit_s, sent=exchange.sent, expired=expires)
            else:
                failure = from_connection_error(broken, sent=exchange.sent, hide=self._hide, name=self.name)
            return _End(error=failure, sent=exchange.sent)
        if stream is not None and stream.is_read:
            flaw = self._flaw(broken) if isinstance(broken, TooLargeError) else stream.flaw()
            return self._streamed(exchange, stream.reader, flaw, form)
        flaw = None if broken is None else self._flaw(broken)
        completion = self._dialect.read(form, bytes(exchange.body))
        return self._answered(exchange, completion, flaw, form)

    async def _by_library(
        self, sending: Awaitable[LibraryAnswer], form: AnswerForm, limit_s: float, *, expires: bool
    ) -> _End:
        try:
            async with asyncio.timeout(limit_s) as limit:
                answer = await sending
        except OSError as error:
            if limit.expired():
                return _End(error=from_timeout(limit_s, sent=True, expired=expires))
            return _End(error=from_connection_error(error, sent=True, hide=self._hide))
        if not _is_success(answer.status):
            return self._failed(answer, form)
        is_large = len(answer.body) > self._max_answer_bytes
        flaw = self._flaw(TooLargeError(self._max_answer_bytes)) if is_large else None
        return self._answered(answer, self._dialect.read(form, answer.body), flaw, form)

    def _head_of(self, form: AnswerForm, stream: AnswerStream | None) -> PreparedHead:
        if form.is_plain:
            return self._plain_heads[form.name]
        return self._head if stream is None else self._stream_head

    def _adapt(self, dialect: Dialect, report: ErrorReport) -> bool:
        """Return whether a request of `dialect` that was refused with `report` can be sent in another form.

        All later requests have that form.
        """
        adaptation = dialect.adapted(report)
        if adaptation is None:
            return False
        if self._dialect is dialect:  # otherwise a concurrent request was refused first
            self._dialect = adaptation.dialect
            self._forms = self._prepared(self._dialect)
            _log.warning(
                "endpoint %s refuses %s; requests now have what it takes. To avoid the refusal set "
                "llm.endpoints.%s.%s",
                *(self.name, adaptation.refused, self.name, adaptation.setting),
            )
        return True

    def _prepared(self, dialect: Dialect) -> dict[str, PreparedForm]:
        return {name: dialect.prepare(dialect.asked(form)) for name, form in self._given.items()}

    def _stream(self, on_streamed: OnStreamed | None, started: float) -> AnswerStream:
        clock = asyncio.get_running_loop().time
        return AnswerStream(self._dialect, on_streamed, clock, started, self._max_answer_bytes)

    def _flaw(self, broken: Exception) -> str:
        """Return why an answer cannot be read, with a remedy if it is too large."""
        remedy = f"; raise llm.endpoints.{self.name}.max_answer_bytes"
        return f"{broken}{remedy if isinstance(broken, TooLargeError) else ''}"

    def _bound(self, status: int) -> int:
        return self._max_answer_bytes if _is_success(status) else _ERROR_BODY_BYTES

    def _streamed(
        self, exchange: Exchange, streamed: StreamReader, flaw: str | None, form: AnswerForm
    ) -> _End:
        if streamed.has_failed:
            flaw = None  # the error explains why the stream ended
        elif flaw is None and not streamed.has_usage:
            self._streams = False  # without usage only estimates could be charged to the budget
        end = self._answered(exchange, streamed.answer(form), flaw, form)
        return replace(end, streamed=streamed.streamed, is_page=False)  # a stream is no web page

    def _answered(
        self, exchange: Exchange | LibraryAnswer, completion: ParsedAnswer, flaw: str | None, form: AnswerForm
    ) -> _End:
        if completion.error is not None:
            return self._reported(exchange, completion.error, form)
        status, headers = exchange.status, self._dialect.rate_headers(exchange.headers)
        replayed = _REPLAYED in exchange.headers
        if flaw is not None:
            error = from_unusable(f"the body cannot be read: {flaw}", hide=self._hide)
            return _End(status, error=error, headers=headers, replayed=replayed, unmetered=True)
        if isinstance(completion.found, AnswerProblem) and not completion.is_completion:
            error = from_no_completion(completion.found.text, hide=self._hide)
            is_page = not exchange.body.lstrip().startswith(b"{")
            return _End(status, error=error, headers=headers, replayed=replayed, is_page=is_page)
        usage, unmetered = self._usage(completion.tokens, form), not completion.tokens.is_complete
        end = _End(status, usage=usage, headers=headers, replayed=replayed, unmetered=unmetered)
        if not isinstance(completion.found, AnswerProblem):
            return replace(end, values=completion.found)
        correction = None
        if completion.content and not completion.found.is_final:
            correction = Correction(completion.content[:_CORRECTED_CHARACTERS], completion.found.text)
        found = completion.found
        error = from_unusable(found.remedy or found.text, hide=self._hide)
        return replace(end, error=error, correction=correction, is_final=found.is_final)

    def _failed(self, exchange: Exchange | LibraryAnswer, form: AnswerForm) -> _End:
        headers, body = exchange.headers, bytes(exchange.body)
        report = self._dialect.error(exchange.status, headers, body, self._wall_clock())
        return self._reported(exchange, report, form)

    def _reported(self, exchange: Exchange | LibraryAnswer, report: ErrorReport, form: AnswerForm) -> _End:
        site = self._plain_sites.get(form.name, self._site)
        error, refusal = from_report(report, hide=self._hide, site=site)
        headers = self._dialect.rate_headers(exchange.headers)
        return _End(report.status, error=error, refusal=refusal, headers=headers, report=report)

    def _unauthorized(self, failure: Failure) -> Failure:
        return replace(failure, message=f"endpoint {self.name}: {self._hide(failure.message)}")

    def _usage(self, counts: TokenCounts, form: AnswerForm) -> Usage:
        if not counts.is_complete and not self._warned_of_usage:
            self._warned_of_usage = True
            _log.warning(
                "endpoint %s does not report usage; the estimate of each answer is charged", self.name
            )
        return self._prices[form.name].usage(counts)

    def _defect(self, error: Exception, attempt: Attempt) -> Failure:
        text, failure = from_defect(error, hide=self._hide)
        _log.error("endpoint %s: a defect ended a call for %s\n%s", self.name, attempt.call_key, text)
        return failure

    def _hide(self, text: str) -> str:
        """Return `text` without the key and other secrets."""
        if self._credentials is not None:
            secrets = {*_SENT.get(), *self._credentials.secrets()}
            text = Censor((secret, HIDDEN) for secret in secrets)(text)
        return self._censor(text)


# ---- parts -----------------------------------------------------------------------------------------------


class _End(Struct, frozen=True):
    """The result of one request. `status` is 0 if none arrived. `report`: the error of the endpoint."""

    status: int = 0
    values: Values | None = None
    error: Failure | None = None
    usage: Usage = _NO_USAGE
    correction: Correction | None = None
    refusal: Refusal | None = None
    headers: RateHeaders | None = None
    replayed: bool = False
    streamed: int = 0
    unmetered: bool = False
    sent: bool = True
    is_page: bool = False
    is_final: bool = False
    report: ErrorReport | None = None


def _is_answer(broken: Exception, stream: AnswerStream | None) -> bool:
    """Return whether a 2xx response that ended with an error is still an answer, which may be flawed."""
    if stream is not None and stream.is_read:
        reader = stream.reader
        # Once all data has arrived, an error of the connection no longer matters.
        has_all = reader.is_done or (reader.is_whole and reader.has_usage)
        return isinstance(broken, TooLargeError) or has_all
    return isinstance(broken, Http1Error)


def _is_success(status: int) -> bool:
    return 200 <= status < 300


def _refused_to_stream(end: _End) -> bool:
    """Return whether a request was probably rejected because it asked for a stream."""
    if end.status not in _NO_SUCH_OPTION or end.error is None:
        return end.status in _WILL_NOT_STREAM
    return "stream" in end.error.message or end.error.message == f"HTTP {end.status}"


def _is_key_conflict(end: _End) -> bool:
    """Return whether the request was rejected because its key was used before, perhaps with another body."""
    return end.status in _ANOTHER_BODY and end.error is not None and "idempoten" in end.error.message.lower()
