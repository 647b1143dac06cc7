"""The journal's shell without Ray: what it does while its store is slow, away, damaged or another's."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest

from actors import journal_actor
from actors.core.errors import FencedError, RunTakenError, StoreError, StoreUnavailableError
from actors.core.journal_keys import cancel_wish, heartbeat
from actors.core.journal_messages import (
    Accept,
    Accepted,
    Note,
    OpenRun,
    ReadEvents,
    ReadRun,
    ReadSpent,
    ReadTask,
    ReadTasks,
    RunOpened,
    Spent,
)
from actors.core.messages import Done, Task
from actors.journal_actor import Journal, JournalSettings
from actors.stores.base import Batch
from actors.stores.memory import MemoryStore
from actors.stores.opening import MemorySettings

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


@pytest.fixture
def store():
    return ScriptedStore()


@pytest.fixture
async def start(store, monkeypatch):
    """Start journals over one store, whose pauses take no time."""
    opened = []

    def open_store(settings):
        if opened and isinstance(opened[-1], Exception):
            raise opened.pop()
        return store

    monkeypatch.setattr(journal_actor, "open_store", open_store)
    monkeypatch.setattr(journal_actor, "settle_in", lambda: None)
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


# ---- groups ----------------------------------------------------------------------------------------------


async def test_what_gathers_during_a_commit_goes_with_the_next_and_nothing_is_told_before(start, store):
    journal = start()
    await tell(journal, open_run())
    before = len(store.commits)
    store.gate.clear()
    store.in_commit.clear()
    first = ask(journal, accept("t0"))
    await until(store.in_commit.is_set)
    others = [ask(journal, accept(f"t{n}")) for n in range(1, 20)]
    assert not first.done()
    store.gate.set()
    replies = await told(first, *others)
    assert all(isinstance(reply, Accepted) and reply.is_new for reply in replies)
    assert len(store.commits) - before == 2
    known = await journal.statistics()
    assert known.queued == 0
    assert known.commits == 3


async def test_a_question_waits_for_no_commit_and_is_told_what_is_durable(start, store, monkeypatch):
    view = MemoryStore()
    view._table = store._table
    monkeypatch.setattr(journal_actor, "open_beside", lambda _: view)
    journal = start()
    await tell(journal, open_run(), ReadRun(RUN))
    store.gate.clear()
    store.in_commit.clear()
    accepted = ask(journal, accept("t0"))
    await until(store.in_commit.is_set)
    assert await tell(journal, ReadTask(RUN, "t0")) == [None]
    assert not accepted.done()
    store.gate.set()
    await told(accepted)
    ((task, report),) = await tell(journal, ReadTask(RUN, "t0"))
    assert (task.key, report) == ("t0", None)


async def test_where_nobody_else_can_see_into_the_store_a_question_waits_for_the_commit(start, store):
    journal = start()
    await tell(journal, open_run())
    store.gate.clear()
    store.in_commit.clear()
    ask(journal, accept("t0"))
    await until(store.in_commit.is_set)
    looked = ask(journal, ReadTask(RUN, "t0"))
    store.gate.set()
    ((task, _),) = await told(looked)
    assert task.key == "t0"


async def test_a_group_is_bounded_so_that_its_first_record_does_not_wait_for_ever(start, store, monkeypatch):
    monkeypatch.setattr(journal_actor, "_GROUP", 4)
    journal = start()
    await tell(journal, open_run())
    before = len(store.commits)
    await tell(journal, *(accept(f"t{n}") for n in range(12)))
    assert len(store.commits) - before == 3


async def test_questions_alone_commit_nothing(start, store):
    journal = start()
    await tell(journal, open_run())
    before = len(store.commits)
    (spent,) = await tell(journal, ReadSpent(RUN))
    assert isinstance(spent, Spent)
    assert len(store.commits) == before


# ---- a store in trouble ----------------------------------------------------------------------------------


async def test_while_the_store_is_away_records_wait_and_are_stored_once_it_is_back(start, store):
    journal = start()
    await tell(journal, open_run())
    store.errors = [StoreUnavailableError("the disk is full")] * 3
    assert isinstance((await tell(journal, accept()))[0], Accepted)
    assert (await journal.statistics()).trouble == ""


async def test_a_commit_of_which_nobody_knows_is_made_again_and_counts_once(start, store):
    journal = start()
    await tell(journal, open_run())
    store.errors, store.unheard = [StoreUnavailableError("the connection broke")], True
    (accepted,) = await tell(journal, accept())
    assert isinstance(accepted, Accepted)
    (events,) = await tell(journal, ReadEvents(RUN))
    assert [event.kind for event in events] == ["accepted"]


async def test_a_store_that_can_be_read_and_not_written_is_in_trouble_and_given_up_all_the_same(
    start, store, monkeypatch
):
    view = MemoryStore()
    view._table = store._table
    monkeypatch.setattr(journal_actor, "open_beside", lambda _: view)
    ticks = iter(range(0, 10**9, 10))
    clock = SimpleNamespace(monotonic=lambda: next(ticks), time=lambda: 0.0, perf_counter=lambda: 0.0)
    monkeypatch.setattr(journal_actor, "time", clock)
    journal = start(give_up_s=1000.0)
    await tell(journal, open_run(), ReadRun(RUN))
    store.errors = [StoreUnavailableError("the disk is full")] * 10_000
    written = ask(journal, accept())
    for _ in range(100):
        left = len(store.errors)
        await until(lambda left=left: written.done() or len(store.errors) < left)
        await tell(journal, ReadRun(RUN))
        assert "the disk is full" in (await journal.statistics()).trouble
    assert isinstance((await told(written))[0], StoreUnavailableError)
    store.errors = []
    assert isinstance((await tell(journal, accept()))[0], Accepted)
    assert (await journal.statistics()).trouble == ""


async def test_a_store_that_stays_away_is_given_up_and_then_tried_once_by_each_that_comes(
    start, store, monkeypatch
):
    ticks = iter(range(0, 10**9, 10))
    clock = SimpleNamespace(monotonic=lambda: next(ticks), time=lambda: 0.0, perf_counter=lambda: 0.0)
    monkeypatch.setattr(journal_actor, "time", clock)
    journal = start(give_up_s=25.0)
    await tell(journal, open_run())
    store.errors = [StoreUnavailableError("the disk is full")] * 4
    first, second = await tell(journal, accept("t1"), accept("t2"))
    assert isinstance(first, StoreUnavailableError)
    assert str(second) == "the disk is full"
    assert store.errors == []  # it was tried for as long as it was told to
    assert (await journal.statistics()).trouble == "the disk is full"
    store.errors = [StoreUnavailableError("it still is")]
    assert str((await tell(journal, accept("t1")))[0]) == "it still is"
    assert (await tell(journal, accept("t1")))[0].is_new  # of what was refused nothing was stored
    assert (await journal.statistics()).trouble == ""


@pytest.mark.parametrize("where", ["opening", "commit"])
async def test_a_damaged_store_ends_nothing_and_answers_each_record_with_what_is_wrong(start, store, where):
    damage = StoreError("state.db is damaged at byte 4096")
    journal = start(opening=damage if where == "opening" else None)
    if where == "commit":
        await tell(journal, open_run())
        store.errors = [damage]
    replies = await tell(journal, open_run(), accept())
    assert replies == [damage] * 2
    assert "damaged at byte 4096" in (await journal.statistics()).trouble
    assert isinstance((await tell(journal, open_run()))[0], RunOpened)  # somebody has restored it


async def test_who_begins_a_run_in_a_store_that_cannot_be_opened_is_told_at_once(start):
    journal = start(opening=StoreUnavailableError("the directory may not be written"), give_up_s=LONG_S)
    (reply,) = await tell(journal, open_run())
    assert isinstance(reply, StoreUnavailableError)
    assert isinstance((await tell(journal, open_run()))[0], RunOpened)


async def test_work_under_way_waits_for_a_store_that_a_new_life_of_the_journal_cannot_open_yet(start):
    await tell(start(), open_run())
    second = start(opening=StoreUnavailableError("the server is down"))
    assert isinstance((await tell(second, accept()))[0], Accepted)


# ---- another owner ---------------------------------------------------------------------------------------


async def test_when_a_run_was_taken_over_each_record_of_a_group_learns_whether_it_is_concerned(start, store):
    zombie, heir = start("a"), start("b", lease_s=0.01)
    await tell(zombie, open_run("lost"), open_run("kept"), accept("t1", "lost"))
    (opened,) = await tell(heir, open_run("lost"))  # nobody beat for a lease
    assert isinstance(opened, RunOpened)
    assert opened.tasks.accepted == 1
    lost, kept, also_lost = await tell(
        zombie, accept("t2", "lost"), accept("t2", "kept"), Note("lost", "t1", "started")
    )
    assert isinstance(lost, FencedError)
    assert "is written by b:" in str(lost)
    assert isinstance(also_lost, FencedError)
    assert kept.is_new
    (views,) = await tell(heir, ReadTasks("lost"))
    assert [view.key for view in views] == ["t1"]  # the zombie wrote nothing


async def test_a_group_that_loses_its_fences_again_and_again_is_refused_and_not_tried_for_ever(start, store):
    journal = start()
    await tell(journal, open_run())
    store.errors = [FencedError("said the store")] * 3
    replies = await tell(journal, accept("t1"), accept("t2"))
    assert [type(reply) for reply in replies] == [FencedError] * 2
    assert isinstance((await tell(journal, accept("t1")))[0], Accepted)


async def test_a_run_whose_owner_is_alive_is_refused_after_a_lease(start, store):
    owner = start("a", lease_s=0.02)
    await tell(owner, open_run())
    other = start("b", lease_s=0.2)  # some beats of the owner fit into it
    (reply,) = await tell(other, open_run())
    assert isinstance(reply, RunTakenError)
    assert "driver.py status r1" in str(reply)


async def test_another_life_of_an_owner_goes_on_with_its_runs_at_once_and_the_earlier_is_fenced(start):
    first = start("a")
    await tell(first, open_run(), accept("t1"))
    second = start("a")
    assert (await tell(second, accept("t2")))[0].is_new
    assert isinstance((await tell(first, accept("t3")))[0], FencedError)


# ---- beats -----------------------------------------------------------------------------------------------


async def test_the_heart_beats_without_records_and_looks_for_wishes_to_cancel(start, store):
    journal = start(lease_s=0.01)
    await tell(journal, open_run())
    seen = store.get(heartbeat(RUN))
    await until(lambda: store.get(heartbeat(RUN)) != seen)
    assert (await journal.statistics()).cancel_wished == ()
    store.commit(Batch({cancel_wish(RUN): b"1"}))
    await until(lambda: journal._cancel_wished == (RUN,))
    assert (await journal.statistics()).cancel_wished == (RUN,)


async def test_a_beat_that_fails_is_told_and_the_next_record_still_waits_for_the_store(start, store):
    journal = start(lease_s=0.01)
    await tell(journal, open_run())
    store.errors = [StoreUnavailableError("the server is down")]
    await until(lambda: journal._unwritten.said == "the server is down")
    assert isinstance((await tell(journal, accept()))[0], Accepted)


async def test_a_beat_that_is_stored_again_ends_the_trouble_though_no_record_comes(start, store):
    journal = start(lease_s=0.01)
    await tell(journal, open_run())
    store.errors = [StoreUnavailableError("the server is down")]
    await until(lambda: journal._unwritten.said == "the server is down")
    await until(lambda: journal._unwritten.said == "")
    assert (await journal.statistics()).trouble == ""


# ---- waiting for events ----------------------------------------------------------------------------------


async def test_who_waits_for_events_is_woken_by_the_first_of_its_own_task(start):
    journal = start()
    await tell(journal, open_run(), accept("t1"), accept("t2"))
    mine = ask(journal, ReadEvents(RUN, "t1", after=1, wait_s=LONG_S))
    everybodys = ask(journal, ReadEvents(RUN, after=2, wait_s=LONG_S))
    assert await tell(journal, Note(RUN, "t2", "started")) == [Done()]
    assert [event.task for event in (await told(everybodys))[0]] == ["t2"]
    assert not mine.done()
    assert (await journal.statistics()).waiting == 1
    await tell(journal, Note(RUN, "t1", "started"))
    assert [(event.task_id, event.kind) for event in (await told(mine))[0]] == [(2, "started")]
    assert (await journal.statistics()).waiting == 0


async def test_who_waits_in_vain_is_told_so_in_time(start):
    journal = start()
    await tell(journal, open_run(), accept("t1"))
    assert await tell(journal, ReadEvents(RUN, "t1", after=1, wait_s=0.01)) == [()]
    assert (await journal.statistics()).waiting == 0


# ---- the end ---------------------------------------------------------------------------------------------


async def test_the_store_is_closed_behind_a_commit_that_is_under_way_never_beneath_it(start, store):
    journal = start()
    await tell(journal, open_run())
    store.gate.clear()
    store.in_commit.clear()
    ask(journal, accept())
    await until(store.in_commit.is_set)
    closing = asyncio.create_task(journal.close())
    for _ in range(50):
        await asyncio.sleep(0)
    assert not store.closed
    store.gate.set()
    async with asyncio.timeout(10):
        await closing
    assert store.closed
