"""Imports the modules of the user that a configuration names, which may stand in the working directory.

An installed command does not look for modules there. If it always did, each file there with the name of an
optional module of a library would be executed, whatever the command.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from actors.core.errors import ConfigError

# package.module:Name, where the name may have dots too
IMPORT_PATH: Final = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"
_MOST_NAMES = 20

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


def imported(path: str) -> Any:
    """Return what an `IMPORT_PATH` names. Runs the module. Raises `ConfigError` with the cause."""
    module_name, _, name = path.partition(":")
    try:
        with from_working_directory():
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{path}: the import path has no module {error.name!r}") from error
    except (Exception, SystemExit) as error:
        text = f"importing {module_name} raised {type(error).__name__}: {error}"
        raise ConfigError(f"{path}: {text}") from error
    try:
        return functools.reduce(getattr, name.split("."), module)
    except AttributeError:
        public = [each for each in vars(module) if not each.startswith("_")]
        listed = ", ".join(islice(public, _MOST_NAMES)) + (", ..." if len(public) > _MOST_NAMES else "")
        text = f"module {module_name} has no {name!r}; it has: {listed or 'nothing'}"
        raise ConfigError(f"{path}: {text}") from None
