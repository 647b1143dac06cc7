"""The command ``submit``, which runs a configuration as a job of a Ray cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cluster.commands.command_line import AcceptConfig, AsJson, ConfigPath, LogFormat, Overrides, errors_shown
from cluster.ray.job_plan import JobSpec
from cluster.report.console import stderr_console

app = typer.Typer()


@app.command()
def submit(
    *,
    config: ConfigPath,
    tasks: Annotated[Path | None, typer.Option(help="Use the tasks of this file.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The maximum number of tasks.")] = None,
    overrides: Overrides = None,
    run_id: Annotated[
        str | None, typer.Option(help="The id of the run. Default: derived from its inputs.")
    ] = None,
    address: Annotated[str, typer.Option(help="The dashboard's URL. auto: RAY_API_SERVER_ADDRESS.")] = "auto",
    env: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Pass this variable to the job. Ray shows its value: no secrets."),
    ] = None,
    root: Annotated[
        str | None, typer.Option(help="Where relative paths of store and output start on the cluster's host.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the job, and exit with its exit code.")
    ] = False,
    accept_config: AcceptConfig = False,
    _log_format: LogFormat = None,
    json: AsJson = False,
) -> None:
    """Run as a job of a Ray cluster. A second submission joins a running job, or continues a stopped run.

    Example: headrace submit configs/w1.yaml --wait
    """
    from cluster.commands.submission import Submission  # noqa: PLC0415 - loads pydantic
    from cluster.commands.submission import submit as submit_run  # noqa: PLC0415 - same

    console = stderr_console()
    with errors_shown(console):
        asked = JobSpec(
            str(config),
            None if tasks is None else str(tasks),
            limit,
            tuple(overrides or ()),
            accept_config,
            json,
        )
        how = Submission(run_id, address, tuple(env or ()), root, wait)
        code = submit_run(asked, how, os.environ, console)
    raise typer.Exit(code)
