"""The commands ``check`` and ``schema``, which only read a configuration."""

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
    """Check a configuration and describe its run, without running anything."""
    from cluster.checks.prompts import refuse_wrong_prompts  # noqa: PLC0415 - loads pydantic
    from cluster.checks.summary import summary_lines  # noqa: PLC0415 - loads pydantic
    from cluster.run.task_input import tasks_of  # noqa: PLC0415 - loads pydantic

    with errors_shown(stderr_console()):
        settings = loaded(config, overrides=overrides or [], env=os.environ)
        count, columns = 0, set[str]()
        for task in tasks_of(settings):  # reading finds invalid tasks
            count += 1
            columns.update(task.params)
        if count:
            refuse_wrong_prompts(settings, columns)
    for line in summary_lines(settings):
        typer.echo(printable(line))


@app.command(name="schema")
def print_schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from cluster.config.model import schema  # noqa: PLC0415 - loads pydantic

    sys.stdout.write(orjson.dumps(schema(), option=orjson.OPT_INDENT_2).decode() + "\n")
