"""Runs that are backed up and restored: all of their rows, without an owner, and never over a live one."""

from __future__ import annotations

import os
import stat

import orjson
import pytest

from actors.core.errors import ConfigError, FencedError, RunTakenError
from actors.core.journal import keys
from actors.core.journal.batch import WriteBatch
from actors.core.journal.format import VERSION, check_format
from actors.core.messages.journal import CloseRun, Finish, ReadSpent, TaskTally
from actors.journal.stores.memory import MemoryStore
from actors.journal.stores.opening import SqliteSettings
from cluster.backup import restoring, rows
from cluster.backup.file_format import BackupError, BackupWriter
from cluster.backup.place import settings_of
from cluster.backup.reading import Backup
from cluster.backup.restoring import Restorer
from cluster.backup.saving import back_up, refuse_live
from cluster.page.options import PageOptions
from cluster.page.writing import write_page
from cluster.records.prune import Pruner
from cluster.records.reading import all_runs
from tests.unit.support.journal_desk import RUN, Desk, intent, outcome, report

ALL = (b"", b"\xff" * 9)
NOW = 1_800_000_000.0
ANSWER, OTHER = b'[{"a":1},[]]', b'[{"a":2},[]]'


@pytest.fixture
def desk():
    desk = Desk(MemoryStore(), keep="calls")
    desk.open("done")
    desk.accept("t1", run_id="done")
    desk.tell_all(Finish("done", report("t1")), CloseRun("done", "succeeded"))
    desk.open()
    desk.accept("t1", "t2")
    desk.tell_all(intent(1), outcome(1), intent(2, call="k2"))
    desk.store.commit(WriteBatch({keys.content("c"): ANSWER, keys.cancel_request(RUN): b"1"}))
    return desk


class Time:
    def __init__(self, happens=lambda: None):
        self.now = 0.0
        self.happens = happens

    def clock(self):
        return self.now

    def pause(self, seconds):
        self.now += seconds
        self.happens()


def restored(path, store, *run_ids, replaces=False, happens=lambda: None):
    time = Time(happens)
    backup = Backup.checked(path, run_ids)
    restorer = Restorer(store, lambda _: 5.0, pause=time.pause, clock=time.clock)
    return restorer.restore([*backup.states], backup.rows(), replaces=replaces)


def data_of(store):
    """Return the rows without those of owners, and those of runs apart."""
    found = dict(store.scan(*ALL, 100_000))
    runs = {key: found.pop(key) for key in [*found] if key[:1] == b"r"}
    return {key: value for key, value in found.items() if key[0] not in b"wbx"}, runs


def test_a_restored_store_has_the_rows_of_the_backup_and_of_no_owner(desk, tmp_path):
    path, target = tmp_path / "b", MemoryStore()
    saved = back_up(desk.store, path, (), NOW)
    assert saved.content.runs == ["done", RUN]
    assert saved.content.running == [RUN]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["b"]
    assert restored(path, target) == saved.rows
    (before, runs_before), (after, runs_after) = data_of(desk.store), data_of(target)
    assert after == before
    assert runs_after[keys.run("done")] == runs_before[keys.run("done")]
    assert {run.run_id: (run.state, run.tasks) for run in all_runs(target)} == {
        "done": ("succeeded", TaskTally(1, succeeded=1)),
        RUN: ("interrupted", TaskTally(2)),
    }
    assert target.get(keys.heartbeat(RUN)) is target.get(keys.cancel_request(RUN)) is None
    back_up(target, tmp_path / "again", (), NOW)
    restored(tmp_path / "again", second := MemoryStore())
    assert data_of(second) == (after, runs_after)


def test_a_restored_run_is_resumed_at_once_and_its_earlier_owner_is_fenced(desk, tmp_path):
    path, owner = tmp_path / "b", desk.store.get(keys.writer(RUN))
    back_up(desk.store, path, [RUN], NOW)
    desk.tell(CloseRun(RUN, "interrupted"))
    restored(path, desk.store, replaces=True)
    with pytest.raises(FencedError):
        desk.store.commit(WriteBatch({}, (), {keys.writer(RUN): owner}))
    other = Desk(desk.store, owner="host-b")
    assert other.open().tasks == TaskTally(2)
    [one, _] = other.accept("t1", "t2")
    assert len(one.answers) == 1
    (spent,) = other.look(ReadSpent(RUN))
    assert (spent.counts.billed, spent.counts.in_doubt) == (1, 1)  # the second call was in flight


def test_an_existing_run_is_replaced_only_on_demand_and_never_under_a_live_owner(desk, tmp_path):
    path = tmp_path / "b"
    back_up(desk.store, path, (), NOW)
    before = dict(desk.store.scan(*ALL, 1000))
    with pytest.raises(ConfigError, match=r"the store has these runs: done, r1\. Nothing was changed"):
        restored(path, desk.store)
    with pytest.raises(RunTakenError, match="run r1 is not replaced: it is running"):
        restored(path, desk.store, replaces=True, happens=desk.beat)
    after = dict(desk.store.scan(*ALL, 1000))
    assert after.pop(keys.heartbeat(RUN))
    assert after == before
    desk.accept("t3")
    restored(path, desk.store, replaces=True)  # its owner is silent for a lease
    assert [run.tasks.accepted for run in all_runs(desk.store)] == [1, 2]


