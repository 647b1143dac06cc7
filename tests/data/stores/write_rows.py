"""Writes a small store with every kind of row, by the rules of the version that this is run from.

To be run in a checkout of that version, once; what it wrote is kept here, and later versions have to read it:

    git worktree add /tmp/old c214ec8 && cd /tmp/old
    python THIS_FILE c214ec8.db
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.journal.keys import cancel_wish
from actors.core.journal.reads import answer
from actors.core.journal.state import JournalState
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.journal import (
    Accept,
    AttemptOutcome,
    CloseRun,
    Collected,
    Finish,
    Intent,
    Note,
    OpenRun,
    ReadTask,
    Reopen,
)
from actors.core.messages.tasks import DimensionResult, Fetched, Item, Report, SourceOutcome, Task, TaskState
from actors.core.messages.values import CallCounts, Priority, Usage
from actors.journal.stores.base import WriteBatch
from actors.journal.stores.codec import JsonCodec
from actors.journal.stores.sqlite import SqliteStore

CONFIG = {"name": "old", "limits": {"active_tasks": 10}}
ORIGIN = {"path": "/somewhere/old.yaml", "overrides": ["a=1"], "withheld": [], "limit": None}
seconds = itertools.count(1_790_000_000)


def attempt(run, task, call, number, ended=None, content=""):  # noqa: PLR0917 - in the order of the rows
    """Return an intent, and an outcome where it ended."""
    records = [Intent(run, task, call, number, "main", number, content, f"key-{call}")]
    return records if ended is None else [*records, AttemptOutcome(run, task, call, ended, content)]


def answered(number):
    return AttemptEnded(number, values={"quality": 0.5, "note": "ä"}, usage=Usage(10, 5, 0.25), took_s=0.3)


def failed(number, kind):
    return AttemptEnded(number, error=Failure(kind, Blame.ENDPOINT, f"it was {kind}", 2.0), took_s=0.1)


def report(key, state):
    result = DimensionResult("quality", 0.5, 0.25, 0.75, 2, "It is good.", ("wire:0",), ("thin",))
    sources = {"wire": SourceOutcome(2), "api": SourceOutcome(0, "transient: answered 503")}
    return Report(
        key, state, 0.5, (result,), sources, CallCounts(planned=2, reused=1), Usage(), 1.5, ("gap",)
    )


def fetched():
    item = Item("wire:0", "wire", "a text", {"stars": 4})
    lost = Failure(FailureKind.TRANSIENT, Blame.SOURCE, "answered 503")
    return (Fetched("wire", (item,)), Fetched("api", (), lost, 3))


def write(store):
    state = JournalState("old-host/1", "a1", JsonCodec(), keep="calls")
    store.commit(state.take_over(store))

    def tell(*records):
        turn = state.handle(records, float(next(seconds)), store)
        errors = [reply for reply in turn.replies if isinstance(reply, Exception)]
        if errors:
            raise errors[0]
        store.commit(turn.batch)

    for run in ("ended", "halfway", "running"):
        tell(OpenRun(run, "old", CONFIG, ORIGIN))
        for key in ("one", "two", "three"):
            tell(
                Accept(
                    run, Task(key, {"n": 1}), "acme", Priority.BATCH, 600.0, "group-1", f"req-{key}", "digest"
                )
            )
            tell(Note(run, key, "started"), Collected(run, key, fetched()))
        tell(*attempt(run, "one", "call-1", 1, failed(1, FailureKind.REFUSED)))
        tell(*attempt(run, "one", "call-1", 2, answered(2), content=f"content-{run}"))
        tell(*attempt(run, "one", "call-2", 3, failed(3, FailureKind.IN_DOUBT)))
        tell(*attempt(run, "two", "call-3", 4, answered(4)))
        tell(*attempt(run, "two", "call-4", 5))  # its end was not told
        tell(Finish(run, report("one", TaskState.PARTIAL)))
    tell(
        Finish("ended", report("two", TaskState.FAILED)),
        Finish("ended", report("three", TaskState.SUCCEEDED)),
    )
    view, _ = answer(ReadTask("ended", "two"), store, JsonCodec())
    tell(Reopen("ended", "two", view.ended_at))
    tell(Finish("ended", report("two", TaskState.SUCCEEDED)))
    tell(CloseRun("ended", "partial", {"state": "partial", "results": ["runs/ended/results.jsonl"]}))
    tell(CloseRun("halfway", "interrupted", {"state": "cancelled"}))
    store.commit(state.beat(store))
    store.commit(WriteBatch({cancel_wish("running"): b"1"}))


if __name__ == "__main__":
    made = SqliteStore(sys.argv[1])
    write(made)
    made.close()
