"""A store that strangers may write to is not used."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from actors.core.errors import StoreError
from actors.journal.stores.file_access import check_access
from actors.journal.stores.sqlite import SqliteStore

ME, STRANGER = 1000, 1001


@pytest.mark.parametrize(
    ("mode", "uid", "refusal", "note"),
    [
        (0o600, ME, None, None),
        (0o644, ME, None, None),
        (0o600, 0, None, None),
        (
            0o600,
            STRANGER,
            r"'?a dir/s.db'? belongs to another user \(id 1001\).*copy it: `cp 'a dir/s.db' FILE`",
            None,
        ),
        (
            0o666,
            ME,
            r"every user may write .* \(mode 0666\).*`chmod go-w 'a dir/s.db'`, or name another path",
            None,
        ),
        (0o602, ME, "every user may write", None),
        (
            0o660,
            ME,
            None,
            "its group may write to the store a dir/s.db (mode 0660); `chmod g-w 'a dir/s.db'` closes it",
        ),
    ],
)
def test_strangers_are_refused_and_a_group_is_noted(mode, uid, refusal, note):
    known = SimpleNamespace(st_mode=0o100000 | mode, st_uid=uid)
    if refusal is None:
        assert check_access(Path("a dir/s.db"), known, {0, ME}) == note
    else:
        with pytest.raises(StoreError, match=refusal):
            check_access(Path("a dir/s.db"), known, {0, ME})


def test_a_store_is_made_private_and_is_checked_when_it_is_opened(tmp_path, monkeypatch):
    path = tmp_path / "new" / "state.db"
    SqliteStore(str(path)).close()
    assert [each.stat().st_mode & 0o777 for each in (path.parent, path)] == [0o700, 0o600]
    path.chmod(0o660)
    with closing(SqliteStore(str(path))) as store:
        assert len(store.notes()) == 1
    path.chmod(0o666)
    with pytest.raises(StoreError, match="every user may write"):
        SqliteStore(str(path))
    path.chmod(0o600)
    monkeypatch.chdir("/")  # which root owns
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    if path.stat().st_uid:  # a file of root is trusted
        with pytest.raises(StoreError, match="belongs to another user"):
            SqliteStore(str(path))
