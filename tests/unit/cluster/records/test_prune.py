"""Removing runs: all of them and nothing else, none that is alive, and also after a cut."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path

import pytest

from actors.core.errors import ConfigError, FencedError, RunTakenError
from actors.core.journal import keys
from actors.core.journal.batch import CheckedCodec, WriteBatch
from actors.core.journal.prune import begin_removal, next_removal
from actors.core.journal.turn import Observed
from actors.core.messages.journal import CloseRun, Finish, KeepHistory, ReadRun, TaskTally
from actors.journal.stores.codec import JsonCodec
from actors.journal.stores.sqlite import SqliteStore
from cluster.records.prune import Pruner, age_of, prune_lines
from tests.unit.support.journal_desk import RUN, Desk, intent, outcome, report

LEASE_S = 5.0
DAY_S = 86_400.0


@pytest.fixture
def desk():
    desk = Desk(keep="calls")
    for run_id in (RUN, "r10"):
        desk.open(run_id)
        desk.accept("t1", "t2", run_id=run_id)
    desk.tell_all(intent(1), outcome(1), Finish(RUN, report("t1")), Finish(RUN, report("t2")))
    desk.tell(KeepHistory(RUN, b"history"))
    desk.tell(CloseRun(RUN, "succeeded"))
    return desk


class Time:
    def __init__(self, happens=lambda: None, slow_s=0.0):
        self.now = 0.0
        self.happens = happens
        self.slow_s = slow_s

    def clock(self):
        return self.now

    def pause(self, seconds):
        self.now += seconds + self.slow_s
        self.happens()


def pruner(desk, happens=lambda: None, *, slow_s=0.0, **options):
    time = Time(happens, slow_s)
    return Pruner(desk.store, lambda _: LEASE_S, pause=time.pause, clock=time.clock, **options)


def test_a_prune_that_stood_still_gives_the_owner_a_whole_lease_again(desk):
    looks = []

    def happens():
        looks.append(1)
        if len(looks) == 3:
            time.now += 100.0  # this process was stopped, and the owner with it
        elif len(looks) == 10:
            desk.beat()

    time = Time(happens)
    stopped = Pruner(desk.store, lambda _: LEASE_S, unfinished=True, pause=time.pause, clock=time.clock)
    pruned = stopped.prune_named(["r10"])
    assert [why for _, why in pruned.kept] == ["it is running"]


def test_a_store_too_slow_to_watch_an_owner_by_keeps_the_run(desk):
    looks = []
    pruned = pruner(desk, lambda: looks.append(1), unfinished=True, slow_s=100.0).prune_named(["r10"])
    assert ["it may be running" in why for _, why in pruned.kept] == [True]
    assert len(looks) < 10


def test_an_owner_that_beats_just_before_its_lease_is_over_keeps_its_run(desk):
    time = Time(lambda: time.now > LEASE_S - 0.5 and desk.beat())
    watching = Pruner(desk.store, lambda _: LEASE_S, unfinished=True, pause=time.pause, clock=time.clock)
    assert watching.prune_named(["r10"]).removed == ()


def rows_of(desk, run_id):
    end = run_id.encode() + b"\0\x01"
    return {key: value for key, value in desk.store.rows.items() if key[1:].startswith(end)}


def test_a_finished_run_is_removed_whole_and_no_other_is_touched(desk):
    other = rows_of(desk, "r10")
    pruned = pruner(desk).prune_named([RUN])
    assert [run.run_id for run in pruned.removed] == [RUN]
    assert rows_of(desk, RUN) == {}
    assert rows_of(desk, "r10") == other
    assert desk.tell(ReadRun(RUN)) is None
    assert desk.open().tasks == TaskTally()  # the id is free again


def test_a_dry_run_removes_nothing(desk):
    before = dict(desk.store.rows)
    pruned = pruner(desk).prune_named([RUN], dry_run=True)
    assert desk.store.rows == before
    assert list(prune_lines(pruned, dry_run=True)) == [
        "r1: would be removed (succeeded, 2 tasks)",
        "1 run would be removed",
    ]


def test_of_old_runs_the_unfinished_are_kept_with_the_reason(desk):
    desk.tell(CloseRun("r10", "interrupted"))
    assert pruner(desk).prune_old(DAY_S, desk.now).removed == ()
    pruned = pruner(desk).prune_old(DAY_S, desk.now + 2 * DAY_S)
    assert [run.run_id for run in pruned.removed] == [RUN]
    ((kept, why),) = pruned.kept
    assert kept.run_id == "r10"
    assert why.startswith("it is interrupted, with 2 open tasks; --unfinished removes it")
    assert list(prune_lines(pruned, dry_run=False))[1:] == [f"r10: kept: {why}", "1 run removed, 1 stays"]


def test_the_runs_that_began_last_are_kept(desk):
    desk.tell(CloseRun("r10", "interrupted"))
    assert pruner(desk, unfinished=True).prune_old(0.0, desk.now, keep=2).removed == ()
    assert pruner(desk, unfinished=True).prune_old(DAY_S, desk.now, keep=1).removed == ()
    pruned = pruner(desk, unfinished=True).prune_old(0.0, desk.now, keep=1)
    assert [run.run_id for run in pruned.removed] == [RUN]  # the other one began later
    assert list(prune_lines(pruned, dry_run=False))[-1] == "1 run removed, 1 stays"


def test_a_run_that_is_named_and_not_finished_is_an_error_and_nothing_is_removed(desk):
    before = dict(desk.store.rows)
    with pytest.raises(ConfigError, match="run r10 is kept: its state is running"):
        pruner(desk).prune_named([RUN, "r10"])
    assert desk.store.rows == before


def test_a_live_run_is_never_removed(desk):
    pruned = pruner(desk, desk.beat, unfinished=True).prune_old(DAY_S, desk.now + 2 * DAY_S)
    assert [why for _, why in pruned.kept] == ["it is running"]
    assert desk.accept("t3", run_id="r10")[0].is_new


def test_a_run_whose_process_is_gone_is_removed_where_that_is_asked_for(desk):
    pruned = pruner(desk, unfinished=True).prune_named(["r10"])
    assert [run.run_id for run in pruned.removed] == ["r10"]
    assert rows_of(desk, "r10") == {}
    desk.state.forget()
    assert isinstance(desk.accept("t3", run_id="r10")[0], Exception)  # should it come back


def test_an_owner_that_beats_in_the_last_moment_keeps_its_run(desk):
    seen = Observed(desk.state._runs.me, None)
    desk.beat()
    codec = CheckedCodec(JsonCodec())
    with pytest.raises(FencedError):
        desk.store.commit(begin_removal(desk.store, codec, "r10", b"prune:1", seen))
    with pytest.raises(RunTakenError):
        begin_removal(desk.store, codec, "r10", b"prune:1", None)


def test_a_removal_that_was_cut_off_is_gone_on_with_and_its_run_is_not(desk):
    codec = CheckedCodec(JsonCodec())
    desk.store.commit(begin_removal(desk.store, codec, RUN, b"prune:1", None))
    desk.store.commit(next_removal(desk.store, RUN, b"prune:1", most=1))
    refused = desk.open()
    assert isinstance(refused, RunTakenError)
    assert "its removal is in progress or was interrupted" in str(refused)
    pruned = pruner(desk).prune_old(DAY_S, desk.now + 2 * DAY_S)
    assert [run.run_id for run in pruned.removed] == [RUN]
    assert rows_of(desk, RUN) == {}


def test_rows_go_in_batches_of_a_bounded_size(desk):
    codec = CheckedCodec(JsonCodec())
    desk.store.commit(begin_removal(desk.store, codec, RUN, b"prune:1", None))
    sizes = []
    while (batch := next_removal(desk.store, RUN, b"prune:1", most=2)) is not None:
        before = len(desk.store.rows)
        desk.store.commit(batch)
        sizes.append(before - len(desk.store.rows))
    assert max(sizes[:-1]) == 2
    assert rows_of(desk, RUN) == {}


def test_rows_are_removed_without_reading_their_values(tmp_path):
    """A commit removes thousands of rows, and one may have megabytes."""
    store = SqliteStore(str(tmp_path / "state.db"))
    fetched = {keys.fetched(RUN, f"t{number}"): bytes(100_000) for number in range(100)}
    store.commit(WriteBatch({keys.writer(RUN): b"prune:1", **fetched}))
    tracemalloc.start()
    batch = next_removal(store, RUN, b"prune:1")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    store.commit(batch)
    left = store.scan_keys(b"f", b"g", 10)
    store.close()
    assert left == []
    assert peak < 1_000_000


def test_every_kind_of_row_of_a_run_is_removed(tmp_path):
    shutil.copy(Path(__file__).parents[3] / "data" / "stores" / "c214ec8.db", tmp_path / "state.db")
    store = SqliteStore(str(tmp_path / "state.db"))
    time = Time()
    Pruner(store, lambda _: LEASE_S, unfinished=True, pause=time.pause, clock=time.clock).prune_named(
        ["ended", "halfway", "running"]
    )
    left = store.scan(b"\0", b"\xff", 100)
    store.close()
    assert {key[:1] for key, _ in left} == {b"k"}  # answers by content belong to no run


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("45m", 2700), ("12h", 43_200), ("30d", 30 * DAY_S)]
)
def test_an_age_is_read(text, seconds):
    assert age_of(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5d", "9999999d", "30 d", "\u0661d"])
def test_what_is_no_age_is_refused(text):
    with pytest.raises(ConfigError, match="such as 30d"):
        age_of(text)
