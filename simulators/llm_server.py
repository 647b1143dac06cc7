"""A language-model endpoint that is not one: slow, bounded and faulty on purpose, and exact in its books.

The way of a request: numbered (`_enter`), let in or refused (`_answer`), worked on (`_work`), delivered
(`_deliver`), entered in the ledger (`_leave`).

Rule 1: whatever happens, a request leaves exactly one entry in the ledger.
Rule 2: work that began goes to its end and is billed, also when the client has left, as providers do.
Rule 3: an answer depends on the seed and the question alone; luck, on the seed, the key and the attempt.
Rule 4: this is the target of load tests, so what is done per request is what the answer needs, no more.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import deque
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from simulators import wire
from simulators.answers import SchemaError
from simulators.capacity import Capacity, Refused
from simulators.chance import lognormal, uniforms
from simulators.faults import FaultKind, Moment, Rule, choose, promised_wait_s, render_retry_after
from simulators.http_server import Request
from simulators.ledger import Entry, LedgerWriter, Phase
from simulators.llm_model import Settings, SettingsError, change, reply_to

_EVENTS: Final = {"Content-Type": "text/event-stream"}
_HTML: Final = b"<!doctype html><title>502 Bad Gateway</title><h1>Bad Gateway</h1>"
_JSON: Final = {"Content-Type": "application/json"}
_HANG_S: Final = 600.0
_EARLY_S: Final = 0.005  # how much before its time a retry may come and still be no violation


@dataclass(slots=True)
class _Visit:
    """One request, as it goes. The fields from `phase` on are filled while it does."""

    request: Request
    key: str
    idempotent: bool
    attempt: int
    digest: str
    arrived: float
    latency_s: float
    fault: Rule | None
    early: bool
    in_flight: int
    phase: Phase = Phase.RECEIVED
    status: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    billed: int = 0
    retry_after: str | None = None
    streams: bool = False  # a part of its answer was sent

    def meets(self, moment: Moment) -> Rule | None:
        """Return the fault of this attempt where it strikes at `moment`."""
        return self.fault if self.fault is not None and self.fault.moment is moment else None


class LlmServer:
    """One endpoint. `handle` answers every request; all state lives on one event loop.

    Memory: the attempts of every key ever seen are counted (about 200 bytes each); answers are kept for
    repeated keys up to `Settings.remember`, and the wait that a refused key was told until it comes again.
    """

    def __init__(self, settings: Settings, ledger: LedgerWriter) -> None:
        self._settings = settings
        self._ledger = ledger
        self._started = time.monotonic()
        self._epoch = time.time() - self._started  # monotonic time + this = wall time that never jumps
        self._capacity = Capacity(settings.limits, self._started)
        self._turns: deque[asyncio.Future[None]] = deque()
        self._attempts: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._under_way: dict[str, tuple[str, asyncio.Future[bytes]]] = {}
        self._answers: dict[str, tuple[str, bytes]] = {}

    async def handle(self, request: Request) -> None:
        """Answer `request`, whatever it is."""
        match request.method, request.target:
            case "POST", "/v1/chat/completions":
                await self._chat(request)
            case "GET", "/v1/models":
                await request.send(200, _JSON, wire.models(self._settings.model))
            case "GET", "/stats":
                await request.send(200, _JSON, self._statistics())
            case "POST", "/flush":
                self._ledger.flush()
                await request.send(200, _JSON, self._statistics())
            case "POST", "/control":
                await request.send(*self._control(request.body))
            case method, target:
                await request.send(404, _JSON, wire.error("not_found", f"there is no {method} {target}"))

    # ---- the way of a request ----------------------------------------------------------------------------

    async def _chat(self, request: Request) -> None:
        visit = self._enter(request)
        try:
            await self._answer(visit)
        except (wire.BadQuestionError, SchemaError) as error:
            visit.fault = None
            await self._refuse(visit, 400, "invalid_request_error", str(error))
        except Exception:
            visit.status = 500  # what the server makes of it, with the traceback on stderr
            raise
        finally:
            self._leave(visit)

    def _enter(self, request: Request) -> _Visit:
        now = time.monotonic()
        settings = self._settings
        digest = hashlib.sha256(request.body).hexdigest()
        named = request.headers.get("idempotency-key")
        key = named or digest
        attempt = self._attempts[key] = self._attempts.get(key, 0) + 1
        luck, speed, _, _ = uniforms(settings.seed, key, attempt)
        not_before = self._not_before.pop(key, None)
        return _Visit(
            request=request,
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

    async def _answer(self, visit: _Visit) -> None:
        """Take the request through all that can happen to it.

        Raises `BadQuestionError` and `SchemaError` where it asks for what cannot be answered.
        """
        question = wire.parse_question(visit.request.body)
        fault = visit.meets(Moment.BEFORE)
        if fault is not None and fault.kind is FaultKind.STATUS:
            header = fault.retry_after
            if header is not None:
                header = render_retry_after(header, self._epoch + time.monotonic())
            kind = wire.error_type(fault.status)
            await self._refuse(visit, fault.status, kind, "a planned fault", header)
            return
        if fault is not None and fault.kind is FaultKind.RESET:
            visit.request.reset()
            return
        if visit.idempotent and fault is None:
            earlier = self._under_way.get(visit.key) or self._answers.get(visit.key)
            if earlier is not None:
                await self._replay(visit, question, *earlier)
                return
        reply = reply_to(
            question, self._settings, visit.key, int(self._epoch + visit.arrived), visit.meets(Moment.ANSWER)
        )
        reserved = question.input_tokens + (question.max_tokens or self._settings.output_tokens)
        admission = self._capacity.admit(reserved, visit.arrived)
        if isinstance(admission, Refused):
            await self._turn_away(visit, admission)
            return
        visit.in_flight = self._capacity.in_flight
        visit.phase = Phase.STARTED
        if fault is not None:
            await self._hang(visit, reserved, starts=admission.starts)
            return
        payload = await self._work(visit, question, reply, reserved, starts=admission.starts)
        await self._deliver(visit, question, payload, Phase.SENT)

    def _leave(self, visit: _Visit) -> None:
        sums = self._ledger.sums
        self._ledger.append(
            Entry(
                seq=sums.requests + 1,
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
            )
        )

    # ---- being let in, and working -----------------------------------------------------------------------

    async def _turn_away(self, visit: _Visit, refused: Refused) -> None:
        wait_s = refused.retry_after_s
        configured = self._capacity.limits.retry_after_s
        kind, header = str(refused.reason), None
        if wait_s is None:
            message = "the request is larger than the rate allows at any time"
        elif not self._settings.tells_rates:
            kind, message, header = wire.error_type(429), "too many requests", f"{configured:g}"
        else:
            # A rate knows when there is room again; the header has whole seconds, as those of real endpoints.
            header = f"{configured:g}" if wait_s == configured else str(math.ceil(wait_s))
            message = f"limit on {refused.reason} reached"
        await self._refuse(visit, 429, kind, message, header)

    async def _turn(self, *, starts: bool) -> None:
        """Wait until one that was admitted may start."""
        if not starts:
            turn = asyncio.get_running_loop().create_future()
            self._turns.append(turn)
            await turn

    def _start(self, count: int) -> None:
        for _ in range(count):
            turn = self._turns.popleft()
            if not turn.done():  # cancelled: the process is ending
                turn.set_result(None)

    async def _hang(self, visit: _Visit, reserved: int, *, starts: bool) -> None:
        await self._turn(starts=starts)
        try:
            await visit.request.departed(_HANG_S)
        finally:
            self._start(self._capacity.finish(reserved, 0, time.monotonic()))
        visit.request.reset()

    async def _work(
        self, visit: _Visit, question: wire.Question, reply: wire.Reply, reserved: int, *, starts: bool
    ) -> bytes:
        """Spend the time that the answer takes, bill it, and return its bytes."""
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
                    payload = wire.completion(reply)
                visit.billed = 1
                visit.input_tokens = question.input_tokens
                visit.output_tokens = reply.output_tokens
            finally:
                used = visit.input_tokens + visit.output_tokens
                self._start(self._capacity.finish(reserved, used, time.monotonic()))
            answered.set_result(payload)
            if visit.idempotent:
                self._remember(visit, payload)
            return payload
        finally:
            answered.cancel()  # does nothing to one that is done
            if visit.idempotent:
                del self._under_way[visit.key]

    async def _stream(
        self, visit: _Visit, question: wire.Question, reply: wire.Reply, more_s: float
    ) -> bytes:
        """Work in steps, each as slow as it is then, and send a piece after each, but for the last event."""
        pieces = wire.events(reply, include_usage=question.include_usage)
        whole_later = visit.meets(Moment.DELIVERY) is not None
        for piece in pieces:
            await asyncio.sleep((visit.latency_s * self._capacity.slow_down() + more_s) / len(pieces))
            if whole_later:
                continue
            try:
                if not visit.streams:
                    visit.streams = True
                    await visit.request.begin(200, self._headers(_EVENTS))
                await visit.request.write(piece)
            except ConnectionError:
                continue  # the client has left; `_deliver` will see it, and the work goes on (rule 2)
        return b"".join(pieces) + wire.DONE

    # ---- repeated keys -----------------------------------------------------------------------------------

    async def _replay(
        self, visit: _Visit, question: wire.Question, digest: str, answer: bytes | asyncio.Future[bytes]
    ) -> None:
        if digest != visit.digest:
            message = "this Idempotency-Key came before, with another body"
            await self._refuse(visit, 422, "idempotency_error", message)
            return
        visit.phase = Phase.STARTED
        visit.fault = visit.meets(Moment.DELIVERY)  # no other fault can strike where no work is done
        payload = answer if isinstance(answer, bytes) else await answer
        await self._deliver(visit, question, payload, Phase.REPLAYED)

    def _remember(self, visit: _Visit, payload: bytes) -> None:
        self._answers[visit.key] = visit.digest, payload
        while len(self._answers) > self._settings.remember:
            del self._answers[next(iter(self._answers))]

    # ---- sending -----------------------------------------------------------------------------------------

    async def _deliver(self, visit: _Visit, question: wire.Question, payload: bytes, phase: Phase) -> None:
        """Send the answer, or what its fault makes of it."""
        fault = visit.meets(Moment.DELIVERY)
        headers = self._headers(_EVENTS if question.stream else _JSON)
        match fault and fault.kind:
            case FaultKind.LATE if fault is not None:
                await asyncio.sleep(fault.seconds)
            case FaultKind.RESET_AFTER:
                visit.phase = phase if phase is Phase.REPLAYED else Phase.FINISHED
                visit.request.reset()
                return
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
                payload = wire.huge(fault.size)
        if phase is Phase.REPLAYED:
            headers["Idempotent-Replayed"] = "true"
        sending = visit.request.end(wire.DONE) if visit.streams else visit.request.send(200, headers, payload)
        await _send(visit, 200, sending, phase)

    async def _refuse(
        self, visit: _Visit, status: int, kind: str, message: str, retry_after: str | None = None
    ) -> None:
        if visit.fault is not None and visit.fault.kind is not FaultKind.STATUS:
            visit.fault = None  # it was planned, and did not get to strike: the ledger tells what happened
        headers = self._headers(_JSON)
        if retry_after is not None:
            headers["Retry-After"] = visit.retry_after = retry_after
            now = time.monotonic()
            wait_s = promised_wait_s(retry_after, self._epoch + now)
            if wait_s is not None:
                self._not_before[visit.key] = now + wait_s
        sending = visit.request.send(status, headers, wire.error(kind, message))
        await _send(visit, status, sending, Phase.REFUSED)

    def _headers(self, content_type: Mapping[str, str]) -> dict[str, str]:
        tells = self._settings.tells_rates
        return {**content_type, **(self._capacity.rate_headers(time.monotonic()) if tells else {})}

    # ---- looking in, and changing what it is like --------------------------------------------------------

    def _statistics(self) -> bytes:
        document = {
            **self._ledger.sums.as_dict(),
            "in_flight": self._capacity.in_flight,
            "uptime_s": round(time.monotonic() - self._started, 3),
        }
        return orjson.dumps(document)

    def _control(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        try:
            settings = change(self._settings, body)
        except SettingsError as error:
            return 400, _JSON, wire.error("invalid_request_error", str(error))
        self._settings = settings
        self._start(self._capacity.change(settings.limits, time.monotonic()))
        return 200, _JSON, self._statistics()


async def _send(visit: _Visit, status: int, sending: Awaitable[None], phase: Phase) -> None:
    """Have an answer, or the rest of one, sent, and note how far that came."""
    try:
        await sending
    except ConnectionError:
        visit.phase = Phase.CLIENT_GONE
    else:
        visit.phase = phase
        visit.status = status