def test_a_store_whose_run_is_live_is_not_copied_into_another(desk):
    live, silent = Time(desk.beat), Time()
    with pytest.raises(RunTakenError, match="run r1 is running: stop it first"):
        refuse_live(desk.store, lambda _: 5.0, pause=live.pause, clock=live.clock)
    refuse_live(desk.store, lambda _: 5.0, pause=silent.pause, clock=silent.clock)


def test_single_runs_are_backed_up_and_restored(desk, tmp_path):
    path, target = tmp_path / "b", MemoryStore()
    back_up(desk.store, path, (), NOW)
    restored(path, target, "done")
    assert [run.run_id for run in all_runs(target)] == ["done"]
    assert target.get(keys.content("c")) is None
    with pytest.raises(ConfigError, match="has no run other; it has done, r1"):
        Backup.checked(path, ["other"])
    with pytest.raises(ConfigError, match="there is no run don: did you mean done"):
        back_up(desk.store, tmp_path / "c", ["don"], NOW)
    with pytest.raises(BackupError, match="exists: name a new file"):
        back_up(desk.store, path, (), NOW)
    assert not (tmp_path / "c").exists()


class FailingStore(MemoryStore):
    """A store whose process is killed before its n-th commit."""

    def __init__(self, left):
        super().__init__()
        self.left = left

    def commit(self, batch):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        super().commit(batch)


def test_a_restore_that_was_interrupted_leaves_no_run_that_can_be_opened(desk, tmp_path, monkeypatch):
    monkeypatch.setattr(restoring, "_MOST_ROWS", 2)
    monkeypatch.setattr(rows, "_FIRST_PAGE", 1)
    path, whole = tmp_path / "b", MemoryStore()
    back_up(desk.store, path, (), NOW)
    restored(path, whole)
    for left in range(1, 100):
        target = FailingStore(left)
        try:
            restored(path, target)
            break
        except KeyboardInterrupt:
            target.left = 10_000
        states = {run.run_id: run.state for run in all_runs(target)}
        for run_id in [run_id for run_id, state in states.items() if state == "restoring"]:
            refused = Desk(target).open(run_id)
            assert isinstance(refused, RunTakenError)
            assert "its restore is in progress or was interrupted" in str(refused)
            content = back_up(target, tmp_path / f"{left}", (), NOW).content
            assert content.runs == [each for each, state in states.items() if state != "restoring"]
            assert content.lacking == [run_id]
            with pytest.raises(ConfigError, match=f"run {run_id} lacks rows: .* prune {run_id}`"):
                write_page(target, run_id, tmp_path / "page.html", NOW, PageOptions())
        complete = [run_id for run_id, state in states.items() if state != "restoring"]
        if complete:
            Pruner(target, lambda _: 5.0, unfinished=True).prune_named(complete)
        restored(path, target)  # the rest of the interrupted one is removed first
        assert data_of(target) == data_of(whole)
    assert left > 3


def test_the_first_answer_to_a_content_stands(desk, tmp_path):
    back_up(desk.store, tmp_path / "b", (), NOW)
    target = MemoryStore()
    target.commit(WriteBatch({keys.content("c"): OTHER}))
    restored(tmp_path / "b", target)
    assert target.get(keys.content("c")) == OTHER
    assert check_format(target) == VERSION


def write(path, row_keys, **head):
    with path.open("wb") as file:
        writer = BackupWriter(file, {"rows": VERSION, "made_at": NOW, **head})
        for key in row_keys:
            writer.add(key, row_keys[key] if isinstance(row_keys, dict) else b"{}")
        writer.end()
    path.chmod(0o600)


@pytest.mark.parametrize(
    ("row_keys", "head", "why"),
    [
        ([], {"rows": VERSION + 1}, "the rows of .* have format version"),
        ([b"y" + keys.part("r1")], {}, "a row of an unknown kind"),
        ([b"t"], {}, "a row of an unknown kind"),
        ([keys.writer("r1")], {}, "a row of an unknown kind"),
        ([keys.task("r1", "t1")], {}, "the rows of run 'r1' are not in order"),
    ],
)
def test_what_is_no_backup_of_this_version_is_refused(tmp_path, row_keys, head, why):
    path = tmp_path / "b"
    write(path, row_keys, **head)
    with pytest.raises(BackupError, match=why):
        Backup.checked(path, ())


GOOD = {name: {} for name in ("config", "origin", "summary")} | {
    "run_id": "r1", "name": "n", "state": "succeeded", "began_at": 1.5, "ended_at": 2.5, "created_by": "j"
}  # fmt: skip


