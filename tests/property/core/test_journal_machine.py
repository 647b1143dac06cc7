"""Whatever happens to journals and their store: first answers stand, counts are right, nothing is lost."""

from __future__ import annotations

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from actors.core.errors import Blame, Failure, FailureKind, FencedError, RunTakenError
from actors.core.journal import keys
from actors.core.journal.batch import range_of
from actors.core.journal.reads import read_events, read_run, read_task, read_tasks
from actors.core.journal.state import JournalState
from actors.core.journal.turn import Defer, Retried
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.journal import (
    Accept,
    Accepted,
    AttemptOutcome,
    CloseRun,
    Collected,
    Finish,
    Intent,
    LoggedEvent,
    Note,
    OpenRun,
    ReadEvents,
    ReadTasks,
    Reopen,
    TaskView,
)
from actors.core.messages.tasks import Fetched, Item, Report, Task, TaskState
from actors.core.messages.values import CallCounts, Usage
from tests.property.worlds.journal_model import ESTIMATE, ONE, Model, ModelRun
from tests.unit.support.journal_desk import DictStore, PlainJson, sums

CODEC = PlainJson()
ALL = 10_000
CONFIG = {"limit": 1}
runs = st.sampled_from(["r", "r0"])  # whose keys would be one another's beginning
tasks = st.sampled_from(["t", "t\0", "u"])
calls = st.sampled_from(["c1", "c2"])
owners = st.sampled_from(["a", "b:1"])
# What the endpoint does with a request, and what the client hears of it.
ends = st.sampled_from(
    [
        *[("works", None)] * 4,
        *[("works", FailureKind.UNUSABLE)] * 2,
        ("works", FailureKind.IN_DOUBT),
        ("works", FailureKind.CANCELLED),
        ("sent", FailureKind.IN_DOUBT),
        ("sent", FailureKind.REFUSED),
        ("sent", FailureKind.TRANSIENT),
        ("sent", FailureKind.PERMANENT),
        ("unsent", FailureKind.CANCELLED),
        ("unsent", FailureKind.TRANSIENT),
    ]
)
fates = st.sampled_from(["commits", "commits", "commits", "is lost", "is lost", "commits unheard"])
fresh = st.one_of(
    st.builds(lambda r, t, n: Accept(r, Task(t, {"n": n})), runs, tasks, st.sampled_from([1, 1, 1, 2])),
    st.builds(
        lambda r, t, k, n: Note(r, t, k, {"n": n}), runs, tasks, st.sampled_from("xy"), st.integers(0, 2)
    ),
    st.builds(
        lambda r, t, n: Collected(
            r, t, (Fetched("wire", tuple(Item(f"{i}", "wire", "x") for i in range(n))),)
        ),
        runs,
        tasks,
        st.integers(0, 2),
    ),
)
rare = st.one_of(
    st.builds(
        lambda r, t, state, n: Finish(
            r, Report(t, state, None, (), {}, CallCounts(n, reused=n, billed=7), Usage(1, 1, 1.0), 0.5)
        ),
        runs,
        tasks,
        st.sampled_from(TaskState),
        st.integers(0, 3),
    ),
    st.builds(CloseRun, runs, st.sampled_from(["interrupted", "succeeded"])),
)


