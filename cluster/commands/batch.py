"""Runs a batch for a command: starts simulators and engine, builds the actors, and shows the result."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import secrets
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import uvloop
from rich.console import Console

from actors.core.errors import ConfigError, HeadraceError
from actors.core.messages.tasks import Task
from actors.core.run_id import check_directory_name, check_run_id
from actors.runtime.defects import advise_after_defect
from cluster.chaos.plan import Form
from cluster.commands.command_line import (
    print_json,
)
from cluster.commands.engine import EngineName, LocalEngine, RayEngine, chosen_engine
from cluster.config.model import HeadraceConfig
from cluster.config.tasks import FileTasks, InlineTasks, RangeTasks
from cluster.ray.job_paths import in_job, loses_its_state
from cluster.ray.job_plan import check_overrides
from cluster.records.input_digest import RunInput
from cluster.records.run_journal import RunOrigin
from cluster.report.console import ProgressDisplay, stderr_console
from cluster.report.exit_codes import FAILED, INTERRUPTED
from cluster.report.results import ResultWriter
from cluster.report.summary import RunState, exit_code, summary_json
from cluster.report.summary_table import summary_table
from cluster.run.stopping import stop_on_signal, unless_stopped
from cluster.run.task_input import from_inline, make_range, read_file, take

if TYPE_CHECKING:
    # These load aiohttp, which `check` and `schema` do not need.
    from cluster.commands.engine import Build
    from cluster.run.batch import BatchEnded


class BatchRequest:
    """The arguments of a batch. The constructor reads all tasks, so invalid input fails before any call.

    `has_begun`: the run is in a store. `can_go_on`: this process has opened the run, which can be resumed.
    """

    def __init__(
        self,
        config: HeadraceConfig,
        run_id: str,
        origin: RunOrigin,
        *,
        live: bool,
        retry: tuple[str, ...] = (),
        has_begun: bool = False,
    ) -> None:
        self.config = config
        self.run_id = check_directory_name(run_id) if has_begun else check_run_id(run_id)
        self.live = live
        self.retry = retry
        self.can_go_on = False
        self.origin = origin
        self.input = RunInput(self.tasks)
        self.origin = replace(origin, input=self.input.stored())

    def tasks(self) -> Iterator[Task]:
        """Return a new stream of the tasks."""
        return take(tasks_of(self.config), self.origin.limit)


def tasks_of(config: HeadraceConfig) -> Iterator[Task]:
    """Return a stream of the tasks of `config`. Raises `ConfigError` if it has none."""
    match config.tasks:
        case FileTasks(path=path):
            return read_file(Path(path), config.limits.max_task_bytes)
        case RangeTasks(count=count, prefix=prefix):
            return make_range(count, prefix)
        case InlineTasks(tasks=tasks):
            return from_inline([task.model_dump() for task in tasks], config.limits.max_task_bytes)
        case None:
            raise ConfigError("this configuration has no tasks: add `tasks`, or give --tasks FILE")


def run_chaos(
    config: Path, overrides: list[str], form: Form, seed: int, run_id: str, *, as_json: bool
) -> int:
    """Run the configuration under faults, show the verdict, and return the exit code."""
    from cluster.chaos.command import chaos, verdict_json  # noqa: PLC0415 - only --chaos needs it

    found = chaos(config, overrides, form, seed, run_id=run_id, console=stderr_console())
    if as_json:
        print_json(verdict_json(run_id, seed, found))
    return 0 if all(check.holds for check in found) else 1


def run_batch(batch: BatchRequest, engine: EngineName | None, address: str) -> int:
    """Run a batch, show its result, and return the exit code."""
    console = stderr_console()
    try:
        chosen = _engine(batch, engine, address)
        if isinstance(chosen, LocalEngine):  # its actors are in this process, and nothing restarts them
            advise_after_defect(f"run {batch.run_id}: {_how_to_continue(batch)}")
        ended = _run(batch, chosen, console)
    except HeadraceError as error:
        if batch.can_go_on:
            error.add_note(_how_to_continue(batch))  # `errors_shown` prints it after the cause
        raise
    if batch.live:
        Console(markup=False, highlight=False).print(summary_table(ended.summary, ended.reports))
    else:
        sys.stdout.write(orjson.dumps(summary_json(ended.summary)).decode() + "\n")
    code = exit_code(ended.summary)
    if ended.summary.stopped_by:
        text = f"run {batch.run_id} was stopped: no call can be answered: {ended.summary.stopped_by}"
        console.print(text, style="red", soft_wrap=True)
        console.print(_how_to_continue(batch), soft_wrap=True)
    elif ended.summary.open_tasks and code == FAILED:
        console.print(_open_tasks_advice(batch.run_id, ended.summary.open_tasks), soft_wrap=True)
    if ended.summary.state is RunState.CANCELLED:
        console.print(f"run {batch.run_id} was cancelled by `driver.py cancel`; its finished work is stored")
    elif code == INTERRUPTED:
        console.print(_how_to_continue(batch), soft_wrap=True)
    return code


def _engine(batch: BatchRequest, wanted: EngineName | None, address: str) -> LocalEngine | RayEngine:
    """Return the engine that the command line, or else the configuration, chooses. Raises `ConfigError`."""
    cluster = batch.config.cluster
    if chosen_engine(wanted or EngineName(cluster.engine), address, os.environ) is EngineName.LOCAL:
        return LocalEngine()
    engine = RayEngine(address, os.environ, dashboard=cluster.dashboard)
    if engine.address != "local":
        check_overrides(
            batch.origin.overrides
        )  # the cluster shows the drivers' command lines, secrets included
    return engine


def _open_tasks_advice(run_id: str, count: int) -> str:
    return (
        f"{count:,} tasks of run {run_id} have not ended and are not in its input. Restore them and "
        f"continue with: python driver.py resume {run_id}; or end them with: python driver.py cancel {run_id}"
    )


def _how_to_continue(batch: BatchRequest) -> str:
    if batch.config.store.kind == "memory":
        return "store.kind is memory: nothing of this run is stored"
    if in_job(os.environ):
        return f"the finished work is stored; to continue, submit the run again: --run-id {batch.run_id}"
    elsewhere = batch.config.store != HeadraceConfig.model_fields["store"].default
    store = f" --config {batch.origin.path}" if elsewhere else ""
    return f"the finished work is stored; continue with: python driver.py resume {batch.run_id}{store}"


def _run(batch: BatchRequest, engine: LocalEngine | RayEngine, console: Console) -> BatchEnded:
    """Run the batch, with simulators and an engine for its duration."""
    say = partial(console.print, soft_wrap=True)
    say(f"run {batch.run_id}: {batch.input.count:,} tasks {engine.described}")
    if loses_its_state(batch.config, os.environ):
        say("the state of this job is lost with the cluster: set HEADRACE_ROOT, or store.path")
    from cluster.assembly.stand_ins import stand_in  # noqa: PLC0415 - only a run needs it

    # Ray prints the output of workers on stdout, which is for data.
    with contextlib.redirect_stdout(sys.stderr), stand_in(batch.config) as stand_ins:
        # The other modules load while simulators and Ray start in other processes.
        threading.Thread(target=import_module, args=("cluster.run.batch",), daemon=True).start()
        with engine.running(say) as build:
            config, notes = stand_ins.addressed()
            for note in notes:
                say(note)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(_stream(batch, config, build, console))


async def _stream(batch: BatchRequest, config: HeadraceConfig, build: Build, console: Console) -> BatchEnded:
    """Build the actors and stream the tasks through them, until the end or a signal."""
    from cluster.checks.preflight import preflight  # noqa: PLC0415 - loads aiohttp
    from cluster.run.batch import BatchRun  # noqa: PLC0415 - loads aiohttp

    stop = stop_on_signal()
    topology = build(config, batch.run_id)
    say = partial(console.print, soft_wrap=True)
    # Concurrent with the start of the actors, which takes longer.
    looking = asyncio.create_task(preflight(config.llm.endpoints, say))
    try:
        await unless_stopped(topology.ready(), stop, "the actors started")
        writer = ResultWriter(Path(config.output.directory), batch.run_id, config.output.format)
        with writer, ProgressDisplay(console, live=batch.live) as progress:
            batch_run = BatchRun(
                config,
                batch.run_id,
                topology,
                writer,
                total=batch.input.count,
                origin=batch.origin,
                retry=batch.retry,
                run_input=batch.input,
                preflight=lambda: looking,
                say=say,
            )
            try:
                return await batch_run.run(batch.tasks(), progress, stop)
            finally:
                batch.can_go_on = batch_run.can_go_on
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await topology.close()


def new_run_id(name: str) -> str:
    """Return an id for a new run of the configuration `name`, with the UTC time and two random bytes."""
    return f"{name}-{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