@pytest.mark.parametrize(
    ("run_id", "changed", "more", "why"),
    [
        ("r1", {}, {}, ""),
        ("evil", {}, {}, "run 'evil' cannot be restored: it has the row of run 'r1'"),
        ("r1", {"state": "weird"}, {}, "its state 'weird' is unknown"),
        ("r1", {"state": "restoring"}, {}, "its state 'restoring' is unknown"),
        ("r1", {"began_at": "then"}, {}, "Expected `float`"),
        ("r1", {"extra": 1}, {}, "unexpected keyword|Unexpected keyword"),
        ("", {"run_id": ""}, {}, "cannot be used as the name of a directory"),
        ("../../x", {"run_id": "../../x"}, {}, "cannot be used as the name of a directory"),
        ("\x1b[31m", {"run_id": "\x1b[31m"}, {}, "its id has control characters"),
        ("r1", {}, {keys.run("r1") + b"zz": b"{}"}, "a row of an unknown kind"),
        ("r1", {}, {keys.totals("r1") + b"zz": b"{}"}, "a row of an unknown kind"),
        ("r1", {}, {keys.totals("r1"): b"nonsense"}, "has no form of any version"),
        ("r1", {}, {keys.totals("r1"): b'[{"odd":1},0,{},[]]'}, "has no form of any version"),
        ("r1", {}, {keys.report("r1", "t1"): b"[]"}, "has no form of any version"),
        ("r1", {}, {keys.history("r1"): b"x"}, "has no form of any version"),
        ("r1", {}, {keys.content("c"): b"[" * 200_000}, "has no form of any version"),
    ],
)
def test_a_crafted_row_is_refused_before_anything_is_restored(tmp_path, run_id, changed, more, why):
    path = tmp_path / "b"
    write(path, {keys.run(run_id): orjson.dumps(GOOD | changed), **more})
    if not why:
        assert Backup.checked(path, ()).states == {"r1": "succeeded"}
        return
    with pytest.raises(BackupError, match=why):
        Backup.checked(path, ())


def test_a_backup_to_which_others_may_write_is_refused(tmp_path):
    path = tmp_path / "b"
    write(path, [])
    assert Backup.checked(path, ()).states == {}
    path.chmod(0o622)
    with pytest.raises(BackupError, match="others may write to"):
        Backup.checked(path, ())
    with pytest.raises(BackupError, match="cannot be read: No such file"):
        Backup.checked(tmp_path / "none", ())
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(BackupError, match="it is not a file"):
        Backup.checked(tmp_path / "fifo", ())


def test_a_backup_that_cannot_be_written_leaves_no_file(desk, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BackupError, match="link exists"):
        back_up(desk.store, tmp_path / "link", (), NOW)
    with pytest.raises(BackupError, match="cannot be written: No such file"):
        back_up(desk.store, tmp_path / "none" / "b", (), NOW)
    desk.store.commit(WriteBatch({keys.run("bad"): b"no document"}))
    with pytest.raises(Exception, match="damaged"):
        back_up(desk.store, tmp_path / "b", (), NOW)
    assert [each.name for each in tmp_path.iterdir()] == ["link"]


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("state.db", "state.db"),
        ("postgresql://user:${PW}@host/db", "PostgresSettings()"),
        ("redis://host:1/0", "RedisSettings()"),
    ],
)
def test_a_place_is_a_file_or_a_url(place, shown):
    assert shown in repr(settings_of(place, {"PW": "pass"}))


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("postgresql://user:pass@host/db", "shows a password to all users"),
        ("postgresql://user:${PW}@host/db", "names the variable PW, which is not set"),
        ("mysql://host/db", "mysql:// names no store"),
        ("tests", "is a directory"),
    ],
)
def test_a_place_that_names_no_store_is_refused(place, why):
    with pytest.raises(ConfigError, match=why):
        settings_of(place, {})


def test_a_configuration_names_its_store_unless_that_is_in_memory(tmp_path):
    path = tmp_path / "c.yaml"
    steps = "tasks: {kind: range, count: 1}\nevaluate: {prompt: p, output: {a: str}}\n"
    path.write_text(f"{steps}store: {{kind: sqlite, path: {tmp_path}/s.db}}\n")
    assert settings_of(str(path), {}) == SqliteSettings(f"{tmp_path}/s.db")
    path.write_text(f"{steps}store: {{kind: memory}}\n")
    with pytest.raises(ConfigError, match="is memory: such a store ends with the process"):
        settings_of(str(path), {})


class LargeRows:
    """A store whose first rows are small and whose other rows have a megabyte."""

    def __init__(self):
        self.pages = []

    def scan(self, low, high, limit):
        first = int(low.rstrip(b"\0")[1:] or b"-1") + 1
        page = [
            (b"k%04d" % n, b"x" * (100 if n < 500 else 1_000_000))
            for n in range(first, min(700, first + limit))
        ]
        self.pages.append(sum(len(value) for _, value in page))
        return page


def test_the_size_of_a_page_follows_the_size_of_the_rows():
    store = LargeRows()
    assert sum(1 for _ in rows.paged(store, b"k", b"l")) == 700
    assert max(store.pages) <= 200_000_000  # where the size changes
    assert store.pages[-2] <= 4 << 20
    assert len(store.pages) < 50
