"""The dispatcher actor: a shell that passes events to `DispatchState` and carries out its instructions."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeAlias

from actors.core.dispatch.events import (
    AttemptDone,
    CallOffered,
    ClientBegan,
    ClientLeft,
    Complete,
    DrainBegan,
    Drained,
    Event,
    Instruction,
    Lost,
    Refuse,
    SpentBefore,
    Streamed,
    TaskCancelled,
    Tell,
)
from actors.core.dispatch.settings import DispatchSettings, DispatchStatistics
from actors.core.dispatch.state import DispatchState
from actors.core.errors import (
    Blame,
    Failure,
    FailureKind,
    OverloadedError,
    PeerLostError,
    text_of,
)
from actors.core.messages.attempts import (
    Adopt,
    Attempt,
    AttemptEnded,
    Held,
    StreamProgress,
    TakeOver,
    WatchStreams,
)
from actors.core.messages.calls import Call, Completion, Drain, SaveHistory
from actors.core.messages.journal import ReadSpent, Spent
from actors.core.messages.protocols import FromClient, FromJournal, ToClient, ToJournal
from actors.core.messages.tasks import Cancel
from actors.core.messages.values import Done
from actors.core.metrics.measures import (
    BACKPRESSURE,
    CALL_SECONDS,
    CALLS,
    COST,
    IN_FLIGHT,
    LIMIT,
    QUEUE_DEPTH,
    TOKENS,
    MeasureReading,
)
from actors.dispatcher.history_keeper import HistoryKeeper
from actors.dispatcher.journal_query import ask_journal
from actors.runtime.defects import end_loudly
from actors.runtime.telemetry.tracer import Tracer
from actors.transport.address import Address
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, OnRestart
from actors.transport.inbox import Inbox, Reply
from actors.transport.linger import AdaptiveLinger

_ROLL_CALL_S = 5.0  # how long to wait for the clients at the start; later answers are processed on arrival
_STALLED_CLIENT_S = 30.0  # additional wait for a silent client that may hold attempts

_Journal: TypeAlias = Address[ToJournal, FromJournal]


class Dispatcher:
    """Answers `Call` with `Completion`, and `Cancel`, `Drain` and `SaveHistory` with `Done`.

    Before it sends an attempt, it asks the clients for the attempts that they hold from before a restart. If
    there is a budget, it asks the journal what `run_id` has spent.
    """

    def __init__(
        self,
        settings: DispatchSettings,
        clients: Iterable[Address[ToClient, FromClient]],
        journal: _Journal | None = None,
        run_id: str = "",
        clock: Callable[[], float] = time.monotonic,
        *,
        date: Callable[[], float] = time.time,
        tracer: Tracer | None = None,
    ) -> None:
        self._clock = clock
        self._tracer = tracer
        self._traces = None if tracer is None else tracer.call_traces()
        rng = random.Random()
        self._state = DispatchState(settings, now=clock(), rng=rng, first_id=rng.getrandbits(48))
        self._history = HistoryKeeper(self._state, journal, run_id, clock, date)
        self._asked: dict[str, list[Reply]] = {}
        self._draining: list[Reply] = []
        self._watches: dict[str, asyncio.Future[StreamProgress]] = {}
        self._events: list[Event] = []
        self._turn: asyncio.Handle | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._begun = False
        self._linger = AdaptiveLinger()
        self._clients = {client.name: self._courier(client) for client in clients}
        self.inbox = Inbox(self._on_item, linger=self._linger)
        has_budget = settings.budget_usd is not None or settings.budget_tokens is not None
        self._beginning = asyncio.create_task(self._begin(journal, run_id, has_budget=has_budget))

    def statistics(self) -> DispatchStatistics:
        """Return a frozen snapshot."""
        self._history.observe()  # else the history would end with the last event
        return self._state.statistics()

    async def close(self) -> None:
        """Stop, and send nothing more to the clients."""
        self._begun = False
        self._beginning.cancel()
        for scheduled in (self._turn, self._alarm):
            if scheduled is not None:
                scheduled.cancel()
        await self._history.close()
        for courier in self._clients.values():
            await courier.close()

    def __repr__(self) -> str:
        # No counts: Ray's dashboard and logs show the text from the start of the actor.
        return f"dispatcher({', '.join(endpoint.name for endpoint in self._state.statistics().endpoints)})"

    def _courier(self, client: Address[ToClient, FromClient]) -> Courier[ToClient, FromClient]:
        settings = CourierSettings(
            # The limits of the endpoints bound the attempts at a client.
            max_outstanding=1_000_000,
            max_outstanding_bytes=1 << 30,
            on_restart=OnRestart.FAIL,  # an attempt costs money: `DispatchState` decides whether to repeat it
        )
        return Courier(
            client,
            settings=settings,
            size_of=_size,
            on_restart=lambda: self._on_began(client.name),
            on_lost=lambda: self._happened(ClientLeft(client.name)),
            on_back=lambda: self._call_roll(client.name),
            linger=self._linger,
        )

    def _on_began(self, client: str) -> None:
        self._happened(ClientBegan(client))
        self._watch(client)

    def _watch(self, client: str) -> None:
        """Request the progress of a client's streams. The client answers once, and is then asked again."""
        asked = self._watches.get(client)
        if asked is not None and not asked.done():
            return  # the request is still queued, after a restart of the client
        self._watches[client] = answer = self._clients[client].post(WatchStreams())
        answer.add_done_callback(partial(self._on_progress, client))

    def _on_progress(self, client: str, answer: asyncio.Future[StreamProgress]) -> None:
        error = answer.exception()
        if error is None:
            progress = answer.result()
            self._happened(Streamed(progress))
            if progress.is_leaving:
                self._happened(ClientLeft(client))
            self._watch(client)  # also of a client that leaves: so the courier finds it when it is elsewhere
        else:
            _ignore_loss(answer)  # the client is asked again after its restart

    def _on_item(self, item: Call | Cancel | Drain | SaveHistory, reply: Reply) -> None:
        match item:
            case Call(key):
                asked = self._asked.setdefault(key, [])
                asked.append(reply)
                if len(asked) == 1:  # a second offer, processed after the end of the call, would run it again
                    if self._traces is not None:
                        self._traces.offered(item)
                    self._happened(CallOffered(item))
            case Cancel(task, run_id):
                self._happened(TaskCancelled(task, run_id))
                reply(Done())
            case Drain():
                self._draining.append(reply)
                self._happened(DrainBegan())
            case SaveHistory():
                asyncio.create_task(self._history.save()).add_done_callback(lambda _: reply(Done()))

    # ---- start -------------------------------------------------------------------------------------------

    async def _begin(self, journal: _Journal | None, run_id: str, *, has_budget: bool) -> None:
        answers = [self._call_roll(client) for client in self._clients]
        try:
            _, silent = await asyncio.wait(answers, timeout=_ROLL_CALL_S) if answers else (None, set())
            if silent and journal is not None and await self._others_are_open(journal, run_id):
                # Calls whose attempts a stalled client holds would be attempted again and paid for twice.
                await asyncio.wait(silent, timeout=_STALLED_CLIENT_S)
            if has_budget and journal is not None:
                # After the roll call: otherwise attempts that end between the two would be in neither.
                spent: Spent = await ask_journal(journal, ReadSpent(run_id, self._held()))
                took = spent.usage + spent.in_doubt
                self._events.insert(0, SpentBefore(took.cost_usd, took.tokens, spent.ended))
        except Exception:  # noqa: BLE001 - without the amount spent, the budget could be spent twice
            end_loudly("the start of the dispatcher")
        # A call that is offered before its attempts in flight are known would be attempted twice.
        self._events.sort(key=lambda event: isinstance(event, CallOffered))
        self._begun = True
        self._happened()

    def _held(self) -> tuple[Held, ...]:
        """Return the attempts in flight at the clients that have answered."""
        return tuple(one for it in self._events if isinstance(it, ClientBegan) for one in it.held)

    async def _others_are_open(self, journal: _Journal, run_id: str) -> bool:
        """Return whether there are attempts in doubt that no client has reported."""
        held = self._held()
        spent: Spent = await ask_journal(journal, ReadSpent(run_id, held))
        return spent.counts.in_doubt > len(held) - len(spent.ended)

    def _call_roll(self, client: str) -> asyncio.Future[tuple[Held, ...]]:
        """Ask a client for its attempts in flight, before any other message."""
        answer: asyncio.Future[tuple[Held, ...]] = self._clients[client].post(TakeOver())
        answer.add_done_callback(partial(self._on_taken_over, client))
        return answer

    def _on_taken_over(self, client: str, answer: asyncio.Future[tuple[Held, ...]]) -> None:
        if answer.exception() is not None:
            return  # the client restarted or is away: `on_restart` or `on_back` follows
        held = answer.result()
        self._happened(ClientBegan(client, held))
        self._watch(client)
        for one in held:
            end = self._clients[client].post(Adopt(one.id))
            end.add_done_callback(partial(self._on_answer, one.id))

    # ---- turns -------------------------------------------------------------------------------------------

    def _happened(self, *events: Event) -> None:
        """Queue events. Those of one iteration of the event loop are processed together."""
        self._events.extend(events)
        if self._turn is None and self._begun:
            self._turn = asyncio.get_running_loop().call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        events, self._events = self._events, []
        now = self._clock()
        try:
            for instruction in self._state.handle(events, now):
                self._carry_out(instruction)
            self._history.observe()
        except Exception:  # noqa: BLE001 - only a part of the instructions has been carried out
            end_loudly("the processing of events by the dispatcher")
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        wake = self._state.next_wake(now)
        if wake is not None:
            self._alarm = asyncio.get_running_loop().call_later(max(0.001, wake - now), self._happened)

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case Tell(client, Attempt() as attempt):
                self._send(client, attempt)
            case Tell(client, message, urgent):
                self._clients[client].post(message, urgent=urgent).add_done_callback(_ignore_loss)
            case Complete(completion):
                self._complete(completion)
            case Refuse(key, retry_after_s):
                if self._traces is not None:
                    self._traces.forget(key)
                for reply in self._asked.pop(key):
                    reply(OverloadedError("the dispatcher's queue", retry_after_s))
            case Drained():
                draining, self._draining = self._draining, []
                for reply in draining:
                    reply(Done())

    def _complete(self, completion: Completion) -> None:
        if self._tracer is not None and self._traces is not None:
            self._tracer.emit(self._traces.completed(completion))
        for reply in self._asked.pop(completion.key):
            reply(completion)

    def _send(self, client: str, attempt: Attempt) -> None:
        try:
            answer = self._clients[client].post(attempt)
        except OverloadedError:  # the prompts fill the courier: use another client, or wait
            self._happened(Lost(attempt.id, may_have_run=False))
        else:
            if self._traces is not None:
                self._traces.sent(attempt.id, attempt.call_key, attempt.endpoint)
            answer.add_done_callback(partial(self._on_answer, attempt.id))

    def _on_answer(self, attempt: int, answer: asyncio.Future[AttemptEnded]) -> None:
        error = answer.exception()
        if error is None:
            self._linger.on_ended(answer.result())
            if self._traces is not None:
                self._traces.ended(answer.result())
            self._happened(AttemptDone(answer.result()))
        elif isinstance(error, PeerLostError):
            self._happened(Lost(attempt, error.may_have_run))
        else:
            text = f"the client failed: {text_of(error)}"[:500]
            failure = Failure(FailureKind.PERMANENT, Blame.UNKNOWN, text)
            self._happened(AttemptDone(AttemptEnded(attempt, error=failure, sent=False)))


