"""What can be read of runs and tasks, and in which pieces."""

from __future__ import annotations

import itertools

import pytest

from actors.core.errors import StoreError
from actors.core.journal import bounds, keys, reads
from actors.core.journal.batch import Overlay, WriteBatch, range_of, scan_all
from actors.core.journal.reads import Waiting, list_runs, read_events
from actors.core.journal.rows import load_task
from actors.core.messages.journal import (
    Accept,
    Finish,
    LatestTasks,
    Note,
    ReadEvents,
    ReadLatest,
    ReadRun,
    ReadSpent,
    ReadTask,
    ReadTasks,
    TaskTally,
)
from actors.core.messages.tasks import Task, TaskState
from tests.unit.support.journal_desk import RUN, Desk, DictStore, PlainJson, intent, outcome, report

ODD = ["", "\0", "\0\x01", "\x01", "a", "a\0", "a\0\0", "a\0b", "a\x01", "ab", "b", "é", "\ud800", "\udfff"]


@pytest.fixture
def desk():
    desk = Desk()
    desk.open()
    return desk


def test_what_is_not_there_is_none(desk):
    assert desk.tell_all(ReadRun("r9"), ReadTask(RUN, "t9")) == (None, None)
    assert desk.tell_all(ReadTasks("r9"), ReadEvents("r9")) == ((), ())


def test_tasks_are_read_page_by_page_in_order_of_acceptance(desk):
    names = [f"t{n}" for n in (5, 1, 9, 3, 7)]
    desk.accept(*names)
    read, after = [], -1
    while page := desk.tell(ReadTasks(RUN, after=after, limit=2)):
        read += [view.key for view in page]
        after = page[-1].ordinal
    assert read == names


def test_tasks_are_read_by_the_state_that_they_are_in_now(desk):
    desk.accept("t1", "t2", "t3")
    desk.tell_all(Finish(RUN, report("t2")), Finish(RUN, report("t3", TaskState.FAILED)))

    def names(state):
        return [view.key for view in desk.tell(ReadTasks(RUN, state))]

    assert [names(state) for state in ("accepted", "succeeded", "failed", "partial", "")] == [
        ["t1"], ["t2"], ["t3"], [], ["t1", "t2", "t3"],
    ]  # fmt: skip


def test_a_query_sees_what_is_committed(desk):
    desk.accept("t1")
    desk.tell(Finish(RUN, report("t1")))
    accepted, succeeded, events, spent, run = desk.look(
        ReadTasks(RUN, "accepted"),
        ReadTasks(RUN, "succeeded"),
        ReadEvents(RUN),
        ReadSpent(RUN),
        ReadRun(RUN),
    )
    assert accepted == ()
    assert [view.key for view in succeeded] == ["t1"]
    assert [event.kind for event in events] == ["accepted", "ended"]
    assert spent.counts.planned == 1
    assert run.tasks.succeeded == 1


def test_a_task_that_ends_between_two_reads_is_shown_as_it_was(desk):
    desk.accept("t1")
    running = desk.store.rows[keys.task(RUN, "t1")]
    desk.tell(Finish(RUN, report("t1")))
    desk.store.rows[keys.task(RUN, "t1")] = running  # read first, before the commit
    assert desk.tell(ReadTask(RUN, "t1")) == (load_task(PlainJson(), running), None)


def test_events_are_read_after_an_id_of_the_run_or_of_the_task(desk):
    desk.accept("t1", "t2")
    desk.tell(Note(RUN, "t2", "started"))
    assert [event.id for event in desk.tell(ReadEvents(RUN, after=1))] == [2, 3]
    assert [event.id for event in desk.tell(ReadEvents(RUN, "t2", after=1))] == [3]
    assert [event.id for event in desk.tell(ReadEvents(RUN, after=0, limit=1))] == [1]


def test_an_event_that_has_not_come_is_waited_for_and_told_of(desk):
    desk.accept("t1")
    query = ReadEvents(RUN, "t1", after=1, wait_s=5.0)
    assert desk.tell(query) == Waiting(query)
    turn = desk.handle(Note(RUN, "t1", "started"))
    assert turn.touched == {(RUN, "t1")}
    desk.store.commit(turn.batch)
    assert len(desk.tell(query)) == 1
    assert desk.tell(ReadEvents(RUN, "t1", after=2)) == ()


