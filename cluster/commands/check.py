"""The commands that read a configuration and run nothing: ``check`` and ``schema``."""

from __future__ import annotations

import os
import sys

import orjson
import typer

from actors.core.censor import printable
from cluster.commands.command_line import (
    ConfigPath,
    Overrides,
    errors_shown,
)
from cluster.config.loading import loaded
from cluster.report.console import stderr_console

app = typer.Typer()


@app.command()
def check(*, config: ConfigPath, overrides: Overrides = None) -> None:
    """Check a configuration and say what it would run, without running anything."""
    from cluster.commands.batch import tasks_of  # noqa: PLC0415 - loads uvloop and pydantic
    from cluster.config.summary import summary_lines  # noqa: PLC0415 - loads pydantic

    with errors_shown(stderr_console()):
        settings = loaded(config, overrides=overrides or [], env=os.environ)
        for _ in tasks_of(settings):
            pass  # bad input is found by reading it
    for line in summary_lines(settings):
        typer.echo(printable(line))


@app.command(name="schema")
def print_schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from cluster.config.model import schema  # noqa: PLC0415 - loads pydantic

    sys.stdout.write(orjson.dumps(schema(), option=orjson.OPT_INDENT_2).decode() + "\n")
