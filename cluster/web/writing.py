"""Writes the file of a page. It appears whole or not at all, and its owner alone can read it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from actors.core.errors import ConfigError
from cluster.report.tables.targets import LocalPart, explained

_PRIVATE = 0o600  # a page may hold what others must not read
OTHERWISE = "write the page to another place"
_MARK = b'<meta name="generator" content="Headrace">'
_SEARCHED_BYTES = 4096


def refuse_foreign(path: Path) -> None:
    """Raise `ConfigError` if `path` is a file that is no page of Headrace: it may be a table of the user."""
    with explained(str(path), OTHERWISE):
        if not path.is_file():
            return
        with path.open("rb") as file:
            beginning = file.read(_SEARCHED_BYTES)
    if beginning and _MARK not in beginning:
        raise ConfigError(f"{path} exists, and is no page of Headrace; name another file, or remove it")


def write_file(path: Path, chunks: Iterable[bytes]) -> int:
    """Write a page in place of an earlier one, make its directory, and return its size.

    Raises `ResultsError`, and `ConfigError` for a file that is no earlier page.
    """
    refuse_foreign(path)
    with explained(str(path), OTHERWISE):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = LocalPart(path, mode=_PRIVATE)
        try:
            part.file.writelines(chunks)
            size = part.file.tell()
            part.finish()
            part.publish()
        finally:
            part.discard()
    return size
