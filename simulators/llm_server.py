"""A simulated language-model endpoint: slow, bounded and faulty by configuration, exact in its ledger.

A request is numbered (`_enter`), admitted or refused (`_answer`), worked on (`_work`), delivered (`_deliver`)
and entered in the ledger (`_leave`).

Rule 1: every request leaves exactly one entry in the ledger.
Rule 2: work that has begun is finished and billed even if the client has left, as providers do.
Rule 3: answers depend on the seed and the question, faults and latency on the seed, the key and the attempt.
Rule 4: load tests call this, so a request does no work that its answer does not need.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

import orjson
from aiohttp import web

from simulators.answers import SchemaError
from simulators.capacity import EndpointCapacity, Refused
from simulators.chance import lognormal, uniforms
from simulators.dialects.chat import models
from simulators.dialects.dialect import BadQuestionError, ModelReply, Question, SimulatedDialect
from simulators.dialects.registry import CHAT, dialect_at
from simulators.faults import FaultKind, FaultRule, Moment, choose, promised_wait_s, render_retry_after
from simulators.ledger import LedgerEntry, LedgerWriter, Phase
from simulators.llm_model import LlmServerSettings, LlmServerSettingsError, change, reply_to
from simulators.serving import SimulatorRequest

_HTML: Final = b"<!doctype html><title>502 Bad Gateway</title><h1>Bad Gateway</h1>"
_JSON: Final = "application/json"
_HANG_S: Final = 600.0
_EARLY_S: Final = 0.005  # a retry this much before its time is no violation


@dataclass(slots=True)
class _InProgress:
    """A request in progress. The fields from `phase` on change as it proceeds."""

    dialect: SimulatedDialect
    request: SimulatorRequest
    body: bytes
    key: str
    idempotent: bool
    attempt: int
    digest: str
    arrived: float
    latency_s: float
    fault: FaultRule | None
    early: bool
    in_flight: int
    phase: Phase = Phase.RECEIVED
    status: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    billed: int = 0
    retry_after: str | None = None
    stream: web.StreamResponse | None = None  # set when a part of the answer was sent

    def meets(self, moment: Moment) -> FaultRule | None:
        """Return the fault of this attempt if it strikes at `moment`."""
        return self.fault if self.fault is not None and self.fault.moment is moment else None


class LlmServer:
    """One endpoint. `handle` answers every request; all state belongs to one event loop.

    Memory: about 200 bytes for each key ever seen, to count its attempts; the answers that the setting
    `remember` allows; and, for each refused key, the time before which it should not return.
    """

    def __init__(self, settings: LlmServerSettings, ledger: LedgerWriter) -> None:
        self._settings = settings
        self._ledger = ledger
        self._started = time.monotonic()
        self._epoch = time.time() - self._started  # monotonic time + this = wall time that never jumps
        self._capacity = EndpointCapacity(settings, self._started)
        self._turns: deque[asyncio.Future[None]] = deque()
        self._attempts: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._under_way: dict[str, tuple[str, asyncio.Future[bytes]]] = {}
        self._answers: dict[str, tuple[str, bytes]] = {}

    async def handle(self, request: SimulatorRequest) -> web.StreamResponse:
        """Answer `request`."""
        method, path = request.method, request.rel_url.raw_path
        if (dialect := dialect_at(method, path)) is not None:
            return await self._ask(dialect, request)
        match method, path:
            case "GET", "/v1/models":
                return _json(200, models(self._settings.model))
            case ("GET", "/stats") | ("POST", "/flush" | "/control"):
                if reason := request.foreign():
                    return _error(403, "forbidden", reason)
                return await self._administer(request, path)
            case _:
                return _error(404, "not_found", f"there is no {method} {path}")

    # ---- one request -------------------------------------------------------------------------------------

    async def _ask(self, dialect: SimulatedDialect, request: SimulatorRequest) -> web.StreamResponse:
        visit = self._enter(dialect, request, await request.read())
        try:
            return await self._answer(visit)
        except (BadQuestionError, SchemaError) as error:
            visit.fault = None
            return await self._refuse(visit, 400, "invalid_request_error", str(error))
        except Exception:
            visit.status = 500  # aiohttp sends it and logs the traceback
            raise
        finally:
            self._leave(visit)

    def _enter(self, dialect: SimulatedDialect, request: SimulatorRequest, body: bytes) -> _InProgress:
        now = time.monotonic()
        settings = self._settings
        digest = hashlib.sha256(body).hexdigest()
        named = request.headers.get("Idempotency-Key")
        key = named or digest
        attempt = self._attempts[key] = self._attempts.get(key, 0) + 1
        luck, speed, _, _ = uniforms(settings.seed, key, attempt)
        not_before = self._not_before.pop(key, None)
        return _InProgress(
            dialect=dialect,
            request=request,
            body=body,
            key=key,
            idempotent=named is not None and settings.idempotency,
            attempt=attempt,
            digest=digest,
            arrived=now,
            latency_s=lognormal(settings.latency_s, settings.sigma, speed),
            fault=choose(settings.faults, luck, attempt, now - self._started),
            early=not_before is not None and now < not_before - _EARLY_S,
            in_flight=self._capacity.in_flight,
        )

    async def _answer(self, visit: _InProgress) -> web.StreamResponse:
        """Refuse, replay or work. Raises `BadQuestionError` and `SchemaError` if no answer is possible."""
        request = visit.request
        question = visit.dialect.parse(request.rel_url.raw_path, request.headers, visit.body)
        fault = visit.meets(Moment.BEFORE)
        if fault is not None and fault.kind is FaultKind.STATUS:
            header = fault.retry_after
            if header is not None:
                header = render_retry_after(header, self._epoch + time.monotonic())
            return await self._refuse(visit, fault.status, None, "a planned fault", header)
        if fault is not None and fault.kind is FaultKind.RESET:
            return visit.request.reset()
        if visit.idempotent and fault is None:
            earlier = self._under_way.get(visit.key) or self._answers.get(visit.key)
            if earlier is not None:
                return await self._replay(visit, question, *earlier)
        reply = reply_to(
            question, self._settings, visit.key, int(self._epoch + visit.arrived), visit.meets(Moment.ANSWER)
        )
        reserved = question.input_tokens + (question.max_tokens or self._settings.output_tokens)
        admission = self._capacity.admit(reserved, visit.arrived)
        if isinstance(admission, Refused):
            return await self._turn_away(visit, admission)
        visit.in_flight = self._capacity.in_flight
        visit.phase = Phase.STARTED
        if fault is not None:
            return await self._hang(visit, reserved, starts=admission.starts)
        payload = await self._work(visit, question, reply, reserved, starts=admission.starts)
        return await self._deliver(visit, question, payload, Phase.SENT)

    def _leave(self, visit: _InProgress) -> None:
        self._ledger.append(
            LedgerEntry(
                seq=self._ledger.sums.requests + 1,
                t_in=round(self._epoch + visit.arrived, 6),
                t_out=round(self._epoch + time.monotonic(), 6),
                key=visit.key,
                attempt=visit.attempt,
                phase=visit.phase,
                status=visit.status,
                fault=None if visit.fault is None else visit.fault.kind.value,
                input_tokens=visit.input_tokens,
                output_tokens=visit.output_tokens,
                billed=visit.billed,
                in_flight=visit.in_flight,
                retry_after=visit.retry_after,
                not_before_violated=visit.early,
                body=visit.digest[:16],
                cached_tokens=visit.cached_tokens,
                reasoning_tokens=visit.reasoning_tokens,
            )
        )

    # ---- admission and work ------------------------------------------------------------------------------

    async def _turn_away(self, visit: _InProgress, refused: Refused) -> web.StreamResponse:
        wait_s = refused.retry_after_s
        configured = self._capacity.limits.retry_after_s
        kind: str | None = str(refused.reason)
        header = None
        if wait_s is None:
            message = "the request is larger than the rate allows at any time"
        elif not self._settings.rate_headers:
            kind, message, header = None, "too many requests", f"{configured:g}"
        else:
            # The wait of a rate is rounded up to whole seconds, as real endpoints do.
            header = f"{configured:g}" if wait_s == configured else str(math.ceil(wait_s))
            message = f"limit on {refused.reason} reached"
        return await self._refuse(visit, 429, kind, message, header)

    async def _turn(self, *, starts: bool) -> None:
        """Wait until an admitted request may start."""
        if not starts:
            turn = asyncio.get_running_loop().create_future()
            self._turns.append(turn)
            await turn

    def _start(self, count: int) -> None:
        for _ in range(count):
            turn = self._turns.popleft()
            if not turn.done():  # done if it was cancelled: the process is ending
                turn.set_result(None)

    async def _hang(self, visit: _InProgress, reserved: int, *, starts: bool) -> web.StreamResponse:
        await self._turn(starts=starts)
        try:
            await visit.request.departed(_HANG_S)
        finally:
            self._start(self._capacity.finish(reserved, 0, time.monotonic()))
        return visit.request.reset()

    async def _work(
        self,
        visit: _InProgress,
        question: Question,
        reply: ModelReply,
        reserved: int,
        *,
        starts: bool,
    ) -> bytes:
        """Wait for the time that the answer takes, bill it, and return its bytes."""
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        if visit.idempotent:
            self._under_way[visit.key] = visit.digest, answered
        try:
            await self._turn(starts=starts)
            try:
                slow = visit.meets(Moment.DURING)
                more_s = slow.seconds if slow is not None else 0.0
                if question.stream:
                    payload = await self._stream(visit, question, reply, more_s)
                else:
                    await asyncio.sleep(visit.latency_s * self._capacity.slow_down() + more_s)
                    payload = visit.dialect.completion(question, reply)
                visit.billed = 1
                visit.input_tokens = question.input_tokens
                visit.output_tokens = reply.output_tokens
                visit.cached_tokens = reply.cached_tokens
                visit.reasoning_tokens = reply.reasoning_tokens
            finally:
                used = visit.input_tokens + visit.output_tokens
                self._start(self._capacity.finish(reserved, used, time.monotonic()))
            answered.set_result(payload)
            if visit.idempotent:
                self._remember(visit, payload)
            return payload
        finally:
            answered.cancel()  # no effect once it has a result
            if visit.idempotent:
                del self._under_way[visit.key]

    async def _stream(
        self, visit: _InProgress, question: Question, reply: ModelReply, more_s: float
    ) -> bytes:
        """Work in steps whose length follows the load, and send an event after each step but the last."""
        dialect = visit.dialect
        pieces = dialect.events(question, reply)
        whole_later = visit.meets(Moment.DELIVERY) is not None
        for piece in pieces:
            await asyncio.sleep((visit.latency_s * self._capacity.slow_down() + more_s) / len(pieces))
            if whole_later:
                continue
            try:
                if visit.stream is None:
                    visit.stream = web.StreamResponse(headers=self._headers(dialect, dialect.stream_type))
                    await visit.stream.prepare(visit.request)
                await visit.stream.write(piece)
            except ConnectionError:
                continue  # the client has left: `_deliver` notes that, and the work goes on (rule 2)
        return b"".join(pieces) + dialect.end

    # ---- repeated keys -----------------------------------------------------------------------------------

    async def _replay(
        self, visit: _InProgress, question: Question, digest: str, answer: bytes | asyncio.Future[bytes]
    ) -> web.StreamResponse:
        if digest != visit.digest:
            message = "this Idempotency-Key was used with another body"
            return await self._refuse(visit, 422, "idempotency_error", message)
        visit.phase = Phase.STARTED
        visit.fault = visit.meets(Moment.DELIVERY)  # other faults need work to strike
        payload = answer if isinstance(answer, bytes) else await answer
        return await self._deliver(visit, question, payload, Phase.REPLAYED)

    def _remember(self, visit: _InProgress, payload: bytes) -> None:
        self._answers[visit.key] = visit.digest, payload
        while len(self._answers) > self._settings.remember:
            del self._answers[next(iter(self._answers))]

    # ---- sending -----------------------------------------------------------------------------------------

    async def _deliver(
        self, visit: _InProgress, question: Question, payload: bytes, phase: Phase
    ) -> web.StreamResponse:
        """Send the answer, or what its fault makes of it."""
        fault = visit.meets(Moment.DELIVERY)
        dialect = visit.dialect
        headers = self._headers(dialect, dialect.stream_type if question.stream else _JSON)
        match fault and fault.kind:
            case FaultKind.LATE if fault is not None:
                await asyncio.sleep(fault.seconds)
            case FaultKind.RESET_AFTER:
                visit.phase = phase if phase is Phase.REPLAYED else Phase.FINISHED
                return visit.request.reset()
            case FaultKind.NOT_JSON:
                headers["Content-Type"] = "text/plain"
                payload = b"upstream connect error or disconnect before headers"
            case FaultKind.HTML:
                headers["Content-Type"] = "text/html"
                payload = _HTML
            case FaultKind.EMPTY:
                payload = b""
            case FaultKind.TRUNCATED:
                payload = payload[: len(payload) // 2]
            case FaultKind.HUGE if fault is not None:
                payload = _huge(dialect, fault.size)
        if phase is Phase.REPLAYED:
            headers["Idempotent-Replayed"] = "true"
        if visit.stream is not None:
            return await _send(visit, visit.stream, phase, dialect.end)
        return await _send(visit, web.Response(headers=headers, body=payload), phase)

    async def _refuse(
        self, visit: _InProgress, status: int, kind: str | None, message: str, retry_after: str | None = None
    ) -> web.StreamResponse:
        if visit.fault is not None and visit.fault.kind is not FaultKind.STATUS:
            visit.fault = None  # the planned fault did not strike, and the ledger records what happened
        body, more = visit.dialect.error(status, kind, message, retry_after)
        headers = self._headers(visit.dialect, _JSON) | more
        if retry_after is not None:
            visit.retry_after = retry_after
            now = time.monotonic()
            wait_s = promised_wait_s(retry_after, self._epoch + now)
            if wait_s is not None:
                self._not_before[visit.key] = now + wait_s
        response = web.Response(status=status, headers=headers, body=body)
        return await _send(visit, response, Phase.REFUSED)

    def _headers(self, dialect: SimulatedDialect, content_type: str) -> dict[str, str]:
        headers = {"Content-Type": content_type}
        if self._settings.rate_headers:
            now = time.monotonic()
            headers |= dialect.rate_headers(self._capacity.rates(now), self._epoch + now)
        return headers

    # ---- administration ----------------------------------------------------------------------------------

    async def _administer(self, request: SimulatorRequest, path: str) -> web.StreamResponse:
        if path == "/flush":
            self._ledger.flush()
        elif path == "/control":
            try:
                settings = change(self._settings, await request.read())
            except LlmServerSettingsError as error:
                return _error(400, "invalid_request_error", str(error))
            self._settings = settings
            self._start(self._capacity.change(settings, time.monotonic()))
        statistics = {
            **self._ledger.sums.as_dict(),
            "in_flight": self._capacity.in_flight,
            "uptime_s": round(time.monotonic() - self._started, 3),
        }
        return _json(200, orjson.dumps(statistics))


def _json(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, headers={"Content-Type": _JSON}, body=body)


def _error(status: int, kind: str, message: str) -> web.Response:
    body, _ = CHAT.error(status, kind, message, None)
    return _json(status, body)


@functools.lru_cache(maxsize=1)
def _huge(dialect: SimulatedDialect, size: int) -> bytes:
    """Return a sound answer of more than `size` bytes. All requests share the last one."""
    question = Question((), "", "", 0, None, None, stream=False)
    reply = ModelReply("huge", "huge", 0, "x" * size, False, 0, 0, 0, 0, False)
    return dialect.completion(question, reply)


async def _send(
    visit: _InProgress, response: web.StreamResponse, phase: Phase, last: bytes = b""
) -> web.StreamResponse:
    """Send `response`, or the rest of it, and note how far that came."""
    try:
        await response.prepare(visit.request)
        await response.write_eof(last)
    except ConnectionError:
        visit.phase = Phase.CLIENT_GONE
        return response
    # A client that leaves while the response waits for room in the send buffer raises nothing.
    visit.phase = phase if visit.request.transport is not None else Phase.CLIENT_GONE
    visit.status = response.status if visit.phase is phase else 0
    return response
