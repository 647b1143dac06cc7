"""The commands ``check`` and ``schema``, which only read a configuration."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from actors.core.censor import printable
from actors.core.errors import ConfigError
from cluster.commands.command_line import (
    ConfigPath,
    Overrides,
    errors_shown,
)
from cluster.config.loading import loaded
from cluster.report.console import stderr_console

if TYPE_CHECKING:
    from actors.core.messages.tasks import Task
    from cluster.config.model import HeadraceConfig

app = typer.Typer()


@app.command()
def check(
    *,
    config: ConfigPath,
    overrides: Overrides = None,
    show_prompt: Annotated[
        int, typer.Option("--show-prompt", metavar="N", min=0, help="Show the prompts of the first N tasks.")
    ] = 0,
) -> None:
    """Check a configuration, its tasks and its sources, and describe the run, without a call.

    Example: headrace check job.yaml --show-prompt 1
    """
    from cluster.checks.first_task import try_sources  # noqa: PLC0415 - loads uvloop and pydantic
    from cluster.checks.summary import summary_lines  # noqa: PLC0415 - same

    with errors_shown(stderr_console()):
        settings = loaded(config, overrides=overrides or [], env=os.environ)
        count, first = _read_tasks(settings, max(1, show_prompt))
        found = asyncio.run(try_sources(settings, first[0])) if first else []
        censor = settings.censor()  # the error of a database or a server may quote its address
        for line in [*summary_lines(settings, count), *map(censor, found)]:
            typer.echo(printable(line))
        for task in first[:show_prompt]:
            _show_prompts(settings, task)


def _read_tasks(config: HeadraceConfig, shown: int) -> tuple[int, list[Task]]:
    """Read all tasks; return their number, and the first. Raises `ConfigError` for what cannot run."""
    from cluster.report.tables.columns import InputColumns  # noqa: PLC0415 - loads pydantic
    from cluster.report.tables.sinks import make_sink  # noqa: PLC0415 - same
    from cluster.run.task_input import TaskReader, check_columns, reader_of  # noqa: PLC0415 - same

    for sink in config.output.sinks:
        make_sink(sink)
    first: list[Task] = []
    columns, count = InputColumns(), 0
    read = TaskReader(lambda: iter(())) if config.tasks is None else reader_of(config)
    for task in read():
        columns.add(count, task)
        count += 1
        if count <= shown:
            first.append(task)
    check_columns(config, columns.types, count, read.arrow_input)
    return count, first


def _show_prompts(config: HeadraceConfig, task: Task) -> None:
    from cluster.checks.prompts import prompts_of  # noqa: PLC0415 - loads pydantic

    censor = config.censor()
    try:
        shown = list(prompts_of(config, task))
    except ValueError as error:
        raise ConfigError(f"task {task.key}: {error}") from error
    for each in shown:
        notes = "".join(f" · {note}" for note in each.notes)
        typer.echo(printable(f"--- task {each.task}, step {each.step}{notes}"))
        if each.system is not None:
            typer.echo(printable(censor(f"system: {each.system}")))
            typer.echo()
        if each.text is not None:
            typer.echo(printable(censor(each.text), indent=""))
        for location in each.attachments:
            typer.echo(printable(censor(f"file: {location}")))


@app.command(name="schema")
def print_schema() -> None:
    """Print the JSON Schema of the configuration, for editors.

    Example: headrace schema > headrace.schema.json
    """
    from cluster.config.model import schema  # noqa: PLC0415 - loads pydantic

    sys.stdout.write(orjson.dumps(schema(), option=orjson.OPT_INDENT_2).decode() + "\n")
