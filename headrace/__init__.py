"""Headrace from Python: `map` asks about every row of a table, `run` runs a configuration.

A name is loaded when it is used, so that importing this package takes no time. Its one effect: if pydantic is
not imported yet, it will load no plug-ins, which any directory on the import path can declare.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from headrace import errors
    from headrace.batch import arun, run
    from headrace.comparing import Comparison, compare
    from headrace.estimating import estimate
    from headrace.handle import Run
    from headrace.mapping import amap, map  # noqa: A004 - it is called as headrace.map

if "pydantic" not in sys.modules:
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

__all__ = ["Comparison", "Run", "amap", "arun", "compare", "errors", "estimate", "map", "run"]

_MODULES = {
    "Comparison": "comparing",
    "Run": "handle",
    "amap": "mapping",
    "arun": "batch",
    "compare": "comparing",
    "estimate": "estimating",
    "map": "mapping",
    "run": "batch",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from cluster.program import VERSION  # noqa: PLC0415 - see above

        return VERSION
    if name not in __all__:
        raise AttributeError(f"module 'headrace' has no attribute {name!r}")
    module = import_module(f"headrace.{_MODULES.get(name, name)}")
    found = getattr(module, name) if name in _MODULES else module
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
