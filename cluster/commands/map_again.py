"""Continues a run of ``map`` with the command line that started it, which the run's origin holds."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

import typer

from actors.core.errors import ConfigError
from actors.core.messages.journal import RunView
from cluster.input.formats import STDIN
from cluster.program import program

WITHHELD = "=..."  # the end of an override whose value is a secret


def is_map_run(run: RunView) -> bool:
    """Return whether `map` started a run, which then has no configuration."""
    return "asked" in run.origin


def map_again(context: typer.Context, run: RunView, overrides: Sequence[str] | None, *more: str) -> int:
    """Run the command line of `run` again, with further words, and return its exit code.

    The command `map` finds the id of the run in the object of its context: the words do not name it.

    Raises `ConfigError` if the origin does not hold all of it.
    """
    words = [*run.origin["command"]]
    if not words:
        raise ConfigError(
            f"run {run.run_id} was started by headrace.map: the same call continues it, and returns the table"
        )
    line = f"{program()} {shlex.join(words)}"
    if STDIN in words:
        raise ConfigError(f"the rows of run {run.run_id} came from stdin: pipe the same rows into: {line}")
    if any(word.endswith(WITHHELD) for word in words):
        raise ConfigError(f"secrets are not stored: give them again in: {line}")
    given = [word for override in overrides or () for word in ("--set", override)]
    wanted = [*words, *(each for each in ("--yes", *more) if each not in words), *given]
    sys.argv[1:] = wanted  # the origin of the run stays the same
    root = context.find_root().command
    code: int | None = root.main(wanted, standalone_mode=False, obj=run.run_id)
    return code or 0
