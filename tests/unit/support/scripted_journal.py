"""Journals without Ray over a store that does as a test says, and ways to ask them."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from actors.core.messages.journal import Accept, OpenRun
from actors.core.messages.tasks import Task
from actors.journal import actor as journal_actor
from actors.journal.actor import Journal, JournalSettings
from actors.journal.stores.memory import MemoryStore
from actors.journal.stores.opening import MemorySettings

RUN = "r1"
LONG_S = 1e6


class ScriptedStore(MemoryStore):
    """A store whose commits fail as scripted, and which can be had to wait in the middle of one."""

    def __init__(self):
        super().__init__()
        self.errors = []  # of the next commits; None: that one succeeds
        self.unheard = False  # the commits that fail were made all the same
        self.commits = []
        self.gate = threading.Event()
        self.gate.set()
        self.in_commit = threading.Event()
        self.closed = False

    def commit(self, batch):
        self.in_commit.set()
        assert self.gate.wait(10)
        error = self.errors.pop(0) if self.errors else None
        if error is None or self.unheard:
            super().commit(batch)
            self.commits.append(batch)
        if error is not None:
            raise error

    def close(self):
        assert self.gate.is_set()  # never beneath a commit
        self.closed = True


@contextlib.asynccontextmanager
async def journals(store, monkeypatch):
    """Yield what starts journals over one store, whose pauses take no time."""
    opened = []

    def open_store(settings):
        if opened and isinstance(opened[-1], Exception):
            raise opened.pop()
        return store

    monkeypatch.setattr(journal_actor, "open_store", open_store)
    monkeypatch.setattr(journal_actor, "end_loudly", end_this_test)
    monkeypatch.setattr(journal_actor, "_PACE_S", 0.0)
    monkeypatch.setattr(journal_actor, "_FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(journal_actor, "_LONGEST_PAUSE_S", 0.0)
    running = []

    def begin(owner="a", *, opening=None, **settings):
        if opening is not None:
            opened.append(opening)
        settings = {"lease_s": LONG_S, **settings}
        running.append(Journal(JournalSettings(MemorySettings(), owner, **settings)))
        return running[-1]

    yield begin
    store.gate.set()
    for journal in running:
        await journal.close()


def end_this_test(what):
    raise AssertionError(what)  # instead of the whole process


def ask(journal, item):
    """Return a future of the reply to `item`, errors included as values."""
    answer = asyncio.get_running_loop().create_future()
    journal._on_item(item, lambda value, urgent=False: answer.set_result(value))
    return answer


async def told(*answers):
    async with asyncio.timeout(10):
        return await asyncio.gather(*answers)


async def tell(journal, *items):
    return await told(*(ask(journal, item) for item in items))


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


def open_run(run_id=RUN):
    return OpenRun(run_id, "reviews", {"limit": 1})


def accept(task="t1", run_id=RUN):
    return Accept(run_id, Task(task))
