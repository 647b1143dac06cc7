"""A result file has its name only when the disk holds all of it, and its writer's parts are its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cluster.report.tables.targets import LocalPart, remove_parts


@pytest.fixture
def synced(monkeypatch):
    """Return what was synced, in order: the bytes that a file has by then, or the names in a directory."""
    seen: list[int | set[str]] = []
    real = os.fsync

    def fsync(descriptor):
        place = Path(f"/proc/self/fd/{descriptor}").resolve()
        seen.append({each.name for each in place.iterdir()} if place.is_dir() else place.stat().st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return seen


def test_the_disk_holds_a_file_before_it_has_its_name_and_then_the_name(tmp_path, synced):
    """A host that loses power must not leave a result file that is empty."""
    part = LocalPart(tmp_path / "reports.jsonl")
    part.file.write(b"x" * 1000)
    part.finish()
    assert synced == [1000]
    assert not part.path.exists()
    part.publish()
    assert synced == [1000, {"reports.jsonl"}]


def test_a_driver_that_goes_on_cannot_write_into_the_file_of_the_one_that_followed_it(tmp_path):
    path = tmp_path / "reports.jsonl"
    dead, follower = LocalPart(path), LocalPart(path)
    follower.file.write(b"the follower\n")
    dead.file.write(b"taken for dead\n")
    dead.finish()
    dead.discard()
    follower.finish()
    follower.publish()
    assert path.read_bytes() == b"the follower\n"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_removed(tmp_path):
    path = tmp_path / "reports.jsonl"
    LocalPart(path).finish()
    remove_parts(path)
    assert not list(tmp_path.iterdir())
