"""Rows of earlier versions are rewritten in the present form, and say the same as before."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from actors.core.errors import StoreError
from actors.core.journal import keys
from actors.core.journal.batch import WriteBatch
from actors.core.journal.format import VERSION, check_format
from actors.core.journal.reads import read_attempts, read_events, read_run, read_tasks
from actors.core.messages.journal import OpenRun, ReadEvents, ReadTasks
from actors.journal.stores.codec import JsonCodec
from actors.journal.stores.sqlite import SqliteStore
from cluster.backup.migration import Migrator
from cluster.records.reading import all_ended, all_runs
from tests.unit.support.journal_desk import Desk

STORES = Path(__file__).parents[3] / "data" / "stores"
OLD = {"c214ec8": (1, 30), "94dccb4": (2, 3)}  # format, rows in an earlier form
CODEC = JsonCodec()


@pytest.fixture(params=OLD)
def old(request, tmp_path):
    shutil.copy(STORES / f"{request.param}.db", tmp_path / "state.db")
    with closing(SqliteStore(str(tmp_path / "state.db"))) as store:
        yield store, *OLD[request.param]


class Time:
    now = 0.0

    def clock(self):
        return self.now

    def pause(self, seconds):
        self.now += seconds


def migrator(store, happens=lambda: None):
    time = Time()

    def pause(seconds):
        time.pause(seconds)
        happens()

    return Migrator(store, lambda _: 5.0, pause=pause, clock=time.clock)


def everything_read(store):
    """Return what commands read of every run."""
    runs = list(all_runs(store))
    tasks = [
        (run.run_id, task.key) for run in runs for task in read_tasks(store, CODEC, ReadTasks(run.run_id))
    ]
    return (
        [read_run(store, CODEC, run.run_id) for run in runs],
        [report for run in runs for _, report in all_ended(store, run.run_id)],
        [read_attempts(store, CODEC, *task) for task in tasks],
        [read_events(store, CODEC, ReadEvents(run.run_id, limit=100)) for run in runs],
    )


def test_old_rows_are_rewritten_once_and_say_the_same(old):
    store, version, count = old
    before, rows = everything_read(store), store.scan(b"", b"\xff", 1_000)
    planned = migrator(store).migrate(dry_run=True)
    assert store.scan(b"", b"\xff", 1_000) == rows
    assert (planned.was, sum(planned.rows.values()), planned.kept) == (version, count, [])
    assert migrator(store).migrate(dry_run=False) == planned
    assert everything_read(store) == before
    assert check_format(store) == VERSION
    assert migrator(store).migrate(dry_run=False).rows == {}


def test_a_run_with_a_live_owner_is_left_and_its_owner_keeps_it(old):
    store, *_ = old
    desk = Desk(store, owner="host-b")
    opened = desk.state.handle([OpenRun("halfway", "old", {}, accept_config=True)], 1_800_000_000.0, store)
    store.commit(opened.batch)
    done = migrator(store, desk.beat).migrate(dry_run=False)
    assert [run_id for run_id, _ in done.kept] == ["halfway"]
    assert "running" in done.rows  # its owner is silent
    desk.beat()
    assert store.get(keys.writer("halfway")) == b"host-b:1"
    store.commit(WriteBatch({}, (), {keys.writer("halfway"): b"host-b:1"}))


def test_a_row_without_a_known_form_is_named(old):
    store, *_ = old
    store.commit(WriteBatch({keys.event("ended", 99): b"[1]"}))
    with pytest.raises(StoreError, match=r"the row b'eended.*has no form of any version \(TypeError"):
        migrator(store).migrate(dry_run=True)
