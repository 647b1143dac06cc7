"""The journal's shell without Ray: what goes in one commit, what is asked beside it, and who is told what."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from msgspec.structs import replace

from actors.core.errors import HeadraceError, UnprocessableError
from actors.core.messages.journal import (
    Accepted,
    Intent,
    Note,
    ReadEvents,
    ReadGroup,
    ReadRun,
    ReadSpent,
    ReadTask,
    ReadTasks,
    Spent,
)
from actors.core.messages.values import Done
from actors.journal import actor as journal_actor
from actors.journal.stores.memory import MemoryStore
from tests.unit.support.scripted_journal import (
    LONG_S,
    RUN,
    ScriptedStore,
    accept,
    ask,
    journals,
    open_run,
    tell,
    told,
    until,
)


@pytest.fixture
def store():
    return ScriptedStore()


@pytest.fixture
async def start(store, monkeypatch):
    async with journals(store, monkeypatch) as begin:
        yield begin


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
    known = journal.statistics()
    assert known.queued == 0
    assert known.commits == 3


async def test_the_metrics_have_how_long_each_commit_took(start, store, monkeypatch):
    now = 0.0

    def commit(batch, commit=store.commit):
        nonlocal now
        now += 0.25
        commit(batch)

    monkeypatch.setattr(journal_actor.time, "perf_counter", lambda: now)
    monkeypatch.setattr(store, "commit", commit)
    journal = start()
    await tell(journal, open_run())
    await tell(journal, accept("t0"))
    known = journal.statistics()
    read = {(it.measure.name, it.labels): it.value for it in journal_actor.readings(known)}
    named = "headrace_commit_seconds"
    assert read[f"{named}_count", ()] == known.commits > 1
    assert read[f"{named}_sum", ()] == 0.25 * known.commits


async def test_a_question_waits_for_no_commit_and_is_told_what_is_durable(start, store, monkeypatch):
    view = MemoryStore()
    view._table = store._table
    monkeypatch.setattr(journal_actor, "open_beside", lambda *_: view)
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


# ---- one that raises -------------------------------------------------------------------------------------


HOSTILE = (
    ReadTasks(RUN, after=10**26),
    ReadTasks(RUN, limit=2**70),
    ReadEvents(RUN, "t1", after=2**64, wait_s=float("inf")),
    ReadEvents(RUN, limit="all", wait_s="long"),
    ReadTasks(7, "accepted"),
    ReadTask(RUN, b"t1"),
    ReadGroup(None, None),
    ReadSpent({RUN}),
    replace(accept("t2"), tenant={"a"}),
    replace(accept("t2"), expires_in_s="soon"),
    Intent(RUN, "t1", "call", 10**26, "main", 1),
    Note(RUN, "t1", "started", {1: {2}}),
    "no message",
)


@pytest.mark.parametrize("hostile", HOSTILE, ids=repr)
async def test_a_message_of_any_content_ends_no_journal_and_harms_no_other(start, store, hostile):
    journal = start()
    await tell(journal, open_run(), accept("t1"))
    reply = ask(journal, hostile)
    good = await tell(journal, accept("t3"), Note(RUN, "t1", "started"), ReadTask(RUN, "t1"), ReadSpent(RUN))
    assert [type(each) for each in good] == [Accepted, Done, tuple, Spent]
    if not isinstance(hostile, ReadEvents):  # which waits for an event
        (answered,) = await told(reply)
        assert isinstance(answered, HeadraceError | tuple), hostile
        pickle.loads(pickle.dumps(answered))  # noqa: S301 - our own
    assert (await tell(journal, accept("t4")))[0].is_new


async def test_a_defect_is_logged_with_its_trace_and_answered_without_it(start, caplog):
    journal = start()
    (reply,) = await tell(journal, ReadTask(RUN, b"t1"))
    assert isinstance(reply, UnprocessableError)
    assert reply.__cause__ is None
    assert "Traceback" in caplog.text


# ---- waiting for events ----------------------------------------------------------------------------------


async def test_who_waits_for_events_is_woken_by_the_first_of_its_own_task(start):
    journal = start()
    await tell(journal, open_run(), accept("t1"), accept("t2"))
    mine = ask(journal, ReadEvents(RUN, "t1", after=1, wait_s=LONG_S))
    everybodys = ask(journal, ReadEvents(RUN, after=2, wait_s=LONG_S))
    assert await tell(journal, Note(RUN, "t2", "started")) == [Done()]
    assert [event.task for event in (await told(everybodys))[0]] == ["t2"]
    assert not mine.done()
    assert journal.statistics().waiting == 1
    await tell(journal, Note(RUN, "t1", "started"))
    assert [(event.task_id, event.kind) for event in (await told(mine))[0]] == [(2, "started")]
    assert journal.statistics().waiting == 0


async def test_who_waits_in_vain_is_told_so_in_time(start):
    journal = start()
    await tell(journal, open_run(), accept("t1"))
    assert await tell(journal, ReadEvents(RUN, "t1", after=1, wait_s=0.01)) == [()]
    assert journal.statistics().waiting == 0


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
