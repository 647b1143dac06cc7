"""A result file has its name only when the disk holds all of it, and its writer's parts are its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

from actors.core.errors import ConfigError
from cluster.report.tables.columns import TableName
from cluster.report.tables.outputs import FileOutput
from cluster.report.tables.targets import (
    LocalPart,
    ResultsError,
    explained,
    refuse_unusable,
    remove_parts,
    result_file,
)


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


# ---- fsspec URLs -----------------------------------------------------------------------------------------


@pytest.fixture
def remote():
    """Return the memory file system of fsspec, which is empty before and after a test."""
    MemoryFileSystem.store.clear()
    yield MemoryFileSystem.store
    MemoryFileSystem.store.clear()


def test_a_remote_file_appears_when_it_is_published(remote):
    part = result_file("memory://bucket/out.csv")
    part.file.write(b"all of it")
    part.finish()
    assert not remote
    part.publish()
    assert {name: bytes(file.getbuffer()) for name, file in remote.items()} == {
        "/bucket/out.csv": b"all of it"
    }


def test_a_remote_file_that_is_discarded_never_appears(remote):
    part = result_file("memory://bucket/out.csv")
    part.file.write(b"half of it")
    part.discard()
    assert not remote


def test_an_upload_that_fails_leaves_the_file_of_before_and_is_a_results_error(remote, monkeypatch):
    def write(target, content):
        part = result_file(target)
        part.file.write(content)
        part.finish()
        with explained(target):
            part.publish()

    write("memory://out.csv", b"before")
    monkeypatch.setattr(MemoryFile, "write", lambda *_: 1 / 0)
    with pytest.raises(ResultsError, match=r"memory://out\.csv: the upload failed: division by zero"):
        write("memory://out.csv", b"after")
    assert bytes(remote["/out.csv"].getbuffer()) == b"before"


def test_a_file_system_that_is_not_installed_is_an_error_with_the_extra(monkeypatch):
    def missing(*_, **__):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(ConfigError, match=r"s3://b/out\.csv: .*pip install 'headrace\[s3\]'"):
        result_file("s3://b/out.csv")


def test_an_unknown_protocol_is_an_error():
    with pytest.raises(ConfigError, match=r"nope://out\.csv: "):
        result_file("nope://out.csv")


def test_the_name_of_a_remote_result_does_not_show_its_password():
    assert (
        FileOutput(TableName.ITEMS, "memory://user:hunter2x@bucket/r.csv").name == "memory://***@bucket/r.csv"
    )
    for url in ("nope://user:hunter2x@bucket/r.csv", "memory://user:hunter2x@bucket/r"):
        with pytest.raises(ConfigError) as caught:
            FileOutput(TableName.ITEMS, url)
        assert "hunter2x" not in str(caught.value)


def test_a_server_that_cannot_be_reached_is_a_problem_of_the_url(monkeypatch):
    def unreachable(url, **_):
        raise ConnectionRefusedError(111, f"cannot connect to {url}")

    monkeypatch.setattr("fsspec.core.url_to_fs", unreachable)
    with pytest.raises(ConfigError, match="check the URL and the credentials") as caught:
        FileOutput(TableName.ITEMS, "ftp://user:hunter2x@127.0.0.1:1/x.csv")
    assert "hunter2x" not in str(caught.value)


def test_a_directory_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(ConfigError, match=r"out\.csv: it is a directory; name a file"):
        refuse_unusable(str(tmp_path / "out.csv"))
