"""The program itself: its version, the folders of its code, and the command that starts it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from site import getsitepackages, getusersitepackages
from typing import Final

VERSION = "0.1.0.dev0"  # pyproject.toml reads it

COMMAND: Final = "headrace"  # the name of the package that `python -m` runs, and of the console script
_SCRIPT = "driver.py"
ROOT: Final = Path(__file__).resolve().parents[__name__.count(".")]  # holds the outermost packages
_IS_INSTALLED = __name__.startswith(f"{COMMAND}.")
_PACKAGES = () if _IS_INSTALLED else ("actors", "cluster", "simulators")  # a wheel holds them in `headrace`


def program() -> str:
    """Return what users write to start the program as this process was started, for advice to copy."""
    start = Path(sys.argv[0] if sys.argv else "")
    if start.name == _SCRIPT:
        return f"python {_SCRIPT}"
    return f"python -m {COMMAND}" if start.parts[-2:] == (COMMAND, "__main__.py") else COMMAND


def code_folders() -> tuple[Path, ...]:
    """Return the folders of the packages that a job on another machine needs."""
    return tuple(ROOT / name for name in (COMMAND, *_PACKAGES))


def start_command(env: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the command that starts the program with this interpreter, and its environment.

    Without -P, modules in the working directory would come before those of the program.
    """
    command = [sys.executable, "-P", "-m", COMMAND]
    if is_installed(ROOT):
        return command, dict(env)
    path = os.pathsep.join(filter(None, (str(ROOT), env.get("PYTHONPATH"))))
    return command, {**env, "PYTHONPATH": path}


def is_installed(folder: Path) -> bool:
    """Return whether the interpreter finds the packages in `folder` by itself.

    In PYTHONPATH, every module there would come before a module of the standard library with its name.
    """
    return any(Path(each).resolve() == folder for each in (*getsitepackages(), getusersitepackages()))
