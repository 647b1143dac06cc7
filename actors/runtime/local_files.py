"""Reads a local file below a folder, without following links and without waiting."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actors.core.errors import SourceError, SourceUnavailableError


def read_beneath(root: Path, path: Path, size: int, name: str) -> bytes:
    """Return up to `size` bytes of the regular file at `path`, which is below `root` and has no links.

    `name` is the file in errors. A link that was created after the path was resolved results in an error.
    Raises OSError, `SourceError` for a pipe, a device or a folder, and `SourceUnavailableError` if the file
    changes during the read. Blocks.
    """
    descriptor = _open_beneath(root, path.relative_to(root).parts)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):  # `fdopen` of a folder would raise and keep the descriptor open
            raise SourceError(f"{name} is not a regular file")
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
            data = read_up_to(file, size)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    cut_off = len(data) < min(before.st_size, size)
    if cut_off or (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise SourceUnavailableError(f"{name} changed while it was read")
    return data


def read_up_to(file: Any, size: int) -> bytes:
    """Return the rest of a file, at most `size` bytes. Blocks."""
    chunks: list[bytes] = []
    missing = size
    while missing > 0 and (chunk := file.read(missing)):
        chunks.append(chunk)
        missing -= len(chunk)
    return b"".join(chunks)


def _open_beneath(root: Path, parts: Sequence[str]) -> int:
    """Open the file at `parts` below `root` for reading, without following links. Return its descriptor.

    Otherwise a folder could be replaced by a link between the check of a path and its opening.
    """
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in parts[:-1]:
            below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = below
        name = parts[-1] if parts else "."
        # Without O_NONBLOCK the opening of a pipe would wait for a writer.
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here)
    finally:
        os.close(here)
