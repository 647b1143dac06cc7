"""Launches a batch: starts simulators and engine, builds the actors, and streams the tasks through them."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import uvloop

from actors.core.messages.tasks import Task
from actors.core.run_id import check_directory_name, check_run_id
from cluster.config.model import HeadraceConfig
from cluster.ray.job_paths import loses_its_state
from cluster.records.input_digest import RunInput
from cluster.records.run_journal import RunOrigin
from cluster.report.item_columns import refuse_name_clash
from cluster.report.results import ResultWriter
from cluster.report.tables.columns import InputColumns
from cluster.run.engine import LocalEngine, RayEngine
from cluster.run.host import RunHost
from cluster.run.stopping import unless_stopped
from cluster.run.task_input import take, tasks_of

if TYPE_CHECKING:
    # These load aiohttp, which `check` and `schema` do not need.
    from cluster.run.batch import BatchEnded
    from cluster.run.engine import Build


class BatchRequest:
    """The arguments of a batch. The constructor reads all tasks, so invalid input fails before any call.

    `writer` takes the results; by default they go where the configuration says.
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
        writer: ResultWriter | None = None,
    ) -> None:
        self.config = config
        self.run_id = check_directory_name(run_id) if has_begun else check_run_id(run_id)
        self.live = live
        self.retry = retry
        self.can_go_on = False
        self.origin = origin
        self._writer = writer
        columns = InputColumns()
        self.input = RunInput(partial(self._noted, columns))
        self.origin = replace(origin, input=self.input.stored())
        if config.is_map:
            refuse_name_clash(config, columns.types)

    def tasks(self) -> Iterator[Task]:
        """Return a new stream of the tasks."""
        return take(tasks_of(self.config), self.origin.limit)

    def _noted(self, columns: InputColumns) -> Iterator[Task]:
        for place, task in enumerate(self.tasks()):
            columns.add(place, task)
            yield task

    def writer(self) -> ResultWriter:
        """Return the writer of the results. Raises `ConfigError` for a sink that cannot be made."""
        return self._writer or ResultWriter.for_run(self.config, self.run_id)


def launch(batch: BatchRequest, engine: LocalEngine | RayEngine, host: RunHost) -> BatchEnded:
    """Run the batch, with simulators and an engine for its duration. Raises `HeadraceError`."""
    say = host.say
    writer = batch.writer()
    say(f"run {batch.run_id}: {batch.input.count:,} tasks {engine.described}")
    if loses_its_state(batch.config, os.environ):
        say("the state of this job is lost with the cluster: set HEADRACE_ROOT, or store.path")
    from cluster.assembly.stand_ins import stand_in  # noqa: PLC0415 - only a run needs it

    with stand_in(batch.config) as stand_ins:
        # The other modules load while simulators and Ray start in other processes.
        threading.Thread(target=_load, daemon=True).start()
        with engine.running(say) as build:
            config, notes = stand_ins.addressed()
            for note in notes:
                say(note)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(_stream(batch, config, writer, build, host))


def _load() -> None:
    from cluster.run import batch  # noqa: F401, PLC0415 - for its effect


async def _stream(
    batch: BatchRequest, config: HeadraceConfig, writer: ResultWriter, build: Build, host: RunHost
) -> BatchEnded:
    """Build the actors and stream the tasks through them, until the end or a stop."""
    from cluster.checks.preflight import preflight  # noqa: PLC0415 - loads aiohttp
    from cluster.run.batch import BatchRun  # noqa: PLC0415 - loads aiohttp

    stop = host.stop_event()
    topology = build(config, batch.run_id)
    # Concurrent with the start of the actors, which takes longer.
    steps = {step.name: step.endpoints for step in config.steps}
    looking = asyncio.create_task(preflight(config.llm.endpoints, host.say, steps=steps))
    try:
        await unless_stopped(topology.ready(), stop, "the actors started")
        with writer, host.progress() as progress:
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
                say=host.say,
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
