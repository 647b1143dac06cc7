"""Whatever happens to a dispatcher: each call ends once, its bounds hold, and its books agree."""

from __future__ import annotations

import random
from collections import Counter, deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.core.dispatch.events import (
    AttemptDone,
    CallOffered,
    ClientBegan,
    ClientLeft,
    Complete,
    Lost,
    Refuse,
    TaskCancelled,
    Tell,
)
from actors.core.dispatch.settings import DispatchSettings, EndpointRules
from actors.core.dispatch.state import DispatchState
from actors.core.errors import Blame, Failure, FailureKind
from actors.core.limiter.limiter import LimiterSettings
from actors.core.limits.retry import RetrySettings
from actors.core.messages.attempts import Abort, Attempt, AttemptEnded, Refusal, SetShare
from actors.core.messages.calls import Call, Correction
from actors.core.messages.values import Priority, Usage
from actors.core.queue.slot_queue import SlotQueue

MAX_QUEUED = 12
FOR_EVER = 1e6
DRAINED_WITHIN_S = 600.0  # breakers open for 30 s at the most, pauses for 60: what takes longer is stuck
COUNTED_AS = {
    None: "billed",
    FailureKind.UNUSABLE: "billed",
    FailureKind.REFUSED: "refused",
    **dict.fromkeys((FailureKind.TRANSIENT, FailureKind.PERMANENT, FailureKind.MISCONFIGURED), "failed"),
    FailureKind.IN_DOUBT: "in_doubt",
    FailureKind.CANCELLED: "in_doubt",
    FailureKind.UNSTORED: "in_doubt",
}  # and what is not here as nothing: it was not sent
tasks = st.sampled_from(["t1", "t2", "t3"])
clients = st.sampled_from(["c1", "c2", "c3"])
kinds = st.sampled_from([None, None, FailureKind.REFUSED, FailureKind.REFUSED, *FailureKind])
blames = st.sampled_from([Blame.ENDPOINT, Blame.ENDPOINT, Blame.CLUSTER])
wishes = st.sampled_from([None, 0.0, 3.0, 5.0])
naps = st.sampled_from([0.0, 0.001, 0.05, 0.3, 1.0, 7.0])


class Client:
    """A client actor that obeys `SlotQueue`, at the end of a link that keeps order but for urgent shares."""

    def __init__(self, endpoints):
        self.shares = deque()
        self.mail = deque()
        self.begin(endpoints)

    def begin(self, endpoints):
        self.queues = {name: SlotQueue() for name in endpoints}
        self.delivered: dict[int, Attempt] = {}
        self.started: set[int] = set()

    def post(self, message):
        (self.shares if isinstance(message, SetShare) else self.mail).append(message)

    def undelivered(self):
        return [message.id for message in self.mail if isinstance(message, Attempt)]


