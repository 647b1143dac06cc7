"""A journal with a store and a clock, for tests: commits each turn and hands back the replies."""

from __future__ import annotations

import json
from bisect import bisect_left

from msgspec.structs import replace

from actors.core.errors import Blame, Failure, FailureKind, FencedError
from actors.core.journal.batch import CheckedCodec
from actors.core.journal.reads import answer
from actors.core.journal.state import JournalState
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.journal import Accept, AttemptOutcome, Intent, OpenRun, Query
from actors.core.messages.tasks import Report, Task, TaskState
from actors.core.messages.values import CallCounts, Usage

NOW = 1_000_000.0
RUN = "r1"


class PlainJson:
    """The standard library's JSON: the rules need no more."""

    @staticmethod
    def dumps(value):
        return json.dumps(value).encode()

    @staticmethod
    def loads(data):
        return json.loads(data)


class DictStore:
    """A store in memory that counts how often it is read."""

    def __init__(self):
        self.rows: dict[bytes, bytes] = {}
        self.keys: list[bytes] = []
        self.reads = 0

    def get(self, key):
        self.reads += 1
        return self.rows.get(key)

    def scan(self, low, high, limit):
        assert limit >= 1
        self.reads += 1
        found = self.keys[bisect_left(self.keys, low) : bisect_left(self.keys, high)][:limit]
        return [(key, self.rows[key]) for key in found]

    def scan_keys(self, low, high, limit):
        return [key for key, _ in self.scan(low, high, limit)]

    def commit(self, batch):
        for key, value in batch.fences.items():
            if self.rows.get(key) != value:
                raise FencedError("said the store")
        for low, high in batch.deletions:
            for key in [key for key in self.rows if low <= key < high]:
                del self.rows[key]
        self.rows.update(batch.puts)
        self.keys = sorted(self.rows)

    def kinds(self):
        """Return the kinds of rows that there are."""
        return {chr(key[0]) for key in self.rows}


class Desk:
    """A journal over `store`, whose clock shows one second more with each turn."""

    def __init__(self, store=None, owner="host-a", life="1", **settings):
        self.store = DictStore() if store is None else store
        self.now = NOW
        self.owner = owner
        self.begin(life, **settings)

    def begin(self, life, codec=None, **settings):
        """Have another life of the same owner begin."""
        self.state = JournalState(self.owner, life, codec or PlainJson(), **settings)
        self.store.commit(self.state.take_over(self.store))

    def handle(self, *records):
        """Have one turn decided, and commit nothing."""
        self.now += 1.0
        return self.state.handle(records, self.now, self.store)

    def look(self, *queries):
        """Return what is told of queries."""
        return tuple(answer(query, self.store, CheckedCodec(PlainJson())) for query in queries)

    def tell_all(self, *records):
        """Return the replies to records that are decided together, or to queries."""
        if isinstance(records[0], Query):
            return self.look(*records)
        turn = self.handle(*records)
        try:
            self.store.commit(turn.batch)
        except FencedError:
            self.state.forget()
            turn = self.handle(*records)
            self.store.commit(turn.batch)
        self.state.check_invariants()
        return turn.replies

    def tell(self, record):
        """Return the reply to a record that is decided alone."""
        return self.tell_all(record)[0]

    def beat(self):
        self.store.commit(self.state.beat(self.store))

    def open(self, run_id=RUN, **fields):
        return self.tell(OpenRun(run_id, "reviews", **{"config": {"limit": 1}, **fields}))

    def accept(self, *tasks, run_id=RUN):
        return self.tell_all(*(Accept(run_id, Task(task, {"n": 1})) for task in tasks))


def intent(attempt, call="k1", task="t1", *, number=1, content="", key="", run_id=RUN, **more):
    return Intent(run_id, task, call, attempt, "main", number, content, key, **more)


def outcome(attempt, values=None, kind=None, call="k1", task="t1", *, content="", run_id=RUN, **ended):
    """Return the end of an attempt: an answer that took 10 + 5 tokens, or a failure of `kind`."""
    billed = kind in (None, FailureKind.UNUSABLE)
    fields = {
        "values": ({"quality": 0.5} if values is None else values) if kind is None else None,
        "error": None if kind is None else Failure(kind, Blame.ENDPOINT, f"it was {kind}"),
        "usage": Usage(10, 5, 0.25) if billed else Usage(),
        "took_s": 0.3,
    }
    return AttemptOutcome(run_id, task, call, AttemptEnded(attempt, **{**fields, **ended}), content)


def sums(spent):
    """Return the sums of `spent`, after a check that the lines of its receipt add up to them."""
    assert sum(line.calls for line in spent.lines) == spent.counts.billed
    assert sum((line.usage for line in spent.lines), Usage()) == spent.usage
    return replace(spent, lines=())


def report(task="t1", state=TaskState.SUCCEEDED, *, planned=1, reused=0):
    calls = CallCounts(planned=planned, reused=reused)
    return Report(task, state, 0.5, (), {}, calls, Usage(), 1.0)