def readings(known: DispatchStatistics) -> Iterator[MeasureReading]:
    """Yield the metrics of a dispatcher."""
    yield MeasureReading(QUEUE_DEPTH, known.queue.interactive, ("interactive",))
    yield MeasureReading(QUEUE_DEPTH, known.queue.batch, ("batch",))
    yield MeasureReading(BACKPRESSURE, known.queue.refused, ("dispatcher",))
    yield MeasureReading(BACKPRESSURE, sum(endpoint.refused for endpoint in known.endpoints), ("endpoint",))
    for endpoint in known.endpoints:
        name, attempts = endpoint.name, endpoint.attempts
        yield MeasureReading(LIMIT, endpoint.limiter.limit, (name,))
        yield MeasureReading(IN_FLIGHT, endpoint.limiter.in_flight, (name,))
        for outcome, count in attempts.outcomes.items():
            yield MeasureReading(CALLS, count, (name, outcome))
        for kind, count in attempts.usage.kinds().items():
            yield MeasureReading(TOKENS, count, (name, kind))
        yield MeasureReading(COST, attempts.usage.cost_usd, (name,))
        yield from CALL_SECONDS.readings(attempts.seconds, name)


def _size(message: ToClient) -> int:
    return message.size if isinstance(message, Attempt) else 0  # control messages always fit


def _ignore_loss(answer: asyncio.Future[Any]) -> None:
    """Ignore the loss of a share or an abort: a restarted client gets its state again. Raise other errors."""
    error = answer.exception()
    if error is not None and not isinstance(error, PeerLostError):
        raise error
