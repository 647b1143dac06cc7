"""A result file while it is written: it has a temporary name, and takes its own name when it is whole.

Rule 1: the temporary name is one writer's alone. A driver that was taken for dead and goes on cannot write
    into the file of the driver that followed it.
Rule 2: the file and the directory are synced before anybody is told that the file is there.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

_BUFFER_BYTES = 256 * 1024


class ResultPart:
    """A binary file beside `path`. Every method but `discard` may raise `OSError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        # Buffered: a write of an unbuffered file may take a part only, which pyarrow would not notice.
        # "x": no link that somebody placed there is followed.
        self.file = self._temporary.open("xb", buffering=_BUFFER_BYTES)

    def finish(self) -> None:
        """Have the disk hold all that was written, still under the temporary name."""
        if not self.file.closed:
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()

    def publish(self) -> None:
        """Give the finished file its own name, in place of an earlier one."""
        self._temporary.replace(self.path)
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def discard(self) -> None:
        """Leave no file. After `publish` this changes nothing."""
        # It follows a failure; a second one from the same full disk would hide the first.
        with contextlib.suppress(OSError):
            self.file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink()


def remove_parts(path: Path) -> None:
    """Remove what writers of `path` left that were killed. Only the owner of the run may do so."""
    for left in path.parent.glob(f".{path.name}*.part"):
        left.unlink(missing_ok=True)
