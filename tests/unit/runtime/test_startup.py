"""The priority of an actor's process."""

from __future__ import annotations

import errno
import os

import pytest

from actors.runtime import startup as process


@pytest.fixture
def priorities(monkeypatch, tmp_path):
    """Have this process's threads be three, of priorities that are not those of the tests."""
    held = {11: 0, 12: 0, 13: 10}
    for thread in held:
        (tmp_path / str(thread)).mkdir()
    monkeypatch.setattr(process, "_THREADS", tmp_path)
    monkeypatch.setattr(process, "_NICENESS", 5)
    monkeypatch.setattr(os, "getpriority", lambda kind, thread: held[thread])
    monkeypatch.setattr(os, "setpriority", lambda kind, thread, niceness: held.update({thread: niceness}))
    return held


def test_every_thread_gives_way_and_none_that_gives_way_more_is_raised(priorities):
    process.give_way()
    assert priorities == {11: 5, 12: 5, 13: 10}


def test_a_thread_that_ends_meanwhile_is_passed_over(priorities, monkeypatch):
    def getpriority(kind, thread):
        if thread == 11:
            raise ProcessLookupError(errno.ESRCH, "No such process")
        return priorities[thread]

    monkeypatch.setattr(os, "getpriority", getpriority)
    process.give_way()
    assert priorities == {11: 0, 12: 5, 13: 10}


def test_where_threads_share_a_priority_the_process_gives_way(priorities, monkeypatch, tmp_path):
    monkeypatch.setattr(process, "_THREADS", tmp_path / "absent")
    priorities[0] = 0
    process.give_way()
    assert priorities == {0: 5, 11: 0, 12: 0, 13: 10}