class Journals(RuleBasedStateMachine):
    """Two applications over one store, whose lives end and linger, and clients that tell things twice."""

    @initialize(honours=st.booleans(), keep=st.sampled_from(["reports", "calls"]), cached=st.integers(1, 4))
    def begin(self, honours, keep, cached):
        self.honours = honours  # the endpoint repeats an answer to the same key, at no charge
        self.settings = {"keep": keep, "most_cached": cached}
        self.store = DictStore()
        self.model = Model(keep)
        self.now = 1000.0
        self.serial = itertools.count(1)
        self.lives: dict[bytes, JournalState] = {}
        self.newest: dict[str, bytes] = {}
        self.said: list = []  # everything that was ever told
        self.intents: list[Intent] = []  # that were cleared, and have not ended
        self.untold: list[AttemptOutcome] = []
        self.worked: set[tuple[str, str, str]] = set()
        self.billed = {"r": 0, "r0": 0}  # the endpoint's ledger
        for owner in ("a", "b:1"):
            self.another_life(owner)
        self.open("r", "a", False)

    # ---- owners --------------------------------------------------------------------------------------

    @rule(owner=owners)
    def another_life(self, owner):
        life = str(next(self.serial))
        me = self.newest[owner] = f"{owner}:{life}".encode()
        state = self.lives[me] = JournalState(owner, life, CODEC, **self.settings)
        self.store.commit(state.take_over(self.store))
        for run in self.model.runs.values():
            if run.state == "running" and owner_of(run.writer) == owner:
                run.writer = me

    @rule(run_id=runs, owner=owners, beats=st.booleans())
    def open(self, run_id, owner, beats):
        me = self.newest[owner]
        run = self.model.runs.get(run_id)
        held = run is not None and run.state == "running" and owner_of(run.writer) != owner
        reply = self.handle(me, [OpenRun(run_id, "n", CONFIG)])[0]
        assert isinstance(reply, Defer) == held
        if held:
            if beats:
                self.store.commit(self.lives[run.writer].beat(self.store))
            reply = self.handle(me, [Retried(reply.record, reply.observed)])[0]
            assert isinstance(reply, RunTakenError) == beats
            if beats:
                return
        if run is None:
            run = self.model.runs[run_id] = ModelRun(me, me)
        run.writer, run.state = me, "running"
        assert reply.is_new == (run.created_by == me and not run.tasks)
        assert reply.tasks.accepted == len(run.tasks)

    @rule(data=st.data())
    def all_that_is_cached_is_dropped(self, data):
        self.lives[data.draw(st.sampled_from(sorted(self.lives)))].forget()

    @rule()
    def hearts_beat(self):
        for state in self.lives.values():
            self.store.commit(state.beat(self.store))

    # ---- records -------------------------------------------------------------------------------------

    @rule(data=st.data(), fate=fates, lingers=st.sampled_from([False, False, False, True]))
    def records_are_told(self, data, fate, lingers):
        kinds = [fresh, fresh, rare, self.new_intents()]
        kinds += [st.sampled_from(self.said)] if self.said else []
        records = data.draw(st.lists(st.one_of(kinds), min_size=1, max_size=6))
        self.tell(self.who(data, records[0].run_id, lingers), records, fate)

    @rule(data=st.data(), run_id=runs, task=tasks, fate=fates)
    def a_pipeline_works_at_a_task(self, data, run_id, task, fate):
        intents = [replace(data.draw(self.new_intents()), run_id=run_id, task=task) for _ in range(3)]
        self.tell(self.who(data, run_id, False), [Accept(run_id, Task(task, {"n": 1})), *intents], fate)

    @rule(data=st.data(), run_id=runs, task=tasks, fate=fates, before=st.booleans())
    def a_task_is_to_be_done_again(self, data, run_id, task, fate, before):
        known = read_task(self.store, CODEC, run_id, task)
        ended_at = known[0].ended_at if known and known[0].ended_at else 0.0
        first = [data.draw(st.one_of(fresh, rare))] if before else []
        records = [*first, Reopen(run_id, task, ended_at), Accept(run_id, Task(task, {"n": 1}))]
        self.tell(self.who(data, run_id, False), records, fate)

    @precondition(lambda self: self.intents)
    @rule(data=st.data(), some=st.lists(ends, min_size=1, max_size=4))
    def attempts_end(self, data, some):
        for does, hears in some[: len(self.intents)]:
            intent = self.intents.pop(data.draw(st.integers(0, len(self.intents) - 1)))
            self.untold.append(self.ended(intent, does, hears))

    @precondition(lambda self: self.untold)
    @rule(data=st.data(), fate=fates, count=st.integers(1, 5))
    def outcomes_are_told(self, data, fate, count):
        records = [data.draw(st.sampled_from(self.untold)) for _ in range(count)]
        me = self.who(data, records[0].run_id, False)
        replies = self.tell(me, records, fate)
        for record, reply in zip(records, replies, strict=True):
            if not isinstance(reply, Exception) and record in self.untold:
                self.untold.remove(record)

    def new_intents(self):
        return st.builds(
            lambda run_id, task, call, content, revision: Intent(
                run_id, task, call, next(self.serial), "main", 1, content, f"{call}.{revision}", ESTIMATE
            ),
            runs,
            tasks,
            calls,
            st.sampled_from(["", "", "", "x"]),
            st.integers(0, 1),
        )

    def ended(self, intent, does, hears):
        """Have the endpoint do something with a request, and return what the client hears of it."""
        name = (intent.run_id, intent.task, intent.idempotency_key)
        replayed = does == "works" and self.honours and name in self.worked
        if does == "works":
            self.worked.add(name)
            self.billed[intent.run_id] += not replayed
        answered = hears in (None, FailureKind.UNUSABLE)
        ended = AttemptEnded(
            intent.attempt,
            values={"by": intent.attempt} if hears is None else None,
            error=None if hears is None else Failure(hears, Blame.ENDPOINT, "said the test"),
            usage=ONE if answered else Usage(),
            replayed=replayed and answered,
            took_s=0.3,
            sent=does != "unsent",
        )
        return AttemptOutcome(intent.run_id, intent.task, intent.call_key, ended, intent.content)

    def who(self, data, run_id, lingers):
        """Return who is told: whoever writes to the run, or anyone who ever lived."""
        run = self.model.runs.get(run_id)
        return data.draw(st.sampled_from(sorted(self.lives))) if lingers or run is None else run.writer

    def tell(self, me, records, fate):
        replies = self.handle(me, records, fate)
        self.said += records
        for record, reply in zip(records, replies, strict=True):
            expected = self.model.tell(me, record)
            assert shape(reply) == expected, (record, reply)
            if isinstance(record, Intent) and record not in self.intents:
                tries = self.tries(record)
                if tries.get(record.attempt) and not self.has_ended(record):
                    self.intents.append(record)
        return replies

    def tries(self, intent):
        run = self.model.runs.get(intent.run_id)
        task = run and run.tasks.get(intent.task)
        return task.tries if task else {}

    def has_ended(self, intent):
        made = self.tries(intent)[intent.attempt]
        return made.reused or any(
            isinstance(each, AttemptOutcome) and each.ended.id == intent.attempt
            for each in self.untold + self.said
        )

    def handle(self, me, records, fate="commits"):
        """Return the replies of a journal, whatever becomes of its first commit."""
        self.now += 1.0
        self.model.now = self.now
        state = self.lives[me]
        turn = state.handle(records, self.now, self.store)
        if fate == "is lost":
            state.forget()
            turn = state.handle(records, self.now, self.store)
        try:
            self.store.commit(turn.batch)
            if fate == "commits unheard":
                state.forget()
                for record in records:
                    self.model.tell(me, record)
                turn = state.handle(records, self.now, self.store)
                self.store.commit(turn.batch)
        except FencedError:
            state.forget()
            turn = state.handle(records, self.now, self.store)
            self.store.commit(turn.batch)
        state.check_invariants()
        return turn.replies

    # ---- what always holds ---------------------------------------------------------------------------

    @invariant()
    def the_store_says_what_the_model_says(self):
        for run_id, run in self.model.runs.items():
            view = read_run(self.store, CODEC, run_id)
            assert sums(view.spent) == run.spent()
            assert view.state == run.state
            views = read_tasks(self.store, CODEC, ReadTasks(run_id, limit=ALL))
            assert [view.key for view in views] == list(run.tasks)
            assert [view.ordinal for view in views] == list(range(len(views)))
            states = [key for key in self.store.keys if key.startswith(b"s" + keys.part(run_id))]
            assert len(states) == len(run.tasks)
            assert view.tasks.ended == sum(task.report is not None for task in run.tasks.values())
            for key, task in run.tasks.items():
                assert read_task(self.store, CODEC, run_id, key)[1] == task.report

    @invariant()
    def event_ids_have_no_gap(self):
        for run_id, run in self.model.runs.items():
            events = read_events(self.store, CODEC, ReadEvents(run_id, limit=ALL))
            assert shape(events) == tuple((n + 1, *event) for n, event in enumerate(run.events))
            for task in run.tasks:
                mine = [event for event in events if event.task == task]
                assert [event.task_id for event in mine] == list(range(1, len(mine) + 1))
                assert tuple(mine) == read_events(self.store, CODEC, ReadEvents(run_id, task, limit=ALL))

    @invariant()
    def what_the_endpoint_billed_is_billed_or_in_doubt(self):
        for run_id, run in self.model.runs.items():
            counts = run.spent().counts
            assert counts.billed <= self.billed[run_id] <= counts.billed + counts.in_doubt

    @invariant()
    def bodies_go_with_the_report_where_only_reports_are_kept(self):
        if self.settings["keep"] == "reports":
            for run_id, run in self.model.runs.items():
                for key, task in run.tasks.items():
                    if task.report:
                        assert not self.store.scan(*range_of(keys.calls(run_id, key)), 1)

    def teardown(self):
        for outcome in self.untold:
            self.tell(self.model.runs[outcome.run_id].writer, [outcome], "commits")
        self.the_store_says_what_the_model_says()


def owner_of(writer):
    return writer.decode().rpartition(":")[0]


def shape(reply):
    """Return what the model says of a reply: no times, errors by type, tasks and events by name."""
    match reply:
        case Exception():
            return type(reply)
        case Accepted():
            return replace(reply, accepted_at=0.0, age_s=0.0)
        case (TaskView(), *_):
            return tuple(view.key for view in reply)
        case (LoggedEvent(), *_):
            return tuple((event.id, event.task, event.kind) for event in reply)
    return reply


TestJournals = Journals.TestCase
TestJournals.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
