"""Writes the file of a page. It appears whole or not at all, and its owner alone can read it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cluster.report.tables.targets import LocalPart, explained

_PRIVATE = 0o600  # a page may hold what others must not read
OTHERWISE = "write the page to another place"


def write_file(path: Path, chunks: Iterable[bytes]) -> int:
    """Write a file in place of an earlier one, make its directory, and return its size.

    Raises `ResultsError`.
    """
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
