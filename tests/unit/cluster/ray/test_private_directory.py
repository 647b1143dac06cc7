"""What is temporary lies where nobody else can enter, and nothing that others placed is trusted."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from actors.core.journal.batch import WriteBatch
from actors.journal.stores.sqlite import SqliteStore
from cluster.http.haproxy.settings import haproxy_environment
from cluster.ray import head
from cluster.ray import private_directory as module
from cluster.ray.private_directory import (
    DirectoryError,
    is_own_file,
    private_directory,
    root_path,
    sessions_directory,
    token_file,
)

OTHER = 4_000_000  # a user that this process is not
SOCKETS = ("RAY_SERVE_HAPROXY_SOCKET_PATH", "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH")
RUN = Path(__file__).parents[4] / "cluster" / "http" / "haproxy" / "run"


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def generous():
    """Have no mode be narrowed by the umask, as where `make cluster` made a directory of 0777."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("generous")
def test_a_private_directory_is_made_closed_and_one_that_is_open_is_closed(tmp_path):
    made = private_directory(tmp_path / "a" / "b")
    assert mode(made) == 0o700
    made.chmod(0o777)
    assert mode(private_directory(made)) == 0o700


def test_a_link_and_a_file_are_no_private_directory(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(DirectoryError, match="it is a link, or no directory; remove it"):
            private_directory(tmp_path / name)


def test_another_user_s_directory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    with pytest.raises(DirectoryError, match="belongs to another user"):
        private_directory(tmp_path / "x")


@pytest.mark.parametrize("uid", [0, 9_999_999, 2**32 - 2])
def test_the_root_leaves_room_for_the_paths_of_sockets_whatever_the_user_and_tmpdir_are(uid, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    socket = "session_2026-11-30_06-49-37_123456_4194304/sockets/plasma_store.1"
    for length in range(1, 60):
        parent = Path("/", "x" * length)
        monkeypatch.setattr(module.tempfile, "gettempdir", lambda parent=parent: str(parent))
        assert root_path().name == f"headrace-{uid}"
        assert root_path().parent in (parent, Path("/tmp"))  # noqa: S108 - where it would be
        assert length > 2 or root_path().parent == parent
        own = root_path() / "c-abcdefgh"
        assert len(str(own / socket)) <= 107
        told = haproxy_environment({"HEADRACE_HAPROXY_BINARY": "/bin/sh", "PATH": os.defpath}, own)
        for name in SOCKETS:
            path = Path(told[name])
            assert len(str(path.parent / ("0" * 56) / path.name)) <= 97  # the longest that HAProxy takes


def test_the_directory_that_ray_opens_to_every_user_lies_below_a_closed_one(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "root_path", lambda: tmp_path / "root")
    sessions_directory().chmod(0o777)  # as Ray does
    assert sessions_directory().parent == tmp_path / "root"
    assert mode(tmp_path / "root") == 0o700


def test_a_file_that_others_placed_or_may_change_is_not_trusted(tmp_path, monkeypatch):
    file = tmp_path / "cluster.json"
    assert not is_own_file(file)
    file.write_text("{}")
    file.chmod(0o644)
    assert is_own_file(file)
    file.chmod(0o666)
    assert not is_own_file(file)
    file.chmod(0o600)
    (tmp_path / "link").symlink_to(file)
    assert not is_own_file(tmp_path / "link")
    assert is_own_file(file)
    (tmp_path / "second name").hardlink_to(file)
    assert not is_own_file(file)  # somebody may have placed a name of a file of ours there
    (tmp_path / "second name").unlink()
    assert is_own_file(file)
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    assert not is_own_file(file)


def test_no_process_is_ended_on_the_word_of_a_file_that_others_may_write(tmp_path):
    own = f"pid: {os.getpid()}"
    state = {"pid": os.getpid(), "address": own, "dashboard": "d", "metrics": "m", "token_path": "t"}
    command = Path("/proc/self/cmdline").read_bytes().partition(b"\0")[0].decode()
    (tmp_path / "cluster.json").write_text(json.dumps({**state, "session": command}))
    assert head.running(tmp_path) is not None
    (tmp_path / "cluster.json").chmod(0o666)
    assert head.running(tmp_path) is None


def test_a_token_is_kept_unless_another_user_can_read_it(tmp_path):
    first = token_file(tmp_path)
    assert mode(first) == 0o600
    known = first.read_text()
    assert len(known) == 64
    assert token_file(tmp_path).read_text() == known
    first.chmod(0o644)
    assert token_file(tmp_path).read_text() != known
    assert mode(first) == 0o600


@pytest.mark.parametrize("content", ["", "\n", "0123456789abcdef", " " * 64, b"\xff" * 10])
def test_a_file_with_less_than_a_token_is_replaced(tmp_path, content):
    """A process that was killed while it wrote leaves such a file. Nobody should guess the token."""
    path = tmp_path / "token"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(0o600)
    assert len(token_file(tmp_path).read_text().strip()) == 64
    assert mode(path) == 0o600


def test_a_token_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    (tmp_path / "token.new").write_text("what a killed process left")
    seen = []
    monkeypatch.setattr(
        module.secrets, "token_hex", lambda _: seen.append((tmp_path / "token").exists()) or "f" * 64
    )
    assert token_file(tmp_path).read_text() == "f" * 64
    assert seen == [False]
    assert list(tmp_path.iterdir()) == [tmp_path / "token"]


@pytest.mark.usefixtures("generous")
def test_a_store_is_open_to_its_owner_alone(tmp_path):
    path = tmp_path / "new" / "state.db"
    store = SqliteStore(str(path))
    store.commit(WriteBatch({b"k": b"v"}))
    files = list(path.parent.iterdir())
    assert {mode(file) for file in files} == {0o600}
    assert len(files) > 1  # its log, too
    assert mode(path.parent) == 0o700
    store.close()


# ---- what stands in HAProxy's place ----------------------------------------------------------------------


def haproxy(config):
    binary = config.parent.parent / "cat"
    binary.write_text('#!/bin/sh\ncat "$3"\n')
    binary.chmod(0o700)
    env = {"PATH": os.environ["PATH"], "HEADRACE_HAPROXY_BINARY": str(binary)}
    words = [RUN, "-db", "-f", config, "-dR"]
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - our own


@pytest.fixture
def config(tmp_path):
    place = tmp_path / "serve"
    place.mkdir(mode=0o755)
    (place / "haproxy.cfg").write_text("global\n")
    return place / "haproxy.cfg"


def test_haproxy_s_configuration_is_not_written_through_a_link(config, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    config.with_name("haproxy.cfg.closed").symlink_to(victim)
    haproxy(config)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("open_to", [0o777, 0o775, 0o757, 0o1777])
def test_haproxy_is_not_started_from_a_directory_that_others_may_write(config, open_to):
    config.parent.chmod(open_to)
    told = haproxy(config)
    assert told.returncode == 1
    assert "may be written by others" in told.stderr
