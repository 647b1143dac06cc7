"""Runs a batch for a command, and shows the result."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson
from rich.console import Console

from actors.core.errors import HeadraceError
from actors.runtime.defects import advise_after_defect
from cluster.chaos.plan import Form
from cluster.commands.command_line import print_json, use_log_format
from cluster.config.model import HeadraceConfig
from cluster.program import program
from cluster.ray.job_paths import in_job
from cluster.ray.job_plan import check_overrides
from cluster.report.console import plain, stderr_console
from cluster.report.failures import cause_lines
from cluster.report.summary import RunState, RunSummary, exit_code, summary_json
from cluster.report.summary_table import MAX_CAUSE, summary_table
from cluster.run.engine import EngineName, LocalEngine, RayEngine, chosen_engine
from cluster.run.host import CommandHost
from cluster.run.launch import BatchRequest, launch
from cluster.run.sampling import EstimatedJob, Expectation


def run_chaos(
    config: Path, overrides: list[str], form: Form, seed: int, run_id: str, *, as_json: bool
) -> int:
    """Run the configuration under faults, show the verdict, and return the exit code."""
    from cluster.chaos.command import chaos, verdict_json  # noqa: PLC0415 - only --chaos needs it

    found = chaos(config, overrides, form, seed, run_id=run_id, console=stderr_console())
    if as_json:
        print_json(verdict_json(run_id, seed, found))
    return 0 if all(check.holds for check in found) else 1


def run_batch(batch: BatchRequest, engine: EngineName | None, address: str, *, quiet: bool = False) -> int:
    """Run a batch, show its result, and return the exit code. `quiet`: show only errors."""
    use_log_format(batch.config)
    console = stderr_console()
    console.quiet = quiet
    expected = Expectation.of(EstimatedJob(batch.config, batch.tasks, batch.run_id))
    try:
        chosen = engine_of(batch.config, batch.origin.overrides, engine, address)
        if isinstance(chosen, LocalEngine):  # its actors are in this process, and nothing restarts them
            advise_after_defect(f"run {batch.run_id}: {how_to_continue(batch)}")
        with contextlib.redirect_stdout(sys.stderr):  # Ray prints the output of workers on stdout, for data
            ended = launch(batch, chosen, CommandHost(console, live=batch.live))
    except HeadraceError as error:
        if batch.can_go_on:
            error.add_note(how_to_continue(batch))  # `errors_shown` prints it after the cause
        raise
    if batch.live:
        shown = Console(markup=False, highlight=False, quiet=quiet)
        shown.print(summary_table(ended.summary, ended.reports))
    else:
        sys.stdout.write(orjson.dumps(summary_json(ended.summary)).decode() + "\n")
    if expected is not None and ended.summary.open_tasks == 0:
        console.print(expected.compared(ended.summary), soft_wrap=True)
    console.quiet = quiet and not ended.summary.stopped_by
    _advise(batch, ended.summary, console)
    return exit_code(ended.summary)


def _advise(batch: BatchRequest, summary: RunSummary, console: Console) -> None:
    """Print the causes of failures, unless the table shows them in the same place, and what to do now."""
    if not batch.live or (sys.stderr.isatty() and not sys.stdout.isatty()):
        for line in cause_lines(summary.failures):
            console.print(plain(line, MAX_CAUSE), soft_wrap=True)
    if summary.stopped_by:
        text = f"run {batch.run_id} was stopped: no call can be answered: {summary.stopped_by}"
        console.print(text, style="red", soft_wrap=True)
        console.print(how_to_continue(batch), soft_wrap=True)
    elif summary.open_tasks and summary.state is RunState.FAILED:
        console.print(_open_tasks_advice(batch.run_id, summary.open_tasks), soft_wrap=True)
    if summary.state is RunState.CANCELLED:
        text = f"run {batch.run_id} was cancelled by `{program()} cancel`; its finished work is stored"
        console.print(text, soft_wrap=True)
    elif summary.state is RunState.INTERRUPTED:
        console.print(how_to_continue(batch), soft_wrap=True)


def engine_of(
    config: HeadraceConfig, overrides: Sequence[str], wanted: EngineName | None, address: str
) -> LocalEngine | RayEngine:
    """Return the engine that the command line, or else the configuration, chooses. Raises `ConfigError`."""
    cluster = config.cluster
    if chosen_engine(wanted or EngineName(cluster.engine), address, os.environ) is EngineName.LOCAL:
        return LocalEngine()
    engine = RayEngine(address, os.environ, dashboard=cluster.dashboard)
    if engine.address != "local":
        check_overrides(overrides)  # the cluster shows the drivers' command lines, secrets included
    return engine


def _open_tasks_advice(run_id: str, count: int) -> str:
    return (
        f"{count:,} tasks of run {run_id} have not ended and are not in its input. Restore them and "
        f"continue with: {program()} resume {run_id}; or end them with: {program()} cancel {run_id}"
    )


def how_to_continue(batch: BatchRequest) -> str:
    """Return what the user does to continue the run."""
    if batch.config.store.kind == "memory":
        return "store.kind is memory: nothing of this run is stored"
    if in_job(os.environ):
        return f"the finished work is stored; to continue, submit the run again: --run-id {batch.run_id}"
    elsewhere = batch.config.store != HeadraceConfig.model_fields["store"].default
    store = f" --config {batch.origin.path}" if elsewhere else ""
    return f"the finished work is stored; continue with: {program()} resume {batch.run_id}{store}"
