"""The name under which this program was started, for advice that users copy into a shell."""

from __future__ import annotations

import sys
from pathlib import PurePath

INSTALLED = "headrace"
_SCRIPT = "driver.py"


def program() -> str:
    """Return ``python driver.py``, ``python -m headrace`` or ``headrace``, as this process was started."""
    started = PurePath(sys.argv[0] if sys.argv else "")
    if started.name == _SCRIPT:
        return f"python {_SCRIPT}"
    return f"python -m {INSTALLED}" if started.parts[-2:] == (INSTALLED, "__main__.py") else INSTALLED


def command(arguments: str) -> str:
    """Return the command line with these arguments, such as ``headrace resume RUN``."""
    return f"{program()} {arguments}"
