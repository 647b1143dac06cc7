"""A result file while it is written: it has a temporary name until it is complete.

Rule 1: Each writer uses a unique temporary name. A driver that was declared dead and continues cannot
    write into the file of its successor.
Rule 2: The file and its directory are synced before `publish` returns.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

_BUFFER_BYTES = 256 * 1024


class ResultPart:
    """A binary file beside `path`. Every method except `discard` may raise `OSError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        # Without the buffer, a write may be partial, which pyarrow does not detect. "x" follows no symbolic
        # link that another user has placed there.
        self.file = self._temporary.open("xb", buffering=_BUFFER_BYTES)

    def finish(self) -> None:
        """Sync the file under its temporary name. A second call has no effect."""
        if not self.file.closed:
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()

    def publish(self) -> None:
        """Rename the finished file to `path`, replacing an earlier file."""
        self._temporary.replace(self.path)
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def discard(self) -> None:
        """Delete the temporary file. After `publish` this has no effect."""
        # A second error from the same full disk would hide the first.
        with contextlib.suppress(OSError):
            self.file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink()


def remove_parts(path: Path) -> None:
    """Delete the temporary files of killed writers of `path`. Only the owner of the run may call this."""
    for left in path.parent.glob(f".{path.name}*.part"):
        left.unlink(missing_ok=True)
