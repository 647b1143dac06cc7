"""Checks the ids of runs. An id becomes a directory, a file name, a job name and a part of URLs."""

from __future__ import annotations

import re

from actors.core.errors import InvalidRunIdError

MOST_CHARACTERS = 100

_RUN_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{MOST_CHARACTERS - 1}}}")
_ELSEWHERE = frozenset("/\\\0")
_SHOWN = 80  # characters of a refused id in an error


def check_directory_name(run_id: str) -> str:
    """Return the id of a stored run. Raises `InvalidRunIdError` if its files would be outside the directory.

    Accepts more than `check_run_id`: runs that an older version began under other ids can be resumed.
    """
    if run_id in {"", ".", ".."} or not _ELSEWHERE.isdisjoint(run_id):
        raise InvalidRunIdError(f"run id {run_id[:_SHOWN]!r} cannot be used as the name of a directory")
    return run_id


def check_run_id(run_id: str) -> str:
    """Return `run_id`. Raises `InvalidRunIdError` if it is not a valid id for a new run."""
    if not _RUN_ID.fullmatch(run_id):
        shown = run_id if len(run_id) <= _SHOWN else f"{run_id[:_SHOWN]}…"
        raise InvalidRunIdError(
            f"{shown!r} is not a valid run id: use letters, digits, '_', '.' and '-', begin with a letter or "
            f"a digit, and use at most {MOST_CHARACTERS} characters"
        )
    return run_id
