"""Stores of earlier versions are read and gone on with; those of later ones are refused.

`tests/data/stores/write_rows.py` wrote them, run from a checkout of the version that their names say.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from actors.core.errors import ConfigChangedError, StoreError
from actors.core.journal.batch import WriteBatch
from actors.core.journal.format import OLDEST, VERSION, check_format
from actors.core.journal.keys import FORMAT
from actors.core.journal.reads import read_events, read_run, read_tasks
from actors.core.journal.state import JournalState
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.journal import (
    Accept,
    AttemptOutcome,
    CloseRun,
    Finish,
    Intent,
    OpenRun,
    ReadEvents,
    ReadTasks,
    ReceiptLine,
    RunOpened,
    TaskTally,
)
from actors.core.messages.tasks import Report, Task, TaskState
from actors.core.messages.values import CallCounts, Done, Usage
from actors.journal.stores.codec import JsonCodec
from actors.journal.stores.memory import MemoryStore
from actors.journal.stores.sqlite import SqliteStore
from cluster.records.reading import all_ended, all_runs, history_of
from cluster.records.records import opened

CODEC = JsonCodec()
STORES = Path(__file__).parents[3] / "data" / "stores"
CONFIG = {"name": "old", "limits": {"active_tasks": 10}}
OF_EVERY_KIND = b"abcefghknopqrstuwx"


OF_EACH_FORMAT = pytest.mark.parametrize("store", ["c214ec8", "94dccb4"], indirect=True)


@pytest.fixture
def store(tmp_path, request):
    version = getattr(request, "param", "c214ec8")
    shutil.copy(STORES / f"{version}.db", tmp_path / "state.db")
    store = SqliteStore(str(tmp_path / "state.db"))
    yield store
    store.close()


def test_a_store_of_c214ec8_has_rows_of_every_kind(store):
    assert check_format(store) == OLDEST
    for kind in OF_EVERY_KIND:
        assert store.scan(bytes((kind,)), bytes((kind + 1,)), 1), chr(kind)


@OF_EACH_FORMAT
def test_everything_in_an_old_store_can_be_read(store):
    states = {run.run_id: (run.state, run.tasks) for run in all_runs(store)}
    assert states == {
        "ended": ("partial", TaskTally(3, succeeded=2, partial=1)),
        "halfway": ("interrupted", TaskTally(3, partial=1)),
        "running": ("running", TaskTally(3, partial=1)),
    }
    for run_id, (_, tally) in states.items():
        spent = read_run(store, CODEC, run_id).spent
        assert (spent.counts.billed, spent.usage.cost_usd, spent.lines) == (2, 0.5, ())
        assert len(list(all_ended(store, run_id))) == tally.ended
        for task in read_tasks(store, CODEC, ReadTasks(run_id)):
            history = history_of(store, run_id, task.key)
            assert history.events[0].kind == "accepted"
            assert len(history.attempts) == {"one": 3, "two": 2, "three": 0}[task.key]
    ((_, report), *_) = all_ended(store, "ended")
    assert (report.state, report.dimensions[0].finding, report.sources["wire"].items) == (
        "partial",
        "It is good.",
        2,
    )
    assert (report.calls.billed, report.calls.refused, report.calls.in_doubt) == (1, 1, 1)


@OF_EACH_FORMAT
def test_a_run_of_an_old_store_is_gone_on_with_and_nothing_is_asked_again(store):
    state = JournalState("new-host/1", "b1", CODEC)
    store.commit(state.take_over(store))
    assert check_format(store) == VERSION

    def tell(*records):
        turn = state.handle(records, 1_800_000_000.0, store)
        store.commit(turn.batch)
        return turn.replies

    (again,) = tell(OpenRun("halfway", "old", CONFIG))
    assert (again.is_new, again.tasks) == (False, TaskTally(3, partial=1))
    one, two, three = tell(*(Accept("halfway", Task(key, {"n": 1})) for key in ("one", "two", "three")))
    assert one.report.state == "partial"
    assert two.answers["call-3"].values == {"quality": 0.5, "note": "ä"}
    assert [len(each.items) for each in three.fetched] == [1, 0]
    ends = (
        Report(key, TaskState.SUCCEEDED, 0.5, (), {}, CallCounts(planned=1), Usage(), 1.0)
        for key in ("two", "three")
    )
    tell(*(Finish("halfway", end) for end in ends))
    assert tell(CloseRun("halfway", "partial")) == (Done(),)
    kinds = [event.kind for event in read_events(store, CODEC, ReadEvents("halfway", limit=100))]
    assert kinds.count("ended") == 3


def test_the_receipt_of_an_old_run_has_the_answers_recorded_since(store):
    state = JournalState("new-host/1", "b1", CODEC)
    store.commit(state.take_over(store))
    used = Usage(100, 50, 0.5, 60, 20, 30)
    ended = AttemptEnded(9, values={"quality": 0.5}, usage=used)
    records = (
        OpenRun("halfway", "old", CONFIG),
        Intent("halfway", "two", "call-5", 9, "main", 1),
        AttemptOutcome("halfway", "two", "call-5", ended, form="evaluate", model="m"),
    )
    store.commit(state.handle(records, 1_800_000_000.0, store).batch)
    spent = read_run(store, CODEC, "halfway").spent
    assert spent.usage == Usage(20, 10, 0.5) + used
    assert spent.lines == (ReceiptLine("main", "m", "evaluate", 1, used),)
    assert history_of(store, "halfway", "two").attempts[-1].usage == used


def test_rows_of_a_newer_version_are_refused_by_journals_and_by_commands(store, tmp_path, monkeypatch):
    store.commit(WriteBatch({FORMAT: str(VERSION + 1).encode()}))
    state = JournalState("new-host/1", "b1", CODEC)
    with pytest.raises(
        StoreError, match=f"format version {VERSION + 1}; this Headrace reads up to {VERSION}"
    ):
        state.take_over(store)
    (tmp_path / ".headrace").mkdir()
    (tmp_path / ".headrace" / "state.db").symlink_to(tmp_path / "state.db")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="Use the newer Headrace"), opened(None, {}):
        pass


def test_a_version_that_is_none_is_damage(store):
    store.commit(WriteBatch({FORMAT: b"two"}))
    with pytest.raises(StoreError, match="damaged"):
        check_format(store)


def test_a_new_store_says_its_version_once():
    store = MemoryStore()
    for life in ("1", "2"):
        batch = JournalState("host", life, CODEC).take_over(store)
        assert bool(batch.puts) == (life == "1")
        store.commit(batch)
    assert check_format(store) == VERSION


def test_a_reference_in_place_of_a_value_is_accepted_for_a_run_of_c214ec8_alone(store):
    state = JournalState("new-host/1", "b1", CODEC)
    store.commit(state.take_over(store))

    def reply(*record):
        turn = state.handle([OpenRun(*record)], 1_800_000_000.0, store)
        store.commit(turn.batch)
        return turn.replies[0]

    assert isinstance(reply("halfway", "old", {**CONFIG, "name": "${NAME}"}), RunOpened)
    assert isinstance(reply("new", "new", CONFIG), RunOpened)
    assert isinstance(reply("new", "new", {**CONFIG, "name": "${NAME}"}), ConfigChangedError)
