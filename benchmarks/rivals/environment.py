"""The Python environment of the rivals, which may be Headrace's or one of their own.

The variable `HEADRACE_BENCH_PYTHON` names its interpreter. The default is the environment that `make bench`
makes, or else this interpreter.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_OWN = Path(__file__).parents[2] / ".headrace" / "benchvenv" / "bin" / "python"
_LOOK_WITHIN_S = 120.0
HOW = "not installed: pip install 'headrace[bench]'"


def interpreter() -> str:
    """Return the interpreter that rivals run under."""
    named = os.environ.get("HEADRACE_BENCH_PYTHON")
    return named or (str(_OWN) if _OWN.exists() else sys.executable)


def is_installed(needs: Sequence[str]) -> bool:
    """Return whether the modules that a rival `needs` can be imported."""
    look = subprocess.run(  # noqa: S603 - the configured interpreter, and names from this project
        [interpreter(), "-c", "".join(f"import {name}\n" for name in needs)],
        capture_output=True,
        check=False,
        timeout=_LOOK_WITHIN_S,
    )
    return look.returncode == 0


def version(package: str) -> str:
    """Return the version of a package, empty if it is not installed."""
    look = subprocess.run(  # noqa: S603 - same
        [interpreter(), "-c", f"from importlib import metadata; print(metadata.version({package!r}))"],
        capture_output=True,
        check=False,
        text=True,
        timeout=_LOOK_WITHIN_S,
    )
    return look.stdout.strip() if look.returncode == 0 else ""