def test_a_damaged_row_does_not_hide_the_other_runs(desk):
    run = keys.run("r2")
    for name in ("r2", "r3", "r4"):
        desk.open(name)
    bad = {run: b'{"not": "a run"}', run + b"zz": b"{}", b"r\xff": b"{}", keys.totals("r3"): b"nonsense"}
    desk.store.commit(WriteBatch(bad))
    read, after = [], ""
    while page := list_runs(desk.store, PlainJson(), 1, after):
        read += page
        after = page[-1].run_id
    assert [(each.run_id, each.state) for each in read] == [
        (RUN, "running"), ("r2", "damaged"), ("r3", "damaged"), ("r4", "running")
    ]  # fmt: skip


def test_runs_are_listed_page_by_page_at_two_reads_a_page(desk):
    names = ["r1", "r1-", "r10", "r2", "r3"]
    for name in names[1:]:
        desk.open(name)
    desk.accept("t1", run_id="r10")
    desk.store.reads = 0
    read, after = [], ""
    while page := list_runs(desk.store, PlainJson(), 2, after):
        read += page
        after = page[-1].run_id
    assert [view.run_id for view in read] == names
    assert [view.tasks for view in read if view.run_id == "r10"] == [TaskTally(accepted=1)]
    assert desk.store.reads == 8


def test_a_page_of_tasks_is_bounded_in_bytes_and_the_next_one_goes_on(desk):
    sizes = {"t1": 1_500_000, "t2": 1_500_000, "t3": 1_500_000, "t4": 5_000_000, "t5": 1}
    desk.tell_all(*(Accept(RUN, Task(key, {"n": "x" * size})) for key, size in sizes.items()))
    pages, after = [], -1
    while page := desk.tell(ReadTasks(RUN, after=after, limit=1_000)):
        pages.append([view.key for view in page])
        after = page[-1].ordinal
    assert pages == [["t1", "t2"], ["t3"], ["t4"], ["t5"]]


@pytest.mark.parametrize("of", [{}, {"task": "t1"}, {"group": "g"}])
def test_a_page_of_events_is_bounded_in_bytes_and_the_next_one_goes_on(desk, of):
    desk.tell(Accept(RUN, Task("t1", {}), group="g"))
    desk.tell_all(*(Note(RUN, "t1", f"n{number}", {"n": "x" * 1_500_000}) for number in range(5)))
    pages, after = [], 0
    while page := desk.tell(ReadEvents(RUN, after=after, limit=1_000, **of)):
        pages.append([event.kind for event in page])
        after = page[-1].task_id if "task" in of else page[-1].id
    assert pages == [["accepted", "n0", "n1"], ["n2", "n3"], ["n4"]]


def test_a_long_page_of_small_events_is_read_in_several_scans_without_a_gap(desk):
    desk.accept("t1")
    desk.tell_all(*(Note(RUN, "t1", f"n{n}", {}) for n in range(350)))
    assert [event.id for event in desk.tell(ReadEvents(RUN, limit=250))] == list(range(1, 251))
    assert [event.id for event in desk.tell(ReadEvents(RUN, after=250, limit=250))] == list(range(251, 352))


def test_nothing_is_read_where_nothing_is_asked_for(desk):
    desk.accept("t1")
    assert desk.tell_all(ReadTasks(RUN, limit=0), ReadEvents(RUN, limit=0)) == ((), ())
    assert list_runs(desk.store, PlainJson(), 0) == ()


def test_a_row_that_is_named_and_missing_is_said_to_be_damage(desk):
    desk.accept("t1")
    del desk.store.rows[keys.event(RUN, 1)]
    with pytest.raises(StoreError, match="damaged"):
        read_events(desk.store, PlainJson(), ReadEvents(RUN, "t1"))


def test_a_value_that_cannot_be_read_is_said_to_be_damage(desk):
    desk.accept("t1")
    desk.store.rows[keys.task(RUN, "t1")] = b"{"
    with pytest.raises(StoreError, match="cannot be decoded"):
        desk.tell(ReadTask(RUN, "t1"))


