"""Refuses the commands that continue other runs for a run of ``map``."""

from __future__ import annotations

from actors.core.errors import ConfigError
from actors.core.messages.journal import RunView
from cluster.report.continuing import is_of_map, map_line, what_to_add


def refuse_map_run(run: RunView, *more: str) -> None:
    """Raise `ConfigError` if `map` began `run`. It names the command, with `more` words."""
    if not is_of_map(run):
        return
    line = map_line(run, *more)
    if not line:
        raise ConfigError(
            f"run {run.run_id} was started by headrace.map: the same call continues it, and returns the table"
        )
    raise ConfigError(
        f"run {run.run_id} is one of `map`: the same command continues it{what_to_add(run)}: {line}"
    )
