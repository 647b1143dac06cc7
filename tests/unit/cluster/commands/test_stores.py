"""The commands that copy whole runs, on a disk that is full."""

from __future__ import annotations

from contextlib import closing

import pytest
from typer.testing import CliRunner

from actors.core.errors import StoreUnavailableError
from actors.core.messages.journal import CloseRun
from actors.journal.stores import opening
from actors.journal.stores.sqlite import SqliteStore
from cluster.commands.stores import app
from cluster.records import records
from tests.unit.support.journal_desk import RUN, Desk


@pytest.mark.parametrize(
    "command",
    [
        ["migrate", "state.db", "--to", "elsewhere.db"],
        ["migrate", "state.db", "--dry-run"],
        ["backup", "state.db", "headrace.backup"],
    ],
)
def test_a_store_on_a_full_disk_is_copied_elsewhere(command, tmp_path, monkeypatch):
    def open_on_full_disk(settings, *, may_lock=False):
        if not may_lock:
            raise StoreUnavailableError("the disk is full")
        return opening.open_store(settings, may_lock=True)

    monkeypatch.chdir(tmp_path)
    with closing(SqliteStore("state.db")) as store:
        desk = Desk(store)
        desk.open()
        desk.tell(CloseRun(RUN, "succeeded"))
    monkeypatch.setattr(records, "open_store", open_on_full_disk)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.stderr
