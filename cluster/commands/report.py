"""The command that writes the page of a run."""

from __future__ import annotations

import os
import time
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from actors.core.censor import printable
from actors.core.run_id import check_directory_name
from cluster.commands.command_line import RunId, StoreConfig, errors_shown
from cluster.page.options import MOST_MB, PageOptions
from cluster.records.records import opened, store_settings
from cluster.report.console import plain, stderr_console

app = typer.Typer()


@app.command()
def report(
    *,
    run_id: RunId,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file. Default: RUN_ID.html.")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    redact: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Hide the values of a column of the input or of the answers. May be given several times.",
        ),
    ] = None,
    max_mb: Annotated[
        float,
        typer.Option(
            min=1, max=1000, help="The largest file, in MB. Beyond it, failures and a random sample are kept."
        ),
    ] = MOST_MB,
    config: StoreConfig = None,
) -> None:
    """Write a run's report: one HTML file that works without a network.

    Example: headrace report reviews-20261124-101500-a1b2 --open
    """
    from cluster.golden.file import golden_path  # noqa: PLC0415 - same as the page
    from cluster.page.writing import write_page  # noqa: PLC0415 - loads numpy and jinja2

    console = stderr_console()
    with errors_shown(console), opened(config, os.environ) as store:
        path = output or Path(f"{check_directory_name(run_id)}.html")
        golden = golden_path(store_settings(config, os.environ), run_id)
        options = PageOptions(tuple(redact or ()), golden, max_mb)
        with console.status(f"reading {plain(run_id)} …"):  # a million tasks take minutes
            page = write_page(store, run_id, path, time.time(), options)
        if page.kept < page.tasks:
            console.print(
                f"the page holds {page.kept:,} of {page.tasks:,} tasks, failures first, to stay below "
                f"{max_mb:g} MB; --max-mb raises that. Its summary covers all tasks"
            )
        typer.echo(printable(str(path)))
        if open_it and not webbrowser.open(path.absolute().as_uri()):
            console.print("there is no browser here that could show it")
