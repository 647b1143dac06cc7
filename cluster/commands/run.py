"""The commands that run tasks: ``run``, ``resume`` and ``retry``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from actors.core.errors import ConfigError
from actors.core.messages.tasks import TaskState
from actors.core.run_id import check_run_id
from cluster.chaos.plan import Form
from cluster.commands.command_line import (
    AcceptConfig,
    AsJson,
    ClusterAddress,
    ConfigPath,
    EngineChoice,
    LogFormat,
    Overrides,
    Quiet,
    RunId,
    StoreConfig,
    errors_shown,
    print_json,
)
from cluster.commands.map.again import refuse_map_run
from cluster.config.loading import loaded
from cluster.ray.job_paths import below_root
from cluster.records.records import found_run, opened, start_of, with_overrides
from cluster.report.console import stderr_console
from cluster.report.continuing import RETRY_FAILED
from cluster.report.exit_codes import INTERRUPTED
from cluster.report.summary import RunState

if TYPE_CHECKING:
    from cluster.config.model import HeadraceConfig
    from cluster.run.launch import BatchRequest

# Each command imports its own modules when it is called: loading them takes as long as the fastest command.
app = typer.Typer()


@app.command()
def run(
    *,
    config: ConfigPath,
    tasks: Annotated[Path | None, typer.Option(help="Use the tasks of this file.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The maximum number of tasks.")] = None,
    overrides: Overrides = None,
    run_id: Annotated[str | None, typer.Option(help="The id of the run.")] = None,
    engine: EngineChoice = None,
    address: ClusterAddress = "auto",
    accept_config: AcceptConfig = False,
    chaos: Annotated[
        Form | None, typer.Option(help="Kill every part of the run, and check the guarantees.")
    ] = None,
    seed: Annotated[int, typer.Option(help="With --chaos: chooses the faults and their times.")] = 1,
    quiet: Quiet = False,
    _log_format: LogFormat = None,
    json: AsJson = False,
) -> None:
    """Make a report on every task. With the --run-id of an earlier run, continue that run.

    Example: headrace run configs/demo.yaml --limit 10
    """
    from cluster.commands.batch import run_batch, run_chaos  # noqa: PLC0415 - see `app`
    from cluster.records.run_journal import RunOrigin  # noqa: PLC0415 - same
    from cluster.run.launch import BatchRequest, new_run_id  # noqa: PLC0415 - same

    with errors_shown(stderr_console()):
        given = [*(overrides or [])]
        if tasks is not None:
            given.append(f"tasks={{kind: file, path: {orjson.dumps(str(tasks)).decode()}}}")
        settings = below_root(loaded(config, overrides=given, env=os.environ), os.environ)
        named = check_run_id(run_id if run_id is not None else new_run_id(settings.name))
        if chaos is not None:
            code = run_chaos(config, given, chaos, seed, named, as_json=json)
            raise typer.Exit(code)
        origin = RunOrigin.of(settings, config, given, limit, accept_config=accept_config)
        batch = BatchRequest(settings, named, origin, live=not json)
        code = run_batch(batch, engine, address, quiet=quiet)
    raise typer.Exit(code)


@app.command()
def resume(
    *,
    run_id: RunId,
    config: StoreConfig = None,
    overrides: Overrides = None,
    engine: EngineChoice = None,
    address: ClusterAddress = "auto",
    accept_config: AcceptConfig = False,
    quiet: Quiet = False,
    _log_format: LogFormat = None,
    json: AsJson = False,
) -> None:
    """Continue a run that was interrupted or killed. Only the missing calls are made.

    The configuration of its start is used; if that was moved, --config names it.

    Example: headrace resume reviews-20261124-101500-a1b2
    """
    from cluster.commands.batch import run_batch  # noqa: PLC0415 - see `app`

    console = stderr_console()
    with errors_shown(console):
        with opened(config, os.environ) as store:
            run_ = found_run(store, run_id)
        if run_.state == RunState.CANCELLED and run_.tasks.ended == run_.tasks.accepted:
            if json:
                print_json(run_.summary)
            console.print(f"run {run_id} was cancelled and has no open task: nothing was changed")
            raise typer.Exit(INTERRUPTED)
        refuse_map_run(run_)
        batch = continued(run_id, config, overrides, accept_config=accept_config, live=not json)
        code = run_batch(batch, engine, address, quiet=quiet)
    raise typer.Exit(code)


@app.command()
def retry(
    *,
    run_id: RunId,
    failed: Annotated[bool, typer.Option("--failed", help="Repeat the tasks that failed.")] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Repeat the tasks with an incomplete report.")
    ] = False,
    config: StoreConfig = None,
    overrides: Overrides = None,
    engine: EngineChoice = None,
    address: ClusterAddress = "auto",
    accept_config: AcceptConfig = False,
    quiet: Quiet = False,
    _log_format: LogFormat = None,
    json: AsJson = False,
) -> None:
    """Repeat the failed or partial tasks of a run. The other tasks do not change.

    Example: headrace retry reviews-20261124-101500-a1b2 --failed
    """
    from cluster.commands.batch import run_batch  # noqa: PLC0415 - see `app`

    console = stderr_console()
    with errors_shown(console):
        chosen = {TaskState.FAILED: failed, TaskState.PARTIAL: partial}
        states = tuple(state for state, is_wanted in chosen.items() if is_wanted)
        if not states:
            raise ConfigError("name the tasks to repeat: --failed, --partial, or both")
        with opened(config, os.environ) as store:
            run_ = found_run(store, run_id)
        count = sum(getattr(run_.tasks, state) for state in states)
        if not count:
            if json:
                print_json(run_.summary)
            console.print(f"run {run_id} has no task that is {' or '.join(states)}: nothing to repeat")
            return
        refuse_map_run(run_, RETRY_FAILED)
        batch = continued(run_id, config, overrides, accept_config=accept_config, live=not json, retry=states)
        if not quiet:
            console.print(_repetition_text(batch.config, count, run_.tasks.accepted), soft_wrap=True)
        code = run_batch(batch, engine, address, quiet=quiet)
    raise typer.Exit(code)


def continued(
    run_id: str,
    config: Path | None,
    overrides: list[str] | None,
    *,
    accept_config: bool,
    live: bool,
    retry: tuple[TaskState, ...] = (),
) -> BatchRequest:
    """Return the request that continues a run with the inputs of its start. Raises `ConfigError`."""
    from cluster.records.run_journal import RunOrigin  # noqa: PLC0415 - see `app`
    from cluster.run.launch import BatchRequest  # noqa: PLC0415 - same

    start = start_of(run_id, config, os.environ)
    given = with_overrides(start, overrides or [])
    settings = below_root(loaded(start.path, overrides=given, env=os.environ), os.environ)
    origin = RunOrigin.of(settings, start.path, given, start.limit, accept_config=accept_config)
    return BatchRequest(settings, run_id, origin, live=live, retry=retry, has_begun=True)


def _repetition_text(config: HeadraceConfig, count: int, tasks: int) -> str:
    from actors.core.journal.tasks import AUTO_KEEPS_CALLS_OF  # noqa: PLC0415 - see `app`

    keep = config.store.keep
    kept = keep == "calls" or (keep == "auto" and tasks <= AUTO_KEEPS_CALLS_OF)
    calls = "stored answers to their calls are reused" if kept else "all their calls are made again"
    return f"{count:,} tasks are repeated; {calls} (store.keep: {keep})"
