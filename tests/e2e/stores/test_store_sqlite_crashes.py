"""The store on SQLite after crashes: killed writers, and logs that were torn, cut off or damaged."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from actors.core.errors import StoreError
from actors.core.journal.batch import WriteBatch
from actors.journal.stores.sqlite import SqliteStore
from actors.journal.stores.sqlite_wal import Tail, unreadable_tail
from tests.e2e.support.store_writer import batch, log_of, small_files, unsynced, whole_batches

ROOT = Path(__file__).parents[3]
WRITER = (sys.executable, "-m", "tests.e2e.support.store_writer")
FRAME_BYTES = 24 + 4096


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


@pytest.fixture
def abandoned(tmp_path):
    """Return the path of a store whose process died after 20 commits, all of them in the log."""
    path = tmp_path / "live" / "state.db"
    with closing(unsynced(path)) as store:
        for number in range(20):
            store.commit(batch(number))
        # What a killed process leaves: closing would have emptied the log. The shared memory is made anew.
        for file in (path, log_of(path)):
            shutil.copy(file, tmp_path / file.name)
    return tmp_path / path.name


# ---- writers that are killed -----------------------------------------------------------------------------


def write_and_be_killed(path, first, commits):
    """Have a process commit batches from `first` on and kill it; return the last that it acknowledged."""
    arguments = [*WRITER, str(path), str(first)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=ROOT) as writer:  # noqa: S603 - our own words
        assert writer.stdout is not None
        for _ in range(commits + 1):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
    return max([first + commits - 1, *map(int, rest)])


def test_a_killed_writer_leaves_all_that_it_acknowledged_and_no_half_batch(path):
    first = 0
    for round_ in range(5):
        acknowledged = write_and_be_killed(path, first, commits=1 + round_ * 8)
        with closing(SqliteStore(str(path))) as store:
            numbers = whole_batches(store)
        assert numbers == list(range(numbers[-1] + 1))
        assert acknowledged <= numbers[-1] <= acknowledged + 1
        first = numbers[-1] + 1


def test_after_any_commit_the_files_on_disk_hold_all_of_them(tmp_path):
    path, copy = tmp_path / "live.db", tmp_path / "copy.db"
    with closing(SqliteStore(str(path))) as store:
        store._db.execute("PRAGMA wal_autocheckpoint = 20")  # often, that its moments are among those tried
        for number in range(30):
            store.commit(batch(number))
            copy.unlink(missing_ok=True)
            log_of(copy).unlink(missing_ok=True)
            shutil.copy(path, copy)
            shutil.copy(log_of(path), log_of(copy))
            with closing(SqliteStore(str(copy))) as crashed:
                assert whole_batches(crashed) == list(range(number + 1))
                assert crashed.notes() == ()


# ---- the log ---------------------------------------------------------------------------------------------


def commit_ends(log):
    """Return the ends of all commits in a log, read frame by frame."""
    data = log.read_bytes()
    assert struct.unpack(">I", data[8:12])[0] == 4096
    starts = range(32, len(data), FRAME_BYTES)
    return [at + FRAME_BYTES for at in starts if struct.unpack(">I", data[at + 4 : at + 8])[0]]


def test_a_sound_log_has_no_tail(abandoned):
    assert unreadable_tail(log_of(abandoned)) is None
    with closing(SqliteStore(str(abandoned))) as store:
        assert whole_batches(store) == list(range(20))
        assert store.notes() == ()


@pytest.mark.parametrize("seed", range(12))
def test_a_log_that_was_cut_off_loses_what_was_cut_and_says_so(abandoned, seed):
    log = log_of(abandoned)
    ends = commit_ends(log)
    cut = random.Random(seed).randrange(33, log.stat().st_size)
    os.truncate(log, cut)
    whole = sum(end <= cut for end in ends)
    sound = cut in {32, *ends}

    with closing(SqliteStore(str(abandoned))) as store:
        assert whole_batches(store) == list(range(whole))
        assert len(store.notes()) == (0 if sound else 1)
        for note in store.notes():
            begins = ([32, *ends])[whole]
            assert f"{log}: dropped {cut - begins} bytes at byte {begins}" in note
        store.commit(batch(99))
    with closing(SqliteStore(str(abandoned))) as store:
        assert 99 in whole_batches(store)
        assert store.notes() == ()


def test_a_reader_of_a_store_with_a_torn_commit_needs_no_space(abandoned):
    os.truncate(log_of(abandoned), log_of(abandoned).stat().st_size - 1)
    with small_files(abandoned.stat().st_size), closing(SqliteStore(str(abandoned), may_lock=True)) as store:
        assert whole_batches(store) == list(range(19))
        assert len(store.notes()) == 1


@pytest.mark.parametrize("seed", range(6))
def test_a_commit_that_was_torn_at_the_end_of_the_log_is_dropped_and_told(abandoned, seed):
    log = log_of(abandoned)
    *_, before, end = commit_ends(log)
    with log.open("r+b") as file:
        file.seek(random.Random(seed).randrange(before, end))
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x10]))

    with closing(SqliteStore(str(abandoned))) as store:
        assert whole_batches(store) == list(range(19))
        assert len(store.notes()) == 1
        assert f"dropped {end - before} bytes at byte {before}" in store.notes()[0]
        again = abandoned.with_name("again.db")
        shutil.copy(abandoned, again)
        shutil.copy(log, log_of(again))
    with closing(SqliteStore(str(again))) as store:  # also after another crash it is said once
        assert whole_batches(store) == list(range(19))
        assert store.notes() == ()


@pytest.mark.parametrize("seed", range(6))
def test_a_log_that_is_damaged_before_commits_that_stood_is_refused_until_it_is_cut_off(abandoned, seed):
    log = log_of(abandoned)
    ends = commit_ends(log)
    at = random.Random(seed).randrange(32, ends[-2])
    data = bytearray(log.read_bytes())
    data[at] ^= 0x10
    log.write_bytes(data)
    frame = at - (at - 32) % FRAME_BYTES

    for _ in range(2):  # the refused file is left as it was
        with pytest.raises(
            StoreError, match=rf"state\.db-wal is damaged at byte {frame}: .*Restore"
        ) as caught:
            SqliteStore(str(abandoned))
        assert not caught.value.retry
    os.truncate(log, frame)  # as the message says
    with closing(SqliteStore(str(abandoned))) as store:
        assert whole_batches(store) == list(range(sum(end <= frame for end in ends)))


@pytest.mark.parametrize("at", [0, 9, 17, 25])
def test_a_log_with_a_damaged_header_is_refused(abandoned, at):
    data = bytearray(log_of(abandoned).read_bytes())
    data[at] ^= 0x10
    log_of(abandoned).write_bytes(data)

    with pytest.raises(StoreError, match=r"state\.db-wal is damaged at byte 0"):
        SqliteStore(str(abandoned))


def test_a_log_that_another_process_writes_is_not_taken_for_damaged(path):
    arguments = [*WRITER, str(path), "0"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=ROOT) as writer:  # noqa: S603 - our own words
        assert writer.stdout is not None
        writer.stdout.readline()
        try:
            for _ in range(4):
                with closing(SqliteStore(str(path))) as store:
                    assert store.notes() == ()
        finally:
            writer.kill()
            writer.stdout.read()


def test_opening_does_not_wait_for_a_writer_whose_commit_it_sees_in_the_log(abandoned):
    log = log_of(abandoned)
    os.truncate(log, log.stat().st_size - 1)
    with closing(sqlite3.connect(abandoned, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with closing(SqliteStore(str(abandoned))) as store:
            assert store.notes() == ()
            assert store._pragma("busy_timeout") == 10_000


def test_frames_of_an_earlier_round_of_the_log_are_no_tail(path):
    with closing(unsynced(path)) as store:
        for number in range(20):
            store.commit(batch(number))
        store._db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        store.commit(batch(20))
        assert log_of(path).stat().st_size > 20 * FRAME_BYTES
        assert unreadable_tail(log_of(path)) is None


def test_a_log_of_many_frames_is_read_in_parts(path):
    with closing(unsynced(path)) as store:
        store._db.execute("PRAGMA wal_autocheckpoint = 0")
        for number in range(3):
            store.commit(WriteBatch({b"%d:%05d" % (number, n): bytes(3000) for n in range(1100)}))
        log = shutil.copy(log_of(path), path.with_name("log"))
    assert log.stat().st_size > 2048 * FRAME_BYTES
    assert unreadable_tail(log) is None
    *_, before, end = commit_ends(log)
    os.truncate(log, end - 1)

    assert unreadable_tail(log) == Tail(before, end - 1 - before, end - FRAME_BYTES, stood=False)