class Dispatching(RuleBasedStateMachine):
    """A dispatcher with clients around it. What a call is due is worked out here from what was fed in."""

    @initialize(
        most=st.lists(st.integers(1, 24), min_size=1, max_size=2),
        per_minute=st.sampled_from([None, None, 600.0]),
        budget=st.sampled_from([None, None, 4000]),
        first=st.sets(clients),
    )
    def begin(self, most, per_minute, budget, first):
        self.begin_with(most, per_minute, budget, first)

    def begin_with(self, most, per_minute, budget, first):
        self.now = 100.0
        self.most = {f"e{i}": n for i, n in enumerate(most)}
        rules = tuple(EndpointRules(name, LimiterSettings(n, per_minute)) for name, n in self.most.items())
        settings = DispatchSettings(
            rules,
            RetrySettings(attempts=3, base_s=0.1, cap_s=2.0),
            reasks=1,
            max_queued=MAX_QUEUED,
            budget_tokens=budget,
        )
        self.budget = budget
        self.state = DispatchState(settings, now=self.now, rng=random.Random(1))
        self.clients: dict[str, Client] = {}
        self.number = 0
        self.open: dict[str, tuple[Call, float]] = {}  # with its deadline
        self.cancelled: set[str] = set()
        self.under_way: dict[int, str] = {}
        self.counts: dict[str, Counter] = {}
        self.spent = 0
        self.ended = 0
        self.seen: set[int] = set()
        self.total = Counter()
        for name in sorted(first):
            self.client_begins(name)

    # ---- what the dispatcher wants -------------------------------------------------------------------

    def happen(self, *events):
        out = self.state.handle(events, self.now)
        self.carry_out(out)
        return out

    def carry_out(self, out):
        for instruction in out:
            match instruction:
                case Tell(client, Attempt() as attempt):
                    self.check_attempt(attempt)
                    self.clients[client].post(attempt)
                case Tell(client, message):
                    if client in self.clients:
                        self.clients[client].post(message)
                case Complete(completion):
                    self.check_completion(completion)

    def check_attempt(self, attempt):
        call, deadline = self.open[attempt.call_key]
        assert attempt.endpoint in (call.endpoints or self.most)
        assert attempt.id not in self.seen
        assert attempt.call_key not in self.under_way.values()
        assert attempt.call_key not in self.cancelled
        assert deadline > self.now
        assert abs(attempt.expires_in_s - (deadline - self.now)) < 1e-6
        self.seen.add(attempt.id)
        self.under_way[attempt.id] = attempt.call_key

    def check_completion(self, completion):
        key = completion.key
        del self.open[key]  # exactly once
        assert key not in self.under_way.values()
        assert (completion.values is None) == (completion.error is not None)
        if completion.error is not None and key in self.cancelled:
            assert completion.error.kind is FailureKind.CANCELLED
        counted = self.counts.pop(key)
        assert completion.counts.planned == 1
        for name in ("billed", "refused", "failed", "in_doubt", "unusable"):
            assert getattr(completion.counts, name) == counted[name]
            self.total[name] += counted[name]
        assert completion.usage.output_tokens == counted["tokens"]
        self.ended += 1

    # ---- what pipelines do ---------------------------------------------------------------------------

    @rule(
        task=tasks,
        count=st.integers(1, 8),
        tokens=st.integers(0, 400),
        priority=st.sampled_from(Priority),
        left=st.sampled_from([0.0, 0.2, 2.0, FOR_EVER, FOR_EVER, FOR_EVER]),
    )
    def offer(self, task, count, tokens, priority, left):
        self.offer_calls(task, count, tokens, priority, left)

    def offer_calls(self, task, count, tokens, priority, left, *, endpoints=()):
        calls = []
        for _ in range(count):
            self.number += 1
            call = Call(
                f"k{self.number}",
                "form",
                f"p{self.number}",
                tokens,
                task,
                "",
                priority,
                left,
                endpoints=endpoints,
            )
            calls.append(call)
            self.open[call.key] = (call, self.now + left)
            self.counts[call.key] = Counter()
        waiting = self.state.statistics().queued
        out = self.state.handle([CallOffered(call) for call in calls], self.now)
        refused = [instruction.key for instruction in out if isinstance(instruction, Refuse)]
        assert len(refused) == max(0, count - max(0, MAX_QUEUED - waiting))
        for key in refused:
            del self.open[key], self.counts[key]
        self.carry_out(out)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def offer_again(self, data):
        key = data.draw(st.sampled_from(sorted(self.open)))
        assert not any(isinstance(each, Refuse) for each in self.happen(CallOffered(self.open[key][0])))

    @rule(task=tasks)
    def cancel(self, task):
        mine = {key for key, (call, _) in self.open.items() if call.task == task}
        self.cancelled |= mine
        self.happen(TaskCancelled(task))
        assert mine & set(self.open) <= set(self.under_way.values())

    # ---- what clients do -----------------------------------------------------------------------------

    @rule(name=clients)
    def client_begins(self, name):
        if name not in self.clients:
            self.clients[name] = Client(self.most)
            self.happen(ClientBegan(name))

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), told_first=st.booleans())
    def client_restarts(self, data, told_first):
        name = data.draw(st.sampled_from(sorted(self.clients)))
        client = self.clients[name]
        lost = [self.lose(attempt, True) for attempt in client.delivered]
        client.begin(self.most)
        self.happen(*([ClientBegan(name), *lost] if told_first else [*lost, ClientBegan(name)]))

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), told_first=st.booleans())
    def client_leaves(self, data, told_first):
        name = data.draw(st.sampled_from(sorted(self.clients)))
        client = self.clients.pop(name)
        lost = [self.lose(attempt, True) for attempt in client.delivered]
        lost += [self.lose(attempt, False) for attempt in client.undelivered()]
        self.happen(*([ClientLeft(name), *lost] if told_first else [*lost, ClientLeft(name)]))

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), count=st.integers(1, 30))
    def deliver(self, data, count):
        client = self.clients[data.draw(st.sampled_from(sorted(self.clients)))]
        for _ in range(count):
            self.deliver_next(client)

    def deliver_next(self, client):
        while client.shares:
            share = client.shares.popleft()
            client.started |= ids_of(client.queues[share.endpoint].set_slots(share.slots))
        match client.mail.popleft() if client.mail else None:
            case Attempt() as attempt:
                client.delivered[attempt.id] = attempt
                client.started |= ids_of(
                    client.queues[attempt.endpoint].offer(attempt.id, attempt, first=attempt.first)
                )
            case Abort(ids):
                for attempt_id in ids:
                    self.abort(client, attempt_id)

    def abort(self, client, attempt_id):
        attempt = client.delivered.get(attempt_id)
        if attempt is None:
            return
        if attempt_id in client.started:
            self.end(client, attempt, FailureKind.CANCELLED)
        else:
            assert client.queues[attempt.endpoint].withdraw(attempt_id) is attempt
            del client.delivered[attempt_id], self.under_way[attempt_id]
            self.happen(
                AttemptDone(AttemptEnded(attempt_id, error=failure(FailureKind.CANCELLED), sent=False))
            )

    @precondition(lambda self: any(client.started for client in self.clients.values()))
    @rule(data=st.data(), kind=kinds, blame=blames, wish=wishes, nap=naps)
    def attempt_ends(self, data, kind, blame, wish, nap):
        self.now += nap
        holders = [client for client in self.clients.values() if client.started]
        client = data.draw(st.sampled_from(holders))
        attempt = client.delivered[data.draw(st.sampled_from(sorted(client.started)))]
        self.end(client, attempt, kind, blame, wish)

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), kind=kinds, blame=blames, wish=wishes, nap=naps)
    def a_client_is_busy(self, data, kind, blame, wish, nap):
        """It hears all that it was told, and what it has started by then ends in one way."""
        client = self.clients[data.draw(st.sampled_from(sorted(self.clients)))]
        while client.shares or client.mail:
            self.deliver_next(client)
        self.now += nap
        self.happen()
        for attempt_id in sorted(client.started):
            if attempt_id in client.started:  # it may have been aborted meanwhile
                self.end(client, client.delivered[attempt_id], kind, blame, wish)

    def end(self, client, attempt, kind, blame=Blame.TASK, wish=None):
        """Have a started attempt end: with an answer where `kind` is None, else with a failure."""
        self.now += 0.001  # nothing is answered before it is asked
        counted = self.counts[attempt.call_key]
        counted[COUNTED_AS.get(kind, "unsent")] += 1
        usage = Usage()
        if kind in (None, FailureKind.UNUSABLE):
            tokens = self.open[attempt.call_key][0].tokens  # as much as was estimated
            usage = Usage(output_tokens=tokens)
            counted["tokens"] += tokens
            self.spent += tokens
        elif COUNTED_AS.get(kind) == "in_doubt":
            self.spent += self.open[attempt.call_key][0].tokens  # for all that anybody knows
        counted["unusable"] += kind is FailureKind.UNUSABLE
        outcome = AttemptEnded(
            attempt.id,
            values={"quality": 1.0} if kind is None else None,
            error=None if kind is None else failure(kind, blame, wish),
            usage=usage,
            correction=Correction("{}", "no quality") if kind is FailureKind.UNUSABLE else None,
            refusal=Refusal.REQUESTS if kind is FailureKind.REFUSED else None,
            took_s=0.3,
        )
        client.started.remove(attempt.id)
        del client.delivered[attempt.id], self.under_way[attempt.id]
        client.started |= ids_of(client.queues[attempt.endpoint].end(attempt.id))
        self.happen(AttemptDone(outcome))

    def lose(self, attempt, may_have_run):
        key = self.under_way.pop(attempt)
        self.counts[key]["in_doubt"] += may_have_run
        self.spent += self.open[key][0].tokens * may_have_run
        return Lost(attempt, may_have_run)

    # ---- time ----------------------------------------------------------------------------------------

    @rule(nap=naps)
    def time_passes(self, nap):
        self.now += nap
        self.happen()

    @rule()
    def the_alarm_rings(self):
        wake = self.state.next_wake(self.now)
        if wake is not None and wake < self.now + 1000:
            self.now = wake
            self.happen()

    # ---- what always holds ---------------------------------------------------------------------------

    @invariant()
    def the_books_agree(self):
        self.state.check_invariants()
        known = self.state.statistics()
        assert known.queued + known.waiting + known.sent == len(self.open)
        assert known.sent == len(self.under_way)
        assert known.completed + known.failed == self.ended
        assert known.calls.planned == self.ended
        for name, count in self.total.items():
            assert getattr(known.calls, name) == count

    @invariant()
    def the_alarm_does_not_ring_at_once(self):
        wake = self.state.next_wake(self.now)
        assert wake is None or wake > self.now

    @invariant()
    def no_more_is_in_flight_than_allowed(self):
        started = Counter(
            client.delivered[attempt].endpoint
            for client in self.clients.values()
            for attempt in client.started
        )
        for endpoint, most in self.most.items():
            assert started[endpoint] <= most + most // 8

    @invariant()
    def the_mirror_agrees_with_a_client_that_has_heard_everything(self):
        for endpoint in self.state.statistics().endpoints:
            for name, client in self.clients.items():
                queue = client.queues[endpoint.name]
                queue.check_invariants()
                if not client.shares and not client.mail:
                    mirror, real = endpoint.clients[name], queue.statistics()
                    assert mirror.slots == real.slots
                    assert mirror.started + mirror.waiting == real.started + real.waiting

    @invariant()
    def the_budget_holds(self):
        assert self.budget is None or self.spent <= self.budget

    def teardown(self):
        began = self.now
        self.client_begins("c1")
        while self.open:
            before = (len(self.open), len(self.under_way))
            self.finish_all()
            if before != (len(self.open), len(self.under_way)):
                continue
            wake = self.state.next_wake(self.now)
            assert wake is not None, f"stuck: {self.state.statistics()}"
            self.now = wake
            assert self.now < began + DRAINED_WITHIN_S, f"stuck: {self.state.statistics()}"
            self.happen()
        self.the_books_agree()

    def finish_all(self):
        for client in list(self.clients.values()):
            while client.shares or client.mail:
                self.deliver_next(client)
            for attempt_id in sorted(client.started):
                self.end(client, client.delivered[attempt_id], None)


def ids_of(attempts):
    return {attempt.id for attempt in attempts}


def failure(kind, blame=Blame.TASK, wish=None):
    return Failure(kind, blame, "said the test", wish)


TestDispatching = Dispatching.TestCase
TestDispatching.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
