"""The command ``migrate`` copies a store into another one, and never into itself."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

import driver
from actors.core.messages.journal import CloseRun, Finish
from actors.journal.stores.sqlite import SqliteStore
from tests.unit.support.journal_desk import RUN, Desk, report


def rows(path):
    with closing(SqliteStore(path)) as store:
        return store.scan(b"", b"\xff", 1000)


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Return a runner in a directory with a store, which has two names, and an empty directory."""
    monkeypatch.chdir(tmp_path)
    with closing(SqliteStore("state.db")) as store:
        desk = Desk(store)
        desk.open()
        desk.accept("t1")
        desk.tell_all(Finish(RUN, report("t1")), CloseRun(RUN, "succeeded"))
    Path("by-link.db").symlink_to("state.db")
    return CliRunner()


@pytest.mark.parametrize("to", ["state.db", "./state.db", "by-link.db"])
def test_a_store_is_not_copied_into_itself(cli, to):
    before = rows("state.db")
    ended = cli.invoke(driver.app, ["migrate", "state.db", "--to", to, "--replace"])
    assert ended.exit_code == 2
    assert f"--to {to} is the store state.db itself: name another one" in ended.stderr
    assert rows("state.db") == before


def test_a_store_is_copied_into_another_one(cli):
    ended = cli.invoke(driver.app, ["migrate", "state.db", "--to", "new.db"])
    assert ended.exit_code == 0, ended.stderr
    assert "1 runs copied" in ended.stdout
    assert len(rows("new.db")) == len(rows("state.db"))
