"""The command ``map``: asks a question about every row of a table, and writes the table with new columns."""

from __future__ import annotations

import datetime as dt
import enum
from pathlib import Path
from typing import Annotated

import typer

from actors.core.errors import ConfigError
from cluster.commands.command_line import (
    AsJson,
    ClusterAddress,
    EngineChoice,
    LogFormat,
    Overrides,
    Quiet,
    errors_shown,
)
from cluster.commands.map import arguments as options
from cluster.report.console import stderr_console

app = typer.Typer()


class OnError(enum.StrEnum):
    """The effect of a failed row on the run."""

    KEEP = "keep"
    STOP = "stop"


@app.command(name="map")
def map_rows(
    *,
    data: options.Data,
    prompt: options.PromptWords = None,
    prompt_option: options.PromptText = None,
    column: options.ColumnTexts = None,
    columns: options.ColumnSource = None,
    model: options.Model = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The table to write: .csv, .tsv, .jsonl, .parquet, or a URL. "
            "Default: JSON lines to a pipe, the first rows to a terminal.",
        ),
    ] = None,
    system: options.SystemText = None,
    attach: options.Attached = None,
    embed: options.Embedded = None,
    key: options.KeyColumn = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    limit: options.Limit = None,
    sample: options.Sample = None,
    seed: options.Seed = 0,
    budget: options.Budget = None,
    deadline: Annotated[
        str | None, typer.Option(metavar="06:00|4h", help="Stop asking then; the same command continues.")
    ] = None,
    on_error: Annotated[
        OnError,
        typer.Option("--on-error", help="keep: a failed row has its cause in _error. stop: end the run."),
    ] = OnError.KEEP,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask all failed rows again, also those that fail again.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="A new column replaces one of the table with its name.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="-o replaces any file, not only an earlier result.")
    ] = False,
    prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="The beginning of the names of new columns, such as ai_.")
    ] = "",
    extra: Annotated[
        str, typer.Option("--with", metavar="cost,latency,raw", help="Further columns about each answer.")
    ] = "",
    max_tokens: options.MaxTokens = None,
    param: options.Parameters = None,
    base_url: options.BaseUrl = None,
    api_key_env: options.ApiKeyEnv = None,
    config: options.SharedConfig = None,
    overrides: Overrides = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Use no answer of another run: ask and pay again.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the first prompt and the columns, and ask nothing.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the job as a configuration for run.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a large job.")] = False,
    quiet: Quiet = False,
    _log_format: LogFormat = None,
    json: AsJson = False,
    engine: EngineChoice = None,
    address: ClusterAddress = "auto",
) -> None:
    """Ask a question about every row of a table, and write the table with new columns.

    The same command again continues: rows with an answer are not asked again.

    Example: headrace map reviews.csv 'Classify: {text}' -c 'mood: good | bad' -m sim -o out.csv
    """
    console = stderr_console()
    console.quiet = quiet
    with errors_shown(stderr_console()):
        arguments = options.MapArguments(
            data=data,
            prompt=prompt,
            prompt_option=prompt_option,
            system=system,
            attach=tuple(attach or ()),
            embed=embed,
            columns=tuple(column or ()),
            column_source=columns,
            model=model,
            base_url=base_url,
            api_key_env=api_key_env,
            config=config,
            key=key,
            delimiter=delimiter,
            encoding=encoding,
            limit=limit,
            sample=sample,
            seed=seed,
            budget=budget,
            max_tokens=max_tokens,
            params=tuple(param or ()),
            prefix=prefix,
            overrides=tuple(overrides or ()),
        )
        course = options.MapCourse(
            target=output,
            extras=tuple(name.strip() for name in extra.split(",") if name.strip()),
            replaces=replace,
            overwrites=overwrite,
            deadline_s=None
            if deadline is None
            else options.seconds_until(deadline, dt.datetime.now().astimezone()),
            stops_at_failure=on_error is OnError.STOP,
            retry_failed=retry_failed,
            fresh=fresh,
            dry_run=dry_run,
            save=save,
            yes=yes,
            as_json=json,
        )
        arguments.check()
        if json and output is None and not dry_run:
            raise ConfigError("--json prints the summary on stdout: name a file for the table with -o")
        rows = options.read_rows(arguments, console)
        from cluster.commands.map.run import run_command  # noqa: PLC0415 - loads pydantic, after the first line

        code = run_command(arguments, course, rows, console, engine=engine, address=address)
    raise typer.Exit(code)