# ---- keys and the overlay --------------------------------------------------------------------------------


def test_keys_are_ordered_as_the_texts_in_them():
    assert sorted(ODD, key=keys.part) == sorted(ODD)
    assert [keys.text(keys.part(odd)) for odd in ODD] == ODD


def test_no_key_begins_with_the_whole_of_another():
    for first, second in itertools.permutations([keys.calls(run, task) for run in ODD for task in ODD], 2):
        assert not second.startswith(first)
        low, high = range_of(first)
        assert not low <= second < high


def test_tasks_and_calls_of_odd_names_are_told_apart(desk):
    desk.accept(*ODD)
    for n, (task, call) in enumerate(itertools.product(ODD, ODD)):
        desk.tell_all(intent(n, call, task), outcome(n, {"n": n}, None, call, task))
    desk.begin("2")
    for row, (task, accepted) in enumerate(zip(ODD, desk.accept(*ODD), strict=True)):
        first = row * len(ODD)
        assert {call: answer.values["n"] for call, answer in accepted.answers.items()} == {
            call: first + n for n, call in enumerate(ODD)
        }, task


def test_an_overlay_shows_deletions_and_puts_as_the_store_will():
    store = DictStore()
    store.rows = {bytes((97, n)): b"old" for n in range(8)}
    store.keys = sorted(store.rows)
    overlay = Overlay(store)
    overlay.put(b"a\2", b"gone")
    overlay.delete(b"a\1", b"a\5")
    overlay.put(b"a\3", b"new")
    overlay.put(b"a\7", b"new")
    overlay.put(b"b\0", b"else")
    assert overlay.get(b"a\2") is None
    for limit in range(1, 9):
        expected = [(b"a\0", b"old"), (b"a\3", b"new"), (b"a\5", b"old"), (b"a\6", b"old"), (b"a\7", b"new")]
        assert overlay.scan(b"a", b"b", limit) == expected[:limit]
    store.commit(overlay.batch({}))
    assert store.scan(b"a", b"b", 9) == expected


@pytest.mark.parametrize("limit", range(1, 5))
def test_what_follows_a_deleted_pair_is_shown_once(limit):
    store = DictStore()
    store.rows = {bytes((97, n)): b"" for n in range(4)}
    store.keys = sorted(store.rows)
    overlay = Overlay(store)
    overlay.delete(b"a\0", b"a\1")
    assert [key for key, _ in overlay.scan(b"a", b"b", limit)] == store.keys[1:][:limit]


def test_a_long_range_is_read_in_pieces():
    store = DictStore()
    store.rows = {bytes((97, n)): b"" for n in range(7)}
    store.keys = sorted(store.rows)
    assert [key for key, _ in scan_all(store, b"a", b"b", 3)] == store.keys
    assert store.reads == 3


def test_the_latest_tasks_are_read_in_ranges_of_which_a_page_has_a_bounded_number(desk, monkeypatch):
    monkeypatch.setattr(reads, "_FEWEST_ORDINALS", 2)
    monkeypatch.setattr(reads, "_MOST_ORDINALS", 6)
    names = [f"t{n:02}" for n in range(20)]
    desk.accept(*names)
    desk.tell_all(*(Finish(RUN, report(names[n])) for n in (1, 18)))
    pages, before = [], None
    while before != 0:
        page = desk.tell(ReadLatest(RUN, "succeeded", before, limit=1))
        pages.append([view.key for view in page.tasks])
        before = page.before or 0
    assert [key for page in pages for key in page] == ["t18", "t01"]
    assert [] in pages  # no task of this state was among those looked at
    assert desk.tell(ReadLatest("r9")) == LatestTasks((), None)


def test_large_tasks_end_a_page_of_the_latest_and_the_next_one_goes_on(desk, monkeypatch):
    monkeypatch.setattr(bounds, "MOST_PAGE_BYTES", 1)
    desk.accept("t1", "t2", "t3")
    first = desk.tell(ReadLatest(RUN))
    second = desk.tell(ReadLatest(RUN, before=first.before))
    assert [[view.key for view in page.tasks] for page in (first, second)] == [["t3"], ["t2"]]
