"""Imports the modules of the user that a configuration names, which may stand in the working directory.

An installed command does not look for modules there. If it always did, each file there with the name of an
optional module of a library would be executed, whatever the command.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

_LOCK = threading.RLock()  # sources are made on threads, and one may remove the path that another one needs


@contextlib.contextmanager
def from_working_directory() -> Iterator[None]:
    """Look for modules in the working directory too, after all other places."""
    with _LOCK:
        here = str(Path.cwd())
        if here in sys.path:
            yield
            return
        sys.path.append(here)
        try:
            yield
        finally:
            with contextlib.suppress(ValueError):  # the module may have changed the list
                sys.path.remove(here)
