"""Which names a run may have: they become directories, file names, job names, and parts of URLs."""

from __future__ import annotations

import re

from actors.core.errors import InvalidRunIdError

MOST_CHARACTERS = 100

_RUN_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{MOST_CHARACTERS - 1}}}")
_ELSEWHERE = frozenset("/\\\0")
_SHOWN = 80  # characters of a refused id in an error


def check_directory_name(run_id: str) -> str:
    """Return the id of a stored run. Raises `InvalidRunIdError` where its files would lie elsewhere.

    Older versions began runs under other ids than `check_run_id` takes, and these can be gone on with.
    """
    if run_id in {"", ".", ".."} or not _ELSEWHERE.isdisjoint(run_id):
        raise InvalidRunIdError(f"{run_id[:_SHOWN]!r} cannot be the name of a directory for a run's files")
    return run_id


def check_run_id(run_id: str) -> str:
    """Return `run_id`. Raises `InvalidRunIdError` where no run may be named so."""
    if not _RUN_ID.fullmatch(run_id):
        shown = run_id if len(run_id) <= _SHOWN else f"{run_id[:_SHOWN]}…"
        raise InvalidRunIdError(
            f"{shown!r} cannot be the id of a run: use letters, digits, '_', '.' and '-', the first a letter "
            f"or a digit, {MOST_CHARACTERS} at the most"
        )
    return run_id
