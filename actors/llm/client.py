"""The LLM client actor: makes requests within its share of each endpoint's limit, and validates answers.

A run can have many clients. So all work for each call that needs no view of the whole is done here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from actors.core.censor import NO_SECRETS, Censor
from actors.core.errors import Blame, Failure, FailureKind, HeadraceError, PeerLostError
from actors.core.messages.attempts import (
    Abort,
    Adopt,
    Attempt,
    AttemptEnded,
    Held,
    SetShare,
    TakeOver,
    WatchStreams,
)
from actors.core.messages.journal import Answer, Cleared
from actors.core.messages.protocols import FromJournal, ToJournal
from actors.core.messages.values import Done
from actors.core.queue.slot_queue import SlotQueue, SlotStatistics
from actors.llm.call_recorder import CallRecorder, not_cleared
from actors.llm.dialects.registry import open_endpoint
from actors.llm.endpoint import EndpointSettings
from actors.llm.forms import AnswerForm
from actors.llm.progress_watch import ProgressWatch
from actors.llm.requests.attachments import DEFAULT_ATTACHMENTS, AttachmentReader, AttachmentSettings
from actors.llm.translate import from_defect
from actors.runtime.log_guard import guard_logs
from actors.runtime.telemetry.logs import log_about
from actors.runtime.telemetry.tracer import Tracer
from actors.transport.address import Address
from actors.transport.inbox import Inbox, Reply
from actors.transport.linger import AdaptiveLinger

_log = logging.getLogger(__name__)


class LLMClientStatistics(Struct, frozen=True):
    """A snapshot of a client. `queues`: the slots of each endpoint."""

    name: str
    queues: Mapping[str, SlotStatistics]
    ended: int


class _QueuedAttempt(Struct):
    """An attempt that has not ended, or whose outcome is not stored yet."""

    attempt: Attempt
    at: float
    reply: Reply
    clearance: asyncio.Future[Cleared | Answer | Done]


class LLMClient:
    """Answers `Attempt` and `Adopt` with `AttemptEnded`, and `SetShare` and `Abort` with `Done`.

    Answers `TakeOver`, which a dispatcher sends at its start, with a tuple of `Held`. Answers `WatchStreams`
    with `StreamProgress` as soon as there is any.
    """

    def __init__(
        self,
        name: str,
        endpoints: Iterable[EndpointSettings],
        forms: Iterable[AnswerForm],
        timeout_s: float,
        journal: Address[ToJournal, FromJournal] | None = None,
        *,
        censor: Censor = NO_SECRETS,
        attachments: AttachmentSettings = DEFAULT_ATTACHMENTS,
        tracer: Tracer | None = None,
    ) -> None:
        guard_logs(censor)
        self._tracer = tracer
        by_name = {form.name: form for form in forms}
        endpoints = tuple(endpoints)
        self._attachments = AttachmentReader(attachments)
        self._name = name
        self._censor = censor
        self._endpoints = {
            settings.name: open_endpoint(settings, by_name, censor, self._attachments)
            for settings in endpoints
        }
        self._queues = {endpoint: SlotQueue[Attempt]() for endpoint in self._endpoints}
        self._timeout_s = timeout_s
        self._offered: dict[int, _QueuedAttempt] = {}
        self._running: dict[int, asyncio.Task[AttemptEnded]] = {}
        self._progress = ProgressWatch()
        self._kept: dict[int, AttemptEnded] = {}  # outcomes that the restarted dispatcher has not adopted yet
        self._linger = AdaptiveLinger()
        self._recorder = CallRecorder(journal, self._linger, {one.name: one.model for one in endpoints})
        self._ended = 0
        self._closing = False
        self._leaving: asyncio.Future[None] | None = None  # done once no attempt is left
        self.inbox = Inbox(self._on_item, linger=self._linger)

    def statistics(self) -> LLMClientStatistics:
        """Return a frozen snapshot."""
        queues = {endpoint: queue.statistics() for endpoint, queue in self._queues.items()}
        return LLMClientStatistics(self._name, queues, self._ended)

    async def leave(self) -> None:
        """Hand the shares back, and return once no attempt is left. The host of the client is about to stop.

        The dispatcher gives the attempts that wait here to other clients.
        """
        if self._leaving is None:
            self._leaving = asyncio.get_running_loop().create_future()
            self._progress.leave()
            for queue in self._queues.values():
                queue.set_slots(0)
            for offered in self._withdrawn():
                self._turn_away(offered.reply)
            self._check_left()
        await asyncio.shield(self._leaving)

    async def close(self) -> None:
        """Abort all attempts without reporting them, and close all connections."""
        self._closing = True
        self._progress.close()
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._recorder.close()
        for endpoint in self._endpoints.values():
            await endpoint.close()
        self._attachments.close()

    def __repr__(self) -> str:
        return f"{self._name}({', '.join(self._queues)})"  # no counts: see `Dispatcher`

    def _on_item(
        self, item: Attempt | SetShare | Abort | TakeOver | Adopt | WatchStreams, reply: Reply
    ) -> None:
        match item:
            case Attempt() if self._leaving is not None:
                self._turn_away(reply)
            case Attempt():
                clearance = self._recorder.intend(item)
                self._offered[item.id] = _QueuedAttempt(item, time.monotonic(), reply, clearance)
                self._start(self._queues[item.endpoint].offer(item.id, item, first=item.first))
            case SetShare(endpoint, slots, reserved):
                if self._leaving is None:
                    self._start(self._queues[endpoint].set_slots(slots, reserved))
                reply(Done())
            case Abort(ids):
                for attempt_id in ids:
                    self._abort(attempt_id)
                reply(Done())
            case TakeOver():
                reply(self._hand_over())
            case Adopt(attempt_id):
                self._adopt(attempt_id, reply)
            case WatchStreams():
                self._progress.watch(reply)

    def _start(self, attempts: list[Attempt]) -> None:
        if self._closing:
            return  # the connections are closed
        for attempt in attempts:
            running = asyncio.create_task(self._run(attempt))
            self._running[attempt.id] = running
            running.add_done_callback(partial(self._on_done, attempt))

    async def _run(self, attempt: Attempt) -> AttemptEnded:
        log_about(attempt.task, attempt.call_key)
        offered = self._offered[attempt.id]
        started = None
        try:
            known = await offered.clearance
            if isinstance(known, Answer):
                return AttemptEnded(attempt.id, known.values, reused=True)
            started = time.monotonic()
            on_streamed = partial(self._progress.note, attempt.id) if attempt.stream else None
            return await self._endpoints[attempt.endpoint].attempt(
                attempt, self._timeout_s, on_streamed, waited_s=started - offered.at
            )
        except (HeadraceError, SystemExit) as error:  # SystemExit would end the event loop
            if started is None and isinstance(error, HeadraceError):
                return not_cleared(attempt, error)
            return self._raised(attempt, error)
        except asyncio.CancelledError:
            if started is None:
                return _aborted_unsent(attempt.id)
            took_s = time.monotonic() - started
            return AttemptEnded(attempt.id, error=_aborted(), waited_s=started - offered.at, took_s=took_s)

    def _on_done(self, attempt: Attempt, running: asyncio.Task[AttemptEnded]) -> None:
        del self._running[attempt.id]
        outcome = self._outcome(attempt, running)
        refused = outcome.error is not None and outcome.error.kind is FailureKind.REFUSED
        self._end(attempt, outcome, urgent=refused)
        self._start(self._queues[attempt.endpoint].end(attempt.id, refused=refused))

    def _outcome(self, attempt: Attempt, running: asyncio.Task[AttemptEnded]) -> AttemptEnded:
        """Return the end of an attempt. Whatever an endpoint does, its attempt ends and frees its slot."""
        if running.cancelled():
            return _aborted_unsent(attempt.id)  # before its first step, a task has run no line of `_run`
        error = running.exception()
        if error is not None:
            return self._raised(attempt, error)
        ended = running.result()
        if isinstance(ended, AttemptEnded) and ended.id == attempt.id:
            return ended
        return self._raised(attempt, TypeError(f"an attempt ended with {type(ended).__name__}"))

    def _raised(self, attempt: Attempt, error: BaseException) -> AttemptEnded:
        """Return the end of an attempt whose endpoint raised `error`. The request may have been sent."""
        if isinstance(error, HeadraceError):
            failure = error.failure()
            return AttemptEnded(attempt.id, error=replace(failure, message=self._censor(failure.message)))
        text, failure = from_defect(error, hide=self._censor)
        _log.error("endpoint %s: a defect ended a call for %s\n%s", attempt.endpoint, attempt.call_key, text)
        return AttemptEnded(attempt.id, error=failure)

    def _end(self, attempt: Attempt, outcome: AttemptEnded, *, urgent: bool = False) -> None:
        """Store the outcome, then report it. The slot is already free."""
        self._ended += 1
        self._linger.on_ended(outcome)
        self._progress.forget(outcome.id)
        if self._tracer is not None:
            self._tracer.attempt_ended(attempt, outcome)
        if outcome.reused:
            self._report(outcome, urgent=False)  # the journal has the answer
            return
        stored = self._recorder.record(attempt, outcome, urgent=urgent)
        if stored.done():
            self._report(stored.result(), urgent=urgent)
        else:
            stored.add_done_callback(lambda stored: self._report(stored.result(), urgent=urgent))

    def _report(self, outcome: AttemptEnded, *, urgent: bool) -> None:
        offered = self._offered.pop(outcome.id, None)
        # While the client closes, the outcomes are those of aborted requests. Reported, they would end tasks
        # as partial that are resumed later.
        if offered is not None and not self._closing:
            offered.reply(outcome, urgent=urgent)
        self._check_left()

    def _turn_away(self, reply: Reply) -> None:
        reply(PeerLostError(self._name, False, "its host is about to stop"), urgent=True)

    def _check_left(self) -> None:
        if self._leaving is not None and not self._leaving.done() and not self._offered:
            self._leaving.set_result(None)

    # ---- restart of the dispatcher -----------------------------------------------------------------------

    def _hand_over(self) -> tuple[Held, ...]:
        """Drop waiting attempts, keep the outcomes of the others for the new dispatcher, and return those."""
        self._kept.clear()
        self._withdrawn()
        if self._leaving is not None:
            self._progress.leave()  # the new dispatcher does not know it
        for offered in self._offered.values():
            offered.reply = self._keep
        attempts = [offered.attempt for offered in self._offered.values()]
        return tuple(
            Held(it.id, it.call_key, it.endpoint, it.number, it.estimate, it.task, it.run_id)
            for it in attempts
        )

    def _withdrawn(self) -> list[_QueuedAttempt]:
        """Take the attempts that wait out of the queues, and return them. None of them was sent."""
        waiting = [attempt for queue in self._queues.values() for attempt in queue.withdraw_all()]
        for attempt in waiting:
            self._recorder.record(attempt, _aborted_unsent(attempt.id), urgent=False)
        return [self._offered.pop(attempt.id) for attempt in waiting]

    def _keep(self, value: AttemptEnded, *, urgent: bool = False) -> None:  # noqa: ARG002 - it is a Reply
        self._kept[value.id] = value

    def _adopt(self, attempt_id: int, reply: Reply) -> None:
        offered = self._offered.get(attempt_id)
        if offered is not None:
            offered.reply = reply
            return
        unknown = Failure(FailureKind.IN_DOUBT, Blame.CLUSTER, f"{self._name} does not know this attempt")
        reply(self._kept.pop(attempt_id, AttemptEnded(attempt_id, error=unknown)))

    def _abort(self, attempt_id: int) -> None:
        running = self._running.get(attempt_id)
        if running is not None:
            running.cancel()
            return
        for queue in self._queues.values():
            attempt = queue.withdraw(attempt_id)
            if attempt is not None:
                self._end(attempt, _aborted_unsent(attempt_id))


def _aborted() -> Failure:
    return Failure(FailureKind.CANCELLED, Blame.TASK, "the attempt was aborted")


def _aborted_unsent(attempt_id: int) -> AttemptEnded:
    return AttemptEnded(attempt_id, error=_aborted(), sent=False)
