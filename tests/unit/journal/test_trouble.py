"""The journal's shell without Ray: what it does while its store is slow, away, damaged or another's."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from actors.core.errors import FencedError, RunTakenError, StoreError, StoreUnavailableError
from actors.core.journal.keys import cancel_request, heartbeat
from actors.core.messages.journal import (
    Accepted,
    AwaitCancel,
    Note,
    ReadEvents,
    ReadRun,
    ReadTasks,
    RunOpened,
)
from actors.core.messages.values import Done
from actors.journal import actor as journal_actor
from actors.journal.stores.base import WriteBatch
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


# ---- a store in trouble ----------------------------------------------------------------------------------


async def test_while_the_store_is_away_records_wait_and_are_stored_once_it_is_back(start, store):
    journal = start()
    await tell(journal, open_run())
    store.errors = [StoreUnavailableError("the disk is full")] * 3
    assert isinstance((await tell(journal, accept()))[0], Accepted)
    assert journal.statistics().trouble == ""


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
    monkeypatch.setattr(journal_actor, "open_beside", lambda *_: view)
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
        assert "the disk is full" in journal.statistics().trouble
    assert isinstance((await told(written))[0], StoreUnavailableError)
    store.errors = []
    assert isinstance((await tell(journal, accept()))[0], Accepted)
    assert journal.statistics().trouble == ""


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
    assert journal.statistics().trouble == "the disk is full"
    store.errors = [StoreUnavailableError("it still is")]
    assert str((await tell(journal, accept("t1")))[0]) == "it still is"
    assert (await tell(journal, accept("t1")))[0].is_new  # of what was refused nothing was stored
    assert journal.statistics().trouble == ""


async def test_who_looks_at_a_store_that_is_away_is_refused_in_half_a_minute_and_records_go_on_waiting(
    start, store, monkeypatch
):
    ticks = iter(range(0, 10**9, 10))
    clock = SimpleNamespace(monotonic=lambda: next(ticks), time=lambda: 0.0, perf_counter=lambda: 0.0)
    monkeypatch.setattr(journal_actor, "time", clock)
    journal = start(give_up_s=LONG_S)
    await tell(journal, open_run())
    reading = store.get

    def away(key):
        raise StoreUnavailableError("the server is down")

    store.get = store.scan = away
    store.errors = [StoreUnavailableError("the server is down")] * 3
    written = ask(journal, accept())
    (read,) = await tell(journal, ReadRun(RUN))
    assert isinstance(read, StoreUnavailableError)
    assert not written.done()
    store.get = reading
    del store.scan
    assert isinstance((await told(written))[0], Accepted)


@pytest.mark.parametrize("where", ["opening", "commit"])
async def test_a_damaged_store_ends_nothing_and_answers_each_record_with_what_is_wrong(start, store, where):
    damage = StoreError("state.db is damaged at byte 4096")
    journal = start(opening=damage if where == "opening" else None)
    if where == "commit":
        await tell(journal, open_run())
        store.errors = [damage]
    replies = await tell(journal, open_run(), accept())
    assert replies == [damage] * 2
    assert "damaged at byte 4096" in journal.statistics().trouble
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
    assert "status r1" in str(reply)


async def test_another_life_of_an_owner_goes_on_with_its_runs_at_once_and_the_earlier_is_fenced(start):
    first = start("a")
    await tell(first, open_run(), accept("t1"))
    second = start("a")
    assert (await tell(second, accept("t2")))[0].is_new
    assert isinstance((await tell(first, accept("t3")))[0], FencedError)


# ---- beats -----------------------------------------------------------------------------------------------


async def test_the_heart_beats_without_records_and_a_requested_cancellation_is_answered(start, store):
    journal = start(lease_s=0.01)
    await tell(journal, open_run())
    seen = store.get(heartbeat(RUN))
    await until(lambda: store.get(heartbeat(RUN)) != seen)
    other, asked = (ask(journal, AwaitCancel(run_id)) for run_id in ("other", RUN))
    seen = store.get(heartbeat(RUN))
    await until(lambda: store.get(heartbeat(RUN)) != seen)
    assert not asked.done()
    store.commit(WriteBatch({cancel_request(RUN): b"1"}))
    assert await told(asked) == [Done()]
    assert not other.done()


async def until_down(journal, store):
    """Let the beats fail until the journal knows it, then let them succeed.

    On a busy machine one failure and the beat after it may be over before a test looks.
    """
    store.errors = [StoreUnavailableError("the server is down")] * 100_000
    await until(lambda: journal._unwritten.message == "the server is down")
    store.errors.clear()


async def test_a_beat_that_fails_is_told_and_the_next_record_still_waits_for_the_store(start, store):
    journal = start(lease_s=0.01)
    await tell(journal, open_run())
    await until_down(journal, store)
    assert isinstance((await tell(journal, accept()))[0], Accepted)


async def test_a_beat_that_is_stored_again_ends_the_trouble_though_no_record_comes(start, store):
    journal = start(lease_s=0.01)
    await tell(journal, open_run())
    await until_down(journal, store)
    await until(lambda: journal._unwritten.message == "")
    assert journal.statistics().trouble == ""


async def test_the_heart_beats_while_the_event_loop_is_busy(start, store):
    await tell(start(lease_s=0.01), open_run())
    for _ in range(3):
        store.in_commit.clear()
        assert store.in_commit.wait(10)  # keeps the loop from running


async def test_a_closed_journal_has_no_heart_that_opens_its_store_again(start, store):
    journal = start(lease_s=0.001)
    await tell(journal, open_run())
    await journal.close()
    beats = store.get(heartbeat(RUN))
    await journal._loop.run_in_executor(None, threading.Event().wait, 0.05)
    assert store.get(heartbeat(RUN)) == beats


async def test_a_beat_that_is_stored_does_not_end_the_patience_with_a_store_that_takes_no_records(
    start, store
):
    journal = start(lease_s=LONG_S)
    await tell(journal, open_run())
    store.errors = [StoreUnavailableError("the disk is full")] * 100_000
    written = ask(journal, accept())
    await until(lambda: journal._unwritten.since is not None)
    since = journal._unwritten.since
    journal._on_beat(journal_actor._Beat(is_written=True))
    assert (journal._unwritten.message, journal._unwritten.since) == ("the disk is full", since)
    store.errors = []
    assert isinstance((await told(written))[0], Accepted)
