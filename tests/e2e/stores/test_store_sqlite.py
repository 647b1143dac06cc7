"""The store on SQLite where the file is not as it should be, or the disk."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from contextlib import closing

import pytest

from actors.core.errors import StoreError, StoreUnavailableError
from actors.journal.stores import sqlite
from actors.journal.stores.opening import SqliteSettings, open_beside
from actors.journal.stores.sqlite import SqliteStore
from tests.e2e.support.store_writer import EVERYTHING, batch, log_of, small_files, unsynced, whole_batches


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


# ---- the file --------------------------------------------------------------------------------------------


@pytest.fixture
def full(path):
    """Return the path of a store that was closed in order, of some hundred pages."""
    with closing(unsynced(path)) as store:
        for number in range(200):
            store.commit(batch(number))
    assert not log_of(path).exists()
    return path


def overwrite(path, at, data):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def test_a_damaged_page_is_named_by_file_and_byte(full):
    pages = full.stat().st_size // 4096
    overwrite(full, 2 * 4096, b"\xde" * 64)  # the third page: of the table, and not its root

    with (
        closing(SqliteStore(str(full))) as store,
        pytest.raises(StoreError, match=r"state\.db is damaged at byte 8192 .*Restore it") as caught,
    ):
        store.scan(*EVERYTHING)
    assert not caught.value.retry
    assert pages > 100


def test_a_damaged_value_is_named_by_file_and_key(full):
    data = full.read_bytes()
    value = batch(7).puts[b"000007:1"]
    overwrite(full, data.index(b"000007:1" + value) + 100, b"\x00\x01\x02")

    with closing(SqliteStore(str(full))) as store:
        with pytest.raises(StoreError, match=r"state\.db is damaged: the value of key b'000007:1'"):
            store.get(b"000007:1")
        with pytest.raises(StoreError, match="000007:1"):
            store.scan(*EVERYTHING)
        assert store.get(b"000008:1") == batch(8).puts[b"000008:1"]
        [found] = store.damages()
        assert "b'000007:1'" in found


def test_a_full_check_finds_a_damaged_page_and_nothing_in_a_sound_file(full):
    with closing(SqliteStore(str(full))) as store:
        assert store.damages() == ()
    overwrite(full, 2 * 4096, b"\xde" * 64)
    with closing(SqliteStore(str(full))) as store:
        assert "at byte 8192" in store.damages()[0]


@pytest.mark.parametrize("cut", [4096, 5000, 100_000])
def test_a_file_that_was_cut_off_is_refused(full, cut):
    os.truncate(full, cut)

    with pytest.raises(StoreError, match=rf"state\.db is damaged at byte {cut}"):
        SqliteStore(str(full))


@pytest.mark.parametrize("header", [b"\x00" * 16, b"garbage"])
def test_a_file_with_a_damaged_header_is_refused(full, header):
    overwrite(full, 0, header)

    with pytest.raises(StoreError, match="byte 0"):
        SqliteStore(str(full))


@pytest.mark.parametrize("content", [b"x", b"key,value\n" * 1000])
def test_a_file_of_another_kind_is_refused_and_left_as_it_is(path, content):
    path.write_bytes(content)

    with pytest.raises(StoreError, match=r"state\.db is not a store of Headrace: at byte 0"):
        SqliteStore(str(path))
    assert path.read_bytes() == content


def test_a_database_of_another_program_is_refused_and_left_as_it_is(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE kv (k, v)")
    before = path.read_bytes()

    with pytest.raises(StoreError, match=r"database of another program .*store\.path"):
        SqliteStore(str(path))
    assert path.read_bytes() == before


def test_a_newer_version_is_refused_and_left_as_it_is(full):
    with closing(sqlite3.connect(full)) as newer:
        newer.execute("PRAGMA user_version = 7")
    before = full.read_bytes()

    with pytest.raises(StoreError, match="has format version 7; this Headrace reads up to 1"):
        SqliteStore(str(full))
    assert full.read_bytes() == before


def test_an_older_version_is_brought_up_to_date_and_keeps_what_it_holds(full, monkeypatch):
    def second(connection):
        connection.execute("CREATE TABLE added (n INTEGER)")

    monkeypatch.setattr(sqlite, "MIGRATIONS", (*sqlite.MIGRATIONS, second))
    for _ in range(2):  # each step once
        with closing(SqliteStore(str(full))) as store:
            assert whole_batches(store) == list(range(200))
            assert store._pragma("user_version") == 2
            assert store._db.execute("SELECT count(*) FROM added").fetchone() == (0,)


def test_a_migration_that_fails_leaves_the_old_version(full, monkeypatch):
    def broken(connection):
        connection.execute("CREATE TABLE added (n INTEGER)")
        connection.execute("nonsense")

    with monkeypatch.context() as patched:
        patched.setattr(sqlite, "MIGRATIONS", (*sqlite.MIGRATIONS, broken))
        with pytest.raises(StoreError, match="nonsense"):
            SqliteStore(str(full))
    with closing(SqliteStore(str(full))) as store:
        assert store._pragma("user_version") == 1
        assert whole_batches(store) == list(range(200))


def test_an_empty_file_becomes_a_store(path):
    path.touch()
    with closing(SqliteStore(str(path))) as store:
        store.commit(batch(0))
        assert whole_batches(store) == [0]


# ---- the disk --------------------------------------------------------------------------------------------


def test_missing_directories_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "state.db"
    with closing(SqliteStore(str(path))):
        assert path.exists()


def test_every_commit_is_synced(path):
    with closing(SqliteStore(str(path))) as store:
        assert store._pragma("synchronous") == 2
        assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_directory_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreUnavailableError, match=r"file/state\.db cannot be created: .*store\.path"):
        SqliteStore(str(tmp_path / "file" / "state.db"))


def test_a_path_that_cannot_be_opened_is_said(tmp_path):
    with pytest.raises(StoreUnavailableError, match="cannot be opened: check that its directory"):
        SqliteStore(str(tmp_path))


def test_a_store_that_may_not_be_written_is_said(path):
    with closing(SqliteStore(str(path))) as store:
        store.commit(batch(0))
        store._db.execute("PRAGMA query_only = 1")
        with pytest.raises(StoreUnavailableError, match="is not writable: check the permissions"):
            store.commit(batch(1))
        store._db.execute("PRAGMA query_only = 0")
        assert whole_batches(store) == [0]


def test_a_full_disk_stops_a_commit_whole_and_the_store_goes_on_when_there_is_space(path):
    with closing(SqliteStore(str(path))) as store:
        store.commit(batch(0))
        store._db.execute(f"PRAGMA max_page_count = {store._pragma('page_count') + 2}").fetchall()
        with pytest.raises(StoreUnavailableError, match=r"state\.db cannot be used now: the disk is full"):
            store.commit(batch(1, pairs=100))
        assert whole_batches(store) == [0]
        store._db.execute("PRAGMA max_page_count = 1000000").fetchall()
        store.commit(batch(1))
        assert whole_batches(store) == [0, 1]


def test_a_disk_that_refuses_to_grow_stops_a_commit_whole(path):
    with closing(SqliteStore(str(path))) as store, small_files(300_000):
        number, error = 0, None
        while error is None:
            try:
                store.commit(batch(number))
                number += 1
            except StoreUnavailableError as caught:
                error = caught
        assert whole_batches(store) == list(range(number))
    assert number > 10
    assert "state.db cannot be used now: the disk" in str(error)
    with closing(SqliteStore(str(path))) as store:
        assert whole_batches(store) == list(range(number))
        store.commit(batch(number))


def test_switching_to_the_log_waits_for_those_who_write(path, monkeypatch):
    SqliteStore(str(path)).close()
    begin = SqliteStore._transaction
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN IMMEDIATE")

        def let_go(store, kind):
            other.rollback()
            return begin(store, kind)

        monkeypatch.setattr(SqliteStore, "_transaction", let_go)
        with closing(SqliteStore(str(path))) as store:
            assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.timeout(30)
def test_switching_to_the_log_is_given_up_where_others_never_let_it(path, monkeypatch):
    SqliteStore(str(path)).close()
    monkeypatch.setattr(sqlite, "BUSY_S", 0.1)
    # Its turn always comes, and the next writer is always there first.
    monkeypatch.setattr(SqliteStore, "_transaction", lambda *_: contextlib.nullcontext())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="another process locked it for more than"):
            SqliteStore(str(path))


def test_a_process_that_holds_the_file_for_too_long_is_said(path, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_S", 0.05)
    with closing(SqliteStore(str(path))) as store, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="another process locked it for more than"):
            store.commit(batch(0))
        other.rollback()
        store.commit(batch(0))


# ---- a file that is moved or deleted while it is open ----------------------------------------------------


def test_a_store_that_is_moved_away_takes_no_commit_until_it_is_back(tmp_path):
    path, away = tmp_path / "state" / "state.db", tmp_path / "away"
    with closing(SqliteStore(str(path))) as store:
        store.commit(batch(0))
        path.parent.rename(away)
        with pytest.raises(
            StoreUnavailableError, match=r"state\.db was moved or deleted .*put it back"
        ) as caught:
            store.commit(batch(1))
        assert caught.value.retry
        with pytest.raises(StoreUnavailableError, match="moved or deleted"):
            open_beside(SqliteSettings(str(path)), store)
        assert not path.parent.exists()  # no empty store is made in its place
        away.rename(path.parent)
        store.commit(batch(1))
        with closing(open_beside(SqliteSettings(str(path)), store)) as view:
            assert whole_batches(view) == [0, 1]


def test_a_store_that_is_deleted_takes_no_commit(path):
    with closing(SqliteStore(str(path))) as store:
        path.unlink()
        with pytest.raises(StoreUnavailableError, match="moved or deleted"):
            store.commit(batch(0))


def test_a_commit_is_not_acknowledged_whose_file_is_deleted_under_it(path, monkeypatch):
    with closing(SqliteStore(str(path))) as store:
        monkeypatch.setattr(sqlite, "seal", lambda _, value: path.unlink(missing_ok=True) or value)
        with pytest.raises(StoreUnavailableError, match="moved or deleted"):
            store.commit(batch(0))


def test_another_file_in_the_place_of_a_store_is_named_as_such(path):
    with closing(SqliteStore(str(path))) as store:
        path.rename(path.with_name("away.db"))
        SqliteStore(str(path)).close()
        with pytest.raises(StoreError, match=r"the file at .*state\.db is not the open store") as caught:
            store.commit(batch(0))
        assert not caught.value.retry
        with pytest.raises(StoreError, match="is not the open store"):
            open_beside(SqliteSettings(str(path)), store)


@pytest.mark.parametrize("is_killed", [False, True], ids=["closed", "killed"])
def test_a_store_on_a_full_disk_can_be_read(full, is_killed):
    files = (full, log_of(full))
    if is_killed:  # its last commits are in the log only
        with closing(SqliteStore(str(full))) as store:
            store.commit(batch(200))
            kept = {file: file.read_bytes() for file in files}
        for file, data in kept.items():
            file.write_bytes(data)
    last = 200 if is_killed else 199
    key = b"%06d:1" % last
    with small_files(4096):
        with pytest.raises(StoreUnavailableError):
            SqliteStore(str(full))
        with closing(SqliteStore(str(full), may_lock=True)) as store:
            assert store.get(key) == batch(last).puts[key]
            with pytest.raises(StoreUnavailableError):
                store.commit(batch(last + 1))
    with closing(SqliteStore(str(full))) as store:
        assert whole_batches(store) == list(range(last + 1))
