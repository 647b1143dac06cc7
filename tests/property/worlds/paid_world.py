"""All between a pipeline and an endpoint, pure: the rules of journal and dispatcher, and toys beside them.

Clients do what `LLMClient` does: tell the intent, send, tell the outcome, and only then the dispatcher. The
endpoint keeps a ledger of its own. Nothing happens by itself: each method has one thing happen.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from functools import partial

from actors.core.dispatch.events import (
    AttemptDone,
    CallOffered,
    ClientBegan,
    ClientLeft,
    Complete,
    Lost,
    Tell,
)
from actors.core.dispatch.settings import DispatchSettings, EndpointRules
from actors.core.dispatch.state import DispatchState
from actors.core.errors import Blame, Failure, FailureKind, InvalidTransitionError
from actors.core.journal.state import JournalState
from actors.core.limiter.limiter import LimiterSettings
from actors.core.limits.hedge import HedgeSettings
from actors.core.limits.retry import RetrySettings
from actors.core.messages.attempts import Abort, Adopt, Attempt, AttemptEnded, Held, Refusal, SetShare
from actors.core.messages.calls import Call, Correction
from actors.core.messages.journal import Accept, Answer, AttemptOutcome, Finish, Intent, OpenRun
from actors.core.messages.tasks import Report, Task, TaskState
from actors.core.messages.values import CallCounts, Usage
from tests.property.worlds.paid_client import Client, failure, intent
from tests.unit.support.journal_desk import DictStore, PlainJson

CODEC, RUN, ENDPOINT = PlainJson(), "r", "main"
TASKS = {task: [f"{task}.{n}" for n in range(3)] for task in ("t", "u", "v")}
ALL = 10**6  # more than there ever is
FOR_EVER = 1e9
LOST = Failure(FailureKind.IN_DOUBT, Blame.CLUSTER, "nobody knows of this attempt")


class World:
    """A pipeline, a dispatcher, two clients, a journal and an endpoint."""

    def begin(self, honours, keep, most, *, hedges):
        self.honours, self.keep, self.most, self.hedges = honours, keep, most, hedges
        self.now = 1000.0
        self.store = DictStore()
        self.journal_life = 0
        self.records = deque()  # told to the journal: (client, its life, attempt, record)
        self.clients = {"c1": Client(), "c2": Client()}
        self.billed = Counter()  # by call
        self.billed_keys = Counter()  # by idempotency key
        self.verdicts: dict[str, FailureKind | None] = {}  # of answers that the endpoint repeats
        self.values: dict[str, object] = {}  # by call: what the pipeline was ever told
        self.reports: set[str] = set()
        self.dispatcher = None
        self.dispatcher_life = 0
        self.completions = deque()
        self.journal_begins()
        self.tell_journal(OpenRun(RUN, "n", {}))
        self.pipeline_begins()
        self.dispatcher_begins()

    # ---- the pipeline --------------------------------------------------------------------------------

    def pipeline_begins(self):
        self.wanted: dict[str, set[str]] = {}  # by task: calls without an answer
        self.completions.clear()
        for task, calls in TASKS.items():
            accepted = self.tell_journal(Accept(RUN, Task(task)))
            assert (accepted.report is not None) == (task in self.reports)
            if accepted.report is None:
                self.wanted[task] = set(calls)
                for call, answer in accepted.answers.items():
                    self.take(task, call, answer.values)
        for task in list(self.wanted):
            self.finish_if_done(task)

    def the_pipeline_dies(self):
        self.pipeline_begins()
        self.offer_all()

    def offer_all(self):
        if self.dispatcher is None:
            return
        calls = [self.call(task, key) for task, keys in self.wanted.items() for key in sorted(keys)]
        self.happen(*map(CallOffered, calls))

    @staticmethod
    def call(task, key):
        return Call(key, "form", f"prompt of {key}", 10, task, expires_in_s=FOR_EVER, run_id=RUN)

    def the_pipeline_hears(self, count):
        for _ in range(min(count, len(self.completions))):
            completion = self.completions.popleft()
            task = completion.key.partition(".")[0]
            assert completion.error is None or task not in self.wanted, completion
            if completion.key in self.wanted.get(task, ()):
                self.take(task, completion.key, completion.values)
                self.finish_if_done(task)

    def take(self, task, call, values):
        assert self.values.setdefault(call, values) == values  # the first answer stands
        self.wanted[task].discard(call)

    def finish_if_done(self, task):
        if not self.wanted[task]:
            calls = CallCounts(planned=len(TASKS[task]))
            self.tell_journal(
                Finish(RUN, Report(task, TaskState.SUCCEEDED, 0.5, (), {}, calls, Usage(), 1.0))
            )
            self.reports.add(task)
            del self.wanted[task]

    # ---- the dispatcher ------------------------------------------------------------------------------

    def the_dispatcher_dies(self):
        self.dispatcher = None
        self.completions.clear()
        for client in self.clients.values():
            client.mail.clear()

    def dispatcher_begins(self):
        self.dispatcher_life += 1
        rules = EndpointRules(ENDPOINT, LimiterSettings(self.most, start=self.most))
        patience = RetrySettings(attempts=10**6, base_s=0.1, cap_s=1.0, budget=10.0)
        self.dispatcher = DispatchState(
            DispatchSettings(
                (rules,),
                patience,
                reasks=10**6,
                hedge=HedgeSettings(after_s=0.5, budget=1.0) if self.hedges else None,
            ),
            now=self.now,
            rng=random.Random(1),
            first_id=self.dispatcher_life * 10**6,
        )
        for name, client in self.clients.items():
            self.call_roll(name, client)
        self.offer_all()

    def call_roll(self, name, client):
        """Have a client say what it holds; a frozen one does so once it goes on."""
        client.is_known = not client.is_frozen
        if client.is_known:
            self.happen(ClientBegan(name, self.hand_over(client)))

    def hand_over(self, client):
        """Have a client drop what waits, and return what it has in flight, whose ends will be asked for."""
        client.kept.clear()
        for attempt in client.queue.withdraw_all():
            del client.offered[attempt.id], client.listener[attempt.id]
            client.clearances.pop(attempt.id, None)
            unsent = AttemptEnded(attempt.id, error=failure(FailureKind.CANCELLED), sent=False)
            self.tell_outcome(client, attempt, unsent)
        client.listener = dict.fromkeys(client.offered)
        client.mail.extend(map(Adopt, client.offered))
        return tuple(
            Held(it.id, it.call_key, it.endpoint, it.number, it.estimate, it.task, it.run_id)
            for it in client.offered.values()
        )

    def happen(self, *events):
        if self.dispatcher is None:
            return
        for instruction in self.dispatcher.handle(events, self.now):
            match instruction:
                case Tell(client, message):
                    self.clients[client].mail.append(message)
                case Complete():
                    self.completions.append(instruction.completion)
                case _:
                    raise AssertionError(instruction)

    # ---- clients -------------------------------------------------------------------------------------

    def mail_arrives(self, name, count):
        client = self.clients[name]
        if client.is_frozen:
            return
        for _ in range(min(count, len(client.mail))):
            match client.mail.popleft():
                case SetShare(_, slots, reserved):
                    self.start(client, client.queue.set_slots(slots, reserved))
                case Attempt() as attempt:
                    client.offered[attempt.id] = attempt
                    client.listener[attempt.id] = self.dispatcher_life
                    self.records.append((client, client.life, attempt, intent(attempt)))
                    self.start(client, client.queue.offer(attempt.id, attempt, first=attempt.first))
                case Abort(ids):
                    for attempt_id in ids:
                        self.abort(client, attempt_id)
                case Adopt(attempt_id):
                    if attempt_id in client.offered:
                        client.listener[attempt_id] = self.dispatcher_life
                    else:
                        unknown = AttemptEnded(attempt_id, error=LOST)
                        self.happen(AttemptDone(client.kept.pop(attempt_id, unknown)))

    def abort(self, client, attempt_id):
        """Stop an attempt. Of those that were sent, the endpoint does every other one all the same."""
        attempt = client.offered.get(attempt_id)
        if attempt is None or (attempt_id in client.started and attempt_id not in client.asked):
            return  # unknown, or between its clearance and the endpoint: it goes on
        stopped = failure(FailureKind.CANCELLED)
        if attempt_id in client.asked:
            if attempt_id % 2:
                self.work_on(attempt)
            self.free_slot(client, attempt)
            self.tell_outcome(client, attempt, AttemptEnded(attempt_id, error=stopped, took_s=0.1))
        elif client.queue.withdraw(attempt_id) is not None:
            self.tell_outcome(client, attempt, AttemptEnded(attempt_id, error=stopped, sent=False))

    def start(self, client, attempts):
        for attempt in attempts:
            client.started.add(attempt.id)
            self.proceed(client, attempt)

    def proceed(self, client, attempt):
        """Send an attempt that has both a slot and its clearance."""
        known = client.clearances.get(attempt.id)
        if attempt.id not in client.started or known is None:
            return
        if isinstance(known, Answer):
            self.free_slot(client, attempt)
            self.tell_dispatcher(client, AttemptEnded(attempt.id, known.values, reused=True))
        elif isinstance(known, InvalidTransitionError):  # its task has ended: nobody wants the answer
            self.free_slot(client, attempt)
            unsent = Failure(FailureKind.PERMANENT, Blame.UNKNOWN, str(known))
            self.tell_outcome(client, attempt, AttemptEnded(attempt.id, error=unsent, sent=False))
        else:
            client.asked.add(attempt.id)

    def free_slot(self, client, attempt, *, refused=False):
        client.started.discard(attempt.id)
        client.asked.discard(attempt.id)
        self.start(client, client.queue.end(attempt.id, refused=refused))

    def tell_outcome(self, client, attempt, ended):
        record = AttemptOutcome(attempt.run_id, attempt.task, attempt.call_key, ended)
        self.records.append((client, client.life, attempt, record))

    def tell_dispatcher(self, client, ended):
        if client.offered.pop(ended.id, None) is None:
            return
        client.clearances.pop(ended.id, None)
        listener = client.listener.pop(ended.id)
        if listener is None:
            client.kept[ended.id] = ended
        elif listener == self.dispatcher_life:
            self.happen(AttemptDone(ended))

    def a_client_goes_on(self, name):
        """Have a frozen client read what came meanwhile; a dispatcher that gave it up asks what it holds."""
        client = self.clients[name]
        client.is_frozen = False
        while client.unread:
            client.unread.popleft()()
        if self.dispatcher is not None and not client.is_known:
            self.call_roll(name, client)

    def a_frozen_client_is_given_up(self, name):
        """Have the dispatcher take a client for lost that does not answer."""
        client = self.clients[name]
        if self.dispatcher is None or not client.is_known:
            return
        client.is_known = False
        mine = [attempt for attempt, to in client.listener.items() if to == self.dispatcher_life]
        mine += [message.id for message in client.mail if isinstance(message, Attempt | Adopt)]
        client.mail.clear()
        self.happen(*(Lost(attempt, may_have_run=True) for attempt in mine), ClientLeft(name))

    def a_client_dies(self, name, works, told):
        """Die with requests in flight. The endpoint may work on them, the journal may have heard the rest."""
        client = self.clients[name]
        for attempt_id, is_worked_on in zip(sorted(client.asked), works, strict=False):
            if is_worked_on:
                self.work_on(client.offered[attempt_id])
        if not told:
            self.records = deque(each for each in self.records if each[0] is not client)
        lost = [Lost(attempt, may_have_run=True) for attempt in client.offered]
        lost += [Lost(it.id, may_have_run=True) for it in client.mail if isinstance(it, Adopt)]
        client.mail = deque(message for message in client.mail if isinstance(message, Attempt))
        client.begin()
        client.is_known = self.dispatcher is not None
        self.happen(ClientBegan(name), *lost)

    # ---- the endpoint --------------------------------------------------------------------------------

    def the_endpoint_answers(self, some):
        for which, does, hears in some:
            asked = [(client, it) for client in self.clients.values() for it in sorted(client.asked)]
            if asked:
                client, attempt_id = asked[which % len(asked)]
                self.answer(client, client.offered[attempt_id], does, hears)

    def answer(self, client, attempt, does, hears):
        self.now += 0.001
        replayed = False
        if does == "works":
            replayed = self.work_on(attempt, hears)
            if replayed and hears is not FailureKind.IN_DOUBT:
                hears = self.verdicts[attempt.idempotency_key]
        paid = hears in (None, FailureKind.UNUSABLE)
        ended = AttemptEnded(
            attempt.id,
            values={"by": attempt.id} if hears is None else None,
            error=None if hears is None else failure(hears),
            usage=Usage(10, 5, 0.25) if paid else Usage(),
            correction=Correction("{}", "no") if hears is FailureKind.UNUSABLE else None,
            refusal=Refusal.CONCURRENCY if hears is FailureKind.REFUSED else None,
            replayed=replayed and paid,
            took_s=0.3,
        )
        if client.is_frozen:
            client.asked.discard(attempt.id)
            client.unread.append(partial(self.hear, client, attempt, ended))
        else:
            self.hear(client, attempt, ended)

    def hear(self, client, attempt, ended):
        refused = ended.refusal is not None
        self.free_slot(client, attempt, refused=refused)
        self.tell_outcome(client, attempt, ended)

    def work_on(self, attempt, verdict=None):
        """Bill a request, or repeat an answer at no charge. Return whether it was repeated."""
        key = attempt.idempotency_key
        if self.honours and key in self.verdicts:
            return True
        self.verdicts[key] = verdict if verdict is FailureKind.UNUSABLE else None
        self.billed[attempt.call_key] += 1
        self.billed_keys[key] += 1
        return False

    # ---- the journal ---------------------------------------------------------------------------------

    def journal_begins(self):
        self.journal_life += 1
        self.journal = JournalState("a", str(self.journal_life), CODEC, keep=self.keep, most_cached=2)
        self.store.commit(self.journal.take_over(self.store))

    def tell_journal(self, record):
        (reply,) = self.turn([record])
        assert not isinstance(reply, Exception), reply
        return reply

    def turn(self, records):
        turn = self.journal.handle(records, self.now, self.store)
        self.store.commit(turn.batch)
        return turn.replies

    def the_journal_takes_a_turn(self, count, fate):
        group = [self.records.popleft() for _ in range(min(count, len(self.records)))]
        records = [record for *_, record in group]
        replies = None
        match fate:
            case "commits":
                replies = self.turn(records)
            case "is lost":
                self.journal.handle(records, self.now, self.store)
                self.journal.forget()
                replies = self.turn(records)
            case "dies before it":
                self.journal_begins()
            case "dies after it":
                self.turn(records)
                self.journal_begins()
        if replies is None:
            self.records.extendleft(reversed(group))  # whoever told it hears nothing, and tells it again
            return
        for (client, life, attempt, record), reply in zip(group, replies, strict=True):
            if client.life == life and client.is_frozen:
                client.unread.append(partial(self.on_reply, client, attempt, record, reply))
            elif client.life == life:
                self.on_reply(client, attempt, record, reply)

    def on_reply(self, client, attempt, record, reply):
        if isinstance(reply, Exception):
            assert isinstance(record, Intent) and record.task in self.reports, (record, reply)  # noqa: PT018
        if isinstance(record, AttemptOutcome):
            self.tell_dispatcher(client, record.ended)
        elif attempt.id in client.offered:
            client.clearances[attempt.id] = reply
            self.proceed(client, attempt)

    # ---- time ----------------------------------------------------------------------------------------

    def the_alarm_rings(self):
        wake = self.dispatcher.next_wake(self.now)
        if wake is not None and wake < self.now + FOR_EVER / 2:
            self.now = wake
            self.happen()
