"""The command ``estimate``: what a job will cost and take, counted, or measured on a random sample."""

from __future__ import annotations

import copy
import os
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperOption
from typer.main import get_command

from actors.core.errors import ConfigError
from actors.core.run_id import check_run_id
from cluster.commands.command_line import (
    AsJson,
    ClusterAddress,
    EngineChoice,
    Overrides,
    errors_shown,
    print_json,
)
from cluster.commands.map import arguments as options
from cluster.commands.map.command import app as map_app
from cluster.program import program
from cluster.report.console import plain, stderr_console, visible
from cluster.report.exit_codes import FAILED, INTERRUPTED
from cluster.report.failures import cause_lines
from cluster.report.summary import RunState
from cluster.run.host import CommandHost

if TYPE_CHECKING:
    from cluster.run.engine import LocalEngine, RayEngine
    from cluster.run.sampling import EstimatedJob

app = typer.Typer()

_CONFIGURATIONS = (".yaml", ".yml")
_COUNTS_OTHERWISE = "fresh"  # an option of map that changes the cost; it is refused here


class _TakesMapOptions(TyperCommand):
    """A command that accepts the options which only ``map`` uses, and ignores them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        taken = {*(each.name for each in self.params), _COUNTS_OTHERWISE}
        for each in get_command(map_app).params:
            if isinstance(each, TyperOption) and each.name not in taken:
                ignored = copy.copy(each)
                ignored.expose_value, ignored.hidden = False, True
                self.params.append(ignored)


@app.command(cls=_TakesMapOptions)
def estimate(
    *,
    data: Annotated[
        str,
        typer.Argument(metavar="DATA|CONFIG", help="The table, as for map, or a configuration, as for run."),
    ],
    prompt: options.PromptWords = None,
    prompt_option: options.PromptText = None,
    column: options.ColumnTexts = None,
    columns: options.ColumnSource = None,
    model: options.Model = None,
    system: options.SystemText = None,
    attach: options.Attached = None,
    embed: options.Embedded = None,
    key: options.KeyColumn = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    limit: options.Limit = None,
    sample: Annotated[
        int, typer.Option("--sample", min=0, help="Ask as many random rows now; their answers are kept.")
    ] = 0,
    seed: options.Seed = 0,
    prefix: Annotated[str, typer.Option(metavar="TEXT", help="As for map.")] = "",
    max_tokens: options.MaxTokens = None,
    param: options.Parameters = None,
    base_url: options.BaseUrl = None,
    api_key_env: options.ApiKeyEnv = None,
    config: options.SharedConfig = None,
    overrides: Overrides = None,
    run_id: Annotated[
        str | None, typer.Option(help="With a CONFIG: the run whose beginning the sample is.")
    ] = None,
    json: AsJson = False,
    engine: EngineChoice = None,
    address: ClusterAddress = "auto",
) -> None:
    """Say what a job will cost and take. Asks nothing, except with --sample.

    Options that only map uses, such as -o, are accepted and change nothing.

    Example: headrace estimate reviews.csv 'Classify: {text}' -c 'mood: good | bad' -m sim --sample 30
    """
    console = stderr_console()
    with errors_shown(console):
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
            max_tokens=max_tokens,
            params=tuple(param or ()),
            prefix=prefix,
            overrides=tuple(overrides or ()),
        )
        if Path(data).suffix in _CONFIGURATIONS:
            job = _configured(arguments, run_id, samples=bool(sample))
        elif run_id is None:
            job = _mapped(arguments, console)
        else:
            raise ConfigError("--run-id is for a configuration: the run of a table is found by its rows")
        code = 0
        if sample:
            from cluster.commands.batch import engine_of  # noqa: PLC0415 - only a sample needs an engine

            chosen = engine_of(job.config, arguments.overrides, engine, address)
            code = _ask(job, console, sample, seed, engine=chosen)
        found = job.estimate()
        if json:
            print_json({"run_id": job.run_id or None, **found.document()})
        else:
            for line in found.lines():
                typer.echo(visible(line))
    raise typer.Exit(code)


def _mapped(arguments: options.MapArguments, console: Console) -> EstimatedJob:
    """Return the job of a table and a question. Raises `HeadraceError`."""
    arguments.check()
    rows = options.read_rows(arguments, console)
    from cluster.run.map.history import history_of  # noqa: PLC0415 - after the first line
    from cluster.run.map.job import check_job  # noqa: PLC0415 - after the first line
    from cluster.run.map.run import estimated  # noqa: PLC0415 - after the first line

    # `map` says whether a column may be replaced; the cost is the same.
    job = replace(arguments.job(rows), replaces=True)
    check_job(job)
    return estimated(job, history_of(job))


def _configured(arguments: options.MapArguments, run_id: str | None, *, samples: bool) -> EstimatedJob:
    """Return the job of a configuration. With a sample it has a run. Raises `HeadraceError`."""
    given = arguments.question_options()
    if given:
        raise ConfigError(f"{arguments.data} is a configuration: leave out {', '.join(given)}")
    from cluster.config.loading import loaded  # noqa: PLC0415 - loads pydantic
    from cluster.ray.job_paths import below_root  # noqa: PLC0415 - same
    from cluster.records.run_journal import RunOrigin  # noqa: PLC0415 - same
    from cluster.run.launch import BatchRequest, new_run_id  # noqa: PLC0415 - same
    from cluster.run.sampling import EstimatedJob  # noqa: PLC0415 - same

    path = Path(arguments.data)
    settings = below_root(loaded(path, overrides=arguments.overrides, env=os.environ), os.environ)
    named = check_run_id(run_id or new_run_id(settings.name))
    origin = RunOrigin.of(settings, path, arguments.overrides, arguments.limit)
    batch = BatchRequest(settings, named, origin, live=False)
    return EstimatedJob(settings, batch.tasks, named if samples or run_id else "", batch.origin)


def _ask(
    job: EstimatedJob, console: Console, size: int, seed: int, *, engine: LocalEngine | RayEngine
) -> int:
    """Ask the sample, say how the run goes on, and return the exit code. Raises `HeadraceError`."""
    with redirect_stdout(sys.stderr):  # Ray prints the output of workers on stdout, which is for data
        summary = job.ask_sample(engine, CommandHost(console, live=True), size=size, seed=seed)
    if summary is None:
        return 0
    for line in cause_lines(summary.failures):
        console.print(plain(line, 2000), soft_wrap=True)
    if summary.stopped_by:
        console.print(f"the sample was stopped: {summary.stopped_by}", style="red", soft_wrap=True)
        return FAILED
    if job.origin is not None and job.origin.path is not None:
        again = f"{program()} run {job.origin.path} --run-id {job.run_id}"
        text = f"the sample is the beginning of run {job.run_id}; go on with: {again}"
        console.print(text, soft_wrap=True)
    else:
        text = "the answers of the sample are kept: `map` with the same arguments goes on"
        console.print(text, soft_wrap=True)
    return INTERRUPTED if summary.state is RunState.INTERRUPTED else 0
