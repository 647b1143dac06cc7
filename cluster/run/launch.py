"""Launches a batch: starts simulators and engine, builds the actors, and streams the tasks through them."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import uvloop

from actors.core.errors import StoppedError
from actors.core.messages.tasks import Task, TaskState
from actors.core.run_id import check_directory_name, check_run_id
from actors.runtime.telemetry.logs import log_of_run
from cluster.config.model import HeadraceConfig
from cluster.ray.job_paths import loses_its_state
from cluster.records.input_digest import RunInput
from cluster.records.records import refuse_changed_run
from cluster.records.run_journal import Repetition, RunOrigin
from cluster.report.console import number
from cluster.report.results import ResultWriter
from cluster.report.summary import RunState, RunSummary
from cluster.report.tables.columns import InputColumns
from cluster.run.engine import LocalEngine, RayEngine
from cluster.run.host import RunHost
from cluster.run.stopping import unless_stopped
from cluster.run.task_input import check_columns, place_of, reader_of, take

if TYPE_CHECKING:
    # These load aiohttp, which `check` and `schema` do not need.
    from actors.runtime.telemetry.tracer import Tracer
    from cluster.run.batch import BatchEnded
    from cluster.run.engine import Build


class LaunchedRun(Protocol):
    """The run that `launch` runs. `run_input` is compared with that of the run's start, if it is set.

    `can_go_on` is set once this process has opened the run, which can be resumed.
    """

    config: HeadraceConfig
    run_id: str
    origin: RunOrigin
    run_input: RunInput | None
    retry: Repetition
    stops_at_failure: bool
    can_go_on: bool

    @property
    def described(self) -> str:
        """Return the number of tasks, in words."""

    @property
    def count(self) -> int:
        """Return the number of tasks."""

    def tasks(self) -> Iterator[Task]:
        """Return a new stream of the tasks."""

    def writer(self) -> ResultWriter:
        """Return the writer of the results."""

    def read(self, writer: ResultWriter, summary: RunSummary) -> None:
        """Read the results before the writer is closed. Called once, after the end of the run."""


class BatchRequest:
    """The arguments of a batch. The constructor reads all tasks, so invalid input fails before any call.

    `has_begun`: the run is in a store. `live`: a terminal shows the summary and a panel.
    """

    stops_at_failure = False

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
        self.retry = Repetition(retry)
        self.can_go_on = False
        read, columns = reader_of(config), InputColumns()
        self._input = RunInput(lambda: take(read(), origin.limit), place=place_of(config), look=columns.add)
        self.run_input: RunInput | None = self._input
        self.count = self._input.count
        self.origin = replace(origin, input=self._input.stored())
        self._arrow_input = read.arrow_input
        check_columns(config, columns.types, self.count, None if has_begun else read.arrow_input)

    @property
    def described(self) -> str:
        """The number of tasks, in words."""
        return number(self.count, "task")

    def tasks(self) -> Iterator[Task]:
        """Return a new stream of the tasks."""
        return iter(self._input)

    def writer(self) -> ResultWriter:
        """Return the writer of the results. Raises `ConfigError` for a sink that cannot be made."""
        return ResultWriter.for_run(self.config, self.run_id, arrow_input=self._arrow_input)

    def read(self, writer: ResultWriter, summary: RunSummary) -> None:
        """Read nothing: the results are in files."""


def launch(run: LaunchedRun, engine: LocalEngine | RayEngine, host: RunHost) -> BatchEnded:
    """Run the batch, with simulators and an engine for its duration. Raises `HeadraceError`."""
    say = host.say
    # Before anything is sent to an endpoint, and before a source runs code of the user.
    refuse_changed_run(run.config.store.settings(), run.origin.record(run.run_id, run.config.name))
    log_of_run(run.run_id)
    writer = run.writer()
    say(f"run {run.run_id}: {run.described} {engine.described}")
    if loses_its_state(run.config, os.environ):
        say("the state of this job is lost with the cluster: set HEADRACE_ROOT, or store.path")
    from cluster.assembly.stand_ins import stand_in  # noqa: PLC0415 - only a run needs it

    with stand_in(run.config) as stand_ins:
        # The other modules load while simulators and Ray start in other processes.
        threading.Thread(target=_load, daemon=True).start()
        with engine.running(say) as build:
            config, notes = stand_ins.addressed()
            for note in notes:
                say(note)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(_stream(run, config, writer, build, host))


def _load() -> None:
    from cluster.run import batch  # noqa: F401, PLC0415 - for its effect


async def _stream(
    run: LaunchedRun, config: HeadraceConfig, writer: ResultWriter, build: Build, host: RunHost
) -> BatchEnded:
    """Build the actors and stream the tasks through them, until the end or a stop."""
    from cluster.checks.preflight import preflight  # noqa: PLC0415 - loads aiohttp
    from cluster.checks.recognized import recognized, unsent_files  # noqa: PLC0415 - loads pydantic
    from cluster.run.batch import BatchRun  # noqa: PLC0415 - loads aiohttp

    stop = host.stop_event()
    if stop.is_set():  # opened now, the run would keep its lease although nothing runs it
        raise StoppedError("interrupted before the run began")
    for line in unsent_files(config):
        host.say(line)
    topology, began = build(config, run.run_id), time.time()
    steps = {step.name: step.endpoints for step in config.asked_steps}
    try:
        await unless_stopped(topology.ready(), stop, "the actors started")
        with writer:
            batch = BatchRun(
                config,
                run.run_id,
                topology,
                writer,
                total=run.count,
                origin=run.origin,
                retry=run.retry,
                run_input=run.run_input,
                stops_at_failure=run.stops_at_failure,
                preflight=lambda: preflight(
                    config.llm.endpoints, host.say, steps=steps, recognized=recognized(config)
                ),
                say=host.say,
            )
            try:
                with host.progress() as progress:
                    ended = await batch.run(run.tasks(), progress, stop)
            finally:
                run.can_go_on = batch.can_go_on
            if topology.tracer is not None:
                _trace(topology.tracer, ended.summary, began)
            run.read(writer, ended.summary)  # what it prints comes after the display of the progress
            return ended
    finally:
        await topology.close()


def _trace(tracer: Tracer, summary: RunSummary, began: float) -> None:
    """Export the span of the run, to which the traces of its tasks are linked."""
    counts = {f"headrace.tasks.{state}": getattr(summary.tasks, state) for state in TaskState}
    about = {**counts, "headrace.state": summary.state.value, "headrace.cost_usd": summary.usage.cost_usd}
    is_whole = summary.state in (RunState.SUCCEEDED, RunState.PARTIAL)
    tracer.run_ended(summary.run_id, began, about, None if is_whole else summary.state.value)


def new_run_id(name: str) -> str:
    """Return an id for a new run of the configuration `name`, with the UTC time and two random bytes."""
    return f"{name}-{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
