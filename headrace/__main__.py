"""The command line: ``headrace``, which is ``python -m headrace``."""

from __future__ import annotations

from cluster.commands.main import app, main

__all__ = ["app", "main"]

if __name__ == "__main__":
    main()
