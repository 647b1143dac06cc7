"""Judges who may write to the file of a store: strangers could place answers in it, which runs would use.

Rule: the user, root and the owner of the working directory are trusted. A group is only named in a note: a
volume of a container gives its group access to every file.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Collection
from pathlib import Path

from actors.core.errors import StoreError

_HARM = "others could place answers in it"


def trusted_users() -> frozenset[int]:
    """Return the ids of the users whose files this process uses."""
    return frozenset({0, os.geteuid(), Path.cwd().stat().st_uid})


def check_access(path: Path, known: os.stat_result, trusted: Collection[int]) -> str | None:
    """Raise `StoreError` if a stranger may write to the file. Return a note if a group may."""
    mode, place = stat.S_IMODE(known.st_mode), shlex.quote(str(path))
    if known.st_uid not in trusted:
        raise StoreError(
            f"the store {path} belongs to another user (id {known.st_uid}): {_HARM}. If you trust that user, "
            f"copy it: `cp {place} FILE`; or name another path (store.path)"
        )
    if mode & stat.S_IWOTH:
        raise StoreError(
            f"every user may write to the store {path} (mode {mode:04o}): {_HARM}. Close it with "
            f"`chmod go-w {place}`, or name another path (store.path)"
        )
    if mode & stat.S_IWGRP:
        return f"its group may write to the store {path} (mode {mode:04o}); `chmod g-w {place}` closes it"
    return None
