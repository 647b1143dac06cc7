"""The dispatcher's state machine: which call is attempted next, where, and what follows from its end.

Composes the fair queue, the limiters, the breakers, the budget and the retry policy. Takes events and returns
instructions, synchronously.

Rule 1: Each accepted call ends exactly once, with `Complete`.
Rule 2: An attempt has a permit of its endpoint's limiter, or waits at a client for one.
Rule 3: Retries do not displace first attempts: beyond the retry budget they wait while other calls are
    queued. They are not given up, since no work may be lost.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from actors.core.dispatch.aftermath import Aftermath, fault_of_any, unknown_endpoint
from actors.core.dispatch.endpoint import EndpointState
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
from actors.core.dispatch.in_flight import AttemptsInFlight, InFlight
from actors.core.dispatch.open_call import CallState, OpenCall
from actors.core.dispatch.open_calls import OpenCalls
from actors.core.dispatch.pauses import Pauses
from actors.core.dispatch.placement import place, place_beside
from actors.core.dispatch.run_budget import SPENT, RunBudget
from actors.core.dispatch.settings import DispatchSettings, DispatchStatistics
from actors.core.dispatch.single_flight import EqualCalls
from actors.core.dispatch.totals import DispatchTotals
from actors.core.errors import Blame, Failure, FailureKind, InvariantError
from actors.core.limits.attempt_cost import charged, lost
from actors.core.limits.budget import Cost
from actors.core.limits.hedge import Hedges
from actors.core.limits.retry import RetryPolicy
from actors.core.messages.attempts import Abort, AttemptEnded
from actors.core.messages.calls import Call, Completion
from actors.core.messages.values import Json, Priority
from actors.core.metrics.history import History, HistoryRecorder
from actors.core.queue.routes import Route, Routes, Turns

_ROOM_AGAIN_S = 1.0
NOTHING_WAITS = "too few tasks"
_BUDGET_RESERVED = "the budget: calls in flight have reserved the rest of it"


class DispatchState:
    """The state of a dispatcher. `now` is in seconds on one monotonic clock; `rng` adds jitter to retries.

    Attempts are numbered from `first_id`. Clients may still hold attempts from before a restart of the
    dispatcher and identify them by id alone, so a restarted dispatcher must use a different range.
    """

    def __init__(
        self, settings: DispatchSettings, *, now: float, rng: random.Random, first_id: int = 1
    ) -> None:
        self._settings = settings
        self._endpoints = [
            EndpointState(
                rules.name, rules.limiter, rules.breaker, rules.price, now=now, rng=rng, address=rules.address
            )
            for rules in settings.endpoints
        ]
        self._routes: Routes[OpenCall, EndpointState] = Routes(
            self._endpoints, settings.max_queued, weights=settings.tenant_weights
        )
        self._retry = RetryPolicy(settings.retry)
        self._aftermath = Aftermath(self._retry, self._routes, rng)
        self._budget = RunBudget(settings.budget_usd, settings.budget_tokens)
        self._open = OpenCalls()
        self._equal = EqualCalls()
        self._pauses = Pauses()
        self._in_flight = AttemptsInFlight()
        self._serial = itertools.count(first_id)
        self._hedges = Hedges(settings.hedge)
        self._totals = DispatchTotals()
        self._history = HistoryRecorder()
        self._was_asked = False
        self._drains = False
        self._binding = NOTHING_WAITS
        self._wanted: set[EndpointState] = set()  # endpoints where a call waits for room

    def handle(self, events: Iterable[Event], now: float) -> list[Instruction]:
        """Process `events` in order, and return the instructions in the order to carry them out."""
        out: list[Instruction] = []
        for event in events:
            self._handle_event(event, now, out)
        for record in self._open.take_expired(now):
            self._end_expired(record, now, out)
        for record in self._pauses.take_ended(now):
            self._end_pause(record, now, out)
        for endpoint in self._endpoints:  # before new attempts, so that a lower share applies to them
            out += endpoint.share_messages(now)
            self._promote(endpoint, now)
        for attempt in self._hedges.take_silent(now):
            if not self._drains:
                self._hedge(attempt, now, out)
        if not self._drains:
            self._send(now, out)
        elif not len(self._in_flight):
            out.append(Drained())
        return out

    def next_wake(self, now: float) -> float | None:
        """Return when `handle` must be called next even without an event, None if it need not be."""
        times = [self._pauses.next_end(), self._open.next_check(), self._hedges.next_at()]
        times += [endpoint.next_wake(now, wanted=endpoint in self._wanted) for endpoint in self._endpoints]
        return min((time for time in times if time is not None), default=None)

    def continue_history(self, before: History) -> None:
        """Continue the history of earlier dispatchers of the run. Must come before the first `observe`."""
        self._history = HistoryRecorder(before)

    def observe(self, now: float, date: float, *, always: bool = False) -> None:
        """Record the present state in the history, if the last record is old enough or `always`.

        `date` is the time in seconds since 1970. The history begins with the first call.
        """
        if not self._was_asked or not (always or self._history.is_due(now)):
            return
        queued = dict.fromkeys(self._endpoints, 0)
        for route in self._routes:
            for endpoint in route.endpoints:
                queued[endpoint] += len(route.queue)
        self._history.add(now, date, [each.reading(count) for each, count in queued.items()])

    def statistics(self) -> DispatchStatistics:
        """Return a frozen snapshot."""
        return DispatchStatistics(
            queued=len(self._routes),
            waiting=len(self._open) - len(self._routes) - self._in_flight.claimed,  # not O(open calls)
            sent=len(self._in_flight),
            completed=self._totals.completed,
            failed=self._totals.failed,
            hedged=self._hedges.made,
            calls=self._totals.calls,
            usage=self._totals.usage,
            endpoints=tuple(endpoint.statistics() for endpoint in self._endpoints),
            recent_failures=self._totals.recent_failures,
            binding=self._binding,
            queue=self._routes.statistics(),
            history=self._history.history(),
            stopped_by=fault_of_any(self._routes),
        )

    def check_invariants(self) -> None:
        """Raise InvariantError if the parts disagree."""
        if self._open.count(CallState.SENT) != self._in_flight.claimed:
            raise InvariantError("the calls sent and the attempts in flight differ")
        if self._open.count(CallState.QUEUED) != len(self._routes):
            raise InvariantError("the calls in state QUEUED and the queue differ")
        self._open.check_invariants()
        self._equal.check_invariants()
        self._in_flight.check_invariants()
        self._routes.check_invariants()
        self._budget.check_invariants()
        self._history.check_invariants()
        for endpoint in self._endpoints:
            endpoint.check_invariants()

    # ---- events ------------------------------------------------------------------------------------------

    def _handle_event(self, event: Event, now: float, out: list[Instruction]) -> None:
        match event:
            case AttemptDone(outcome):
                self._on_ended(outcome, now, out)
            case CallOffered(call):
                self._on_offered(call, now, out)
            case Streamed(progress):
                self._in_flight.on_streamed(progress)
                self._hedges.on_progress(progress)
            case Lost(attempt, may_have_run):
                self._on_ended(lost(attempt, may_have_run=may_have_run), now, out)
            case TaskCancelled(task, run_id):
                self._on_task_cancelled(run_id, task, now, out)
            case SpentBefore():
                self._budget.spent_before(event)
            case DrainBegan():
                self._drains, self._wanted = True, set()
            case ClientBegan() | ClientLeft():
                self._on_client(event, now)

    def _on_offered(self, call: Call, now: float, out: list[Instruction]) -> None:
        if call.key in self._open:
            return  # the shell answers every caller of this key
        self._was_asked = True
        record = OpenCall(call, now)
        record.streams = True if self._hedges.wanted else None  # only a stream shows when the answer begins
        if call.endpoints and (unknown := self._routes.unknown(call.endpoints)):
            self._open.add(record)
            self._end_unsent(record, unknown_endpoint(unknown), now, out)
            return
        if not self._in_flight.claim(record) and self._equal.join(record) and not self._enqueue(record):
            self._equal.part(record)
            out.append(Refuse(call.key, 1.0))
            return
        self._open.add(record)

    def _enqueue(self, record: OpenCall) -> bool:
        """Put a call into the fair queue of its route. Return False if the queues are full."""
        if record.ticket is not None:
            record.move(CallState.QUEUED)
            self._routes.of(record.call.endpoints).queue.push_back(record.ticket)
            return True
        call = record.call
        queue = self._routes.queue_with_room(call.endpoints)
        if queue is None:
            return False
        record.ticket = queue.push(
            record, priority=call.priority, tenant=call.tenant, task=call.task, tokens=call.tokens
        )
        if record.ticket is not None and record.state is not CallState.QUEUED:
            record.move(CallState.QUEUED)
        return record.ticket is not None

    def _on_client(self, event: ClientBegan | ClientLeft, now: float) -> None:
        client = event.client
        for endpoint in self._endpoints:
            if isinstance(event, ClientLeft):
                endpoint.pool.leave(client)
                continue
            endpoint.pool.join(client)
            for one in event.held:
                if one.endpoint == endpoint.name and one.id not in self._in_flight:
                    endpoint.take_over(client, one.id, one.estimate.tokens, now)
                    self._in_flight.adopt(one, endpoint, self._budget.take_over(one))
                    self._in_flight.rejoin(self._open.get(one.call_key), self._routes)

    def _on_task_cancelled(self, run_id: str, task: str, now: float, out: list[Instruction]) -> None:
        failure = Failure(FailureKind.CANCELLED, Blame.TASK, "the task was cancelled")
        open_calls = self._open.of_task(run_id, task)
        for record in open_calls:
            if record.state is CallState.SENT:
                record.cancelled = failure  # `_on_ended` makes no further attempt
            else:
                self._end_unsent(record, failure, now, out)
        for attempt in self._in_flight.of_task(run_id, task) if open_calls else ():
            self._abort(attempt, out)

    def _on_ended(self, outcome: AttemptEnded, now: float, out: list[Instruction]) -> None:
        entry = self._in_flight.end(outcome.id)
        self._hedges.on_response(outcome.id)
        if entry is None:
            return  # it has been counted as lost
        record, endpoint = entry.record, entry.endpoint
        call = None if record is None else record.call
        endpoint.on_ended(outcome, entry.estimate, now, unscaled_tokens=entry.unscaled_tokens, call=call)
        self._promote(endpoint, now)
        took = (charged if record is None else record.account)(outcome, entry.estimate)
        if entry.reserved is not None:
            self._budget.settle(entry.reserved, took)
        if record is None:
            return  # an unclaimed attempt: the journal has the answer
        if record.state is CallState.ENDED:
            self._totals.add_late(record, outcome, entry.estimate)
            return
        if outcome.error is None:
            self._complete(record, outcome.values, None, now, out)
            return
        self._totals.add_failure(record, outcome.error)
        if record.in_flight:
            return  # the attempt beside it may still answer
        if record.cancelled is not None:
            self._complete(record, None, record.cancelled, now, out)
        elif outcome.error.kind is FailureKind.UNUSABLE and self._may_be_asked_again(record, outcome):
            record.ask_again(outcome.correction)
            self._requeue(record, now)
        else:
            decision = self._aftermath.of(record, outcome, endpoint, now)
            if outcome.error.kind is FailureKind.MISCONFIGURED:
                self._drop_place(record)
            self._carry_out(record, decision, now, out)

    def _may_be_asked_again(self, record: OpenCall, outcome: AttemptEnded) -> bool:
        settings = self._settings
        most = settings.form_reasks.get(record.call.form, settings.reasks)
        return record.reasks < most and not outcome.is_final

    def _promote(self, endpoint: EndpointState, now: float) -> None:
        for started in endpoint.pool.promote():
            entry = self._in_flight[started]
            endpoint.adopt(started, entry.estimate.tokens, now, streams=entry.streams)

    # ---- failures ----------------------------------------------------------------------------------------

    def _carry_out(
        self, record: OpenCall, decision: float | Failure, now: float, out: list[Instruction]
    ) -> None:
        """Carry out a decision about a failed call: attempt it again at that time, or end it."""
        if isinstance(decision, Failure):
            self._complete(record, None, decision, now, out)
        elif decision > now:
            self._pauses.begin(record, decision)
        else:
            self._requeue(record, now)

    def _end_pause(self, record: OpenCall, now: float, out: list[Instruction]) -> None:
        if record.held_back is not None:
            decision = self._aftermath.again(record, record.held_back, now)
            self._carry_out(record, decision, now, out)
        else:
            self._requeue(record, now)

    def _drop_place(self, record: OpenCall) -> None:
        """Drop a call's place in the queue, so that other calls check whether the endpoint answers."""
        if record.ticket is not None:
            self._routes.of(record.call.endpoints).queue.settle(record.ticket, 0)
            record.ticket = None

    def _requeue(self, record: OpenCall, now: float) -> None:
        """Queue a call again. A call without a ticket waits if the queue is full."""
        if not self._enqueue(record):
            self._pauses.begin(record, now + _ROOM_AGAIN_S)

    def _end_expired(self, record: OpenCall, now: float, out: list[Instruction]) -> None:
        self._end_unsent(record, self._aftermath.expired(record, now), now, out)

    def _end_unsent(self, record: OpenCall, failure: Failure, now: float, out: list[Instruction]) -> None:
        if record.state is CallState.QUEUED and record.ticket is not None:
            self._routes.of(record.call.endpoints).queue.remove(record.ticket)
            record.ticket = None
        self._totals.add_failure(record, failure)
        self._complete(record, None, failure, now, out)

    def _complete(
        self,
        record: OpenCall,
        values: Mapping[str, Json] | None,
        failure: Failure | None,
        now: float,
        out: list[Instruction],
    ) -> None:
        record.move(CallState.ENDED)
        self._open.remove(record)
        if record.ticket is not None:
            tokens = record.usage.input_tokens + record.usage.output_tokens
            self._routes.of(record.call.endpoints).queue.settle(record.ticket, tokens)
            record.ticket = None  # breaks a reference cycle, which only the garbage collector would free
        self._totals.ended(record, failure)
        for attempt in record.in_flight:
            self._abort(attempt, out)
        out.append(Complete(Completion(record.call.key, values, failure, record.usage, record.counts)))
        for follower in self._equal.part(record):
            if failure is None:
                follower.counts = replace(follower.counts, reused=1)
                self._complete(follower, values, None, now, out)
            elif self._equal.join(follower):
                self._requeue(follower, now)  # the first follower becomes the leader of the others

    def _abort(self, attempt: int, out: list[Instruction]) -> None:
        client = self._in_flight[attempt].endpoint.pool.holder(attempt)
        if client is not None:
            out.append(Tell(client, Abort((attempt,)), urgent=True))

    # ---- sending -----------------------------------------------------------------------------------------

    def _send(self, now: float, out: list[Instruction]) -> None:
        """Send attempts to clients while an endpoint and a client have room."""
        turns = self._routes.turns()
        while (route := turns.next()) is not None:
            record = self._next_call(route, turns.only, now, out)
            if record is None:
                turns.end()
                continue
            cost = self._budget.most(route.endpoints, record)
            if self._budget.reserve(cost):
                self._send_one(record, turns, cost, now, out)
            elif self._budget.could_ever_fit(cost):
                self._binding, self._wanted = _BUDGET_RESERVED, set()
                return
            else:
                self._end_unsent(record, SPENT, now, out)
        self._binding = turns.binding or NOTHING_WAITS
        self._wanted = turns.full if self._has_clients else set()

    def _send_one(
        self,
        record: OpenCall,
        turns: Turns[OpenCall, EndpointState],
        cost: Cost,
        now: float,
        out: list[Instruction],
    ) -> None:
        """Send the next call of a route to a client, or make it wait, or block the route in this pass."""
        attempt, priority = next(self._serial), record.call.priority
        endpoint, client = place(turns.endpoints(priority), attempt, record, now)
        if endpoint is not None:
            turns.take()
            record.move(CallState.SENT)
            if record.number == 0:
                self._retry.on_first_attempt(now)
            self._hedges.watch(attempt, now)
            self._hand_over(attempt, InFlight.begun(record, endpoint, cost), client, now, out)
            return
        self._budget.refund(cost)  # only attempts in flight may hold reservations
        excluded = [until for until in record.excluded.values() if until > now]
        if excluded:  # other calls may use the endpoints that this one excludes
            turns.take()
            self._pauses.begin(record, min(excluded))
        else:
            turns.block(priority, client)

    @property
    def _has_clients(self) -> bool:
        return self._endpoints[0].pool.has_clients

    def _hedge(self, silent: int, now: float, out: list[Instruction]) -> None:
        """Make a second attempt beside a silent one, at another endpoint if one has room."""
        entry = self._in_flight[silent]
        record = entry.record
        if record is None or record.cancelled is not None or record.deadline <= now:
            return
        endpoints = self._routes.of(record.call.endpoints).endpoints
        cost = self._budget.most(endpoints, record)
        if not self._budget.reserve(cost):
            return
        attempt = next(self._serial)
        endpoint, client = place_beside(endpoints, entry.endpoint, attempt, record, now)
        if endpoint is None:
            self._hedges.refund()
            self._budget.refund(cost)
            return
        self._hedges.made += 1
        beside = InFlight.begun(record, endpoint, cost, is_hedge=True)
        self._hand_over(attempt, beside, client, now, out)

    def _hand_over(
        self, attempt: int, entry: InFlight, client: str, now: float, out: list[Instruction]
    ) -> None:
        record = self._in_flight.begin(attempt, entry)
        out.append(Tell(client, entry.request(attempt, record, now)))

    def _next_call(
        self,
        route: Route[OpenCall, EndpointState],
        only: Priority | None,
        now: float,
        out: list[Instruction],
    ) -> OpenCall | None:
        """Return the next call of a route, and end those whose deadline has passed."""
        while (head := route.queue.peek(only)) is not None and head.entry.deadline <= now:
            self._end_expired(head.entry, now, out)
        return None if head is None else head.entry
