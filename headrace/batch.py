"""Runs a configuration from Python, as the command ``run`` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import orjson

from actors.core.errors import HeadraceError
from headrace.handle import Run
from headrace.progress.background import ThreadHost, run_beside, run_here
from headrace.progress.display import display_for, ended_text
from headrace.progress.timeline import Timeline

if TYPE_CHECKING:
    from cluster.run.launch import BatchRequest

_UNIT = "tasks"
Engine = Literal["auto", "local", "ray"]
_Work = Callable[[ThreadHost], Run]


class RunStoppedError(HeadraceError):
    """A fault of all endpoints stopped the run, and `Run.resume` continues it. `run` is the run so far."""

    def __init__(self, message: str, run: Run) -> None:
        super().__init__(message, run)
        self.run = run

    def __str__(self) -> str:
        return str(self.args[0])


def run(
    config: str | os.PathLike[str],
    *,
    tasks: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    overrides: Sequence[str] = (),
    run_id: str | None = None,
    engine: Engine | None = None,
    address: str = "auto",
    accept_config: bool = False,
    progress: bool | None = None,
) -> Run:
    """Make a report on every task of a configuration, and return the run when it has ended.

    Partial failures are in the run that is returned. Errors are those of the command line, such as
    `ConfigError`. Ctrl-C stores what was done and raises KeyboardInterrupt; the same call with its `run_id`
    continues the run.

    config: the path of the YAML file.
    tasks: a file of tasks instead of the configured ones.
    limit: the maximum number of tasks.
    overrides: ``a.b=value``, as ``--set``.
    run_id: the id of the run, or of an earlier run, which is continued.
    engine, address: where the actors run, as ``--engine`` and ``--address``.
    accept_config: continue although the configuration has changed.
    progress: whether to show progress; None: in a notebook and on a terminal.
    """
    work = RunCall(
        config=config,
        tasks=tasks,
        limit=limit,
        overrides=overrides,
        run_id=run_id,
        engine=engine,
        address=address,
        accept_config=accept_config,
    )
    return _shown(work, progress)


async def arun(
    config: str | os.PathLike[str],
    *,
    tasks: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    overrides: Sequence[str] = (),
    run_id: str | None = None,
    engine: Engine | None = None,
    address: str = "auto",
    accept_config: bool = False,
    progress: bool | None = None,
) -> Run:
    """Do the same as `run` without blocking the event loop. A cancellation stores what was done."""
    work = RunCall(
        config=config,
        tasks=tasks,
        limit=limit,
        overrides=overrides,
        run_id=run_id,
        engine=engine,
        address=address,
        accept_config=accept_config,
    )
    with display_for(progress, _UNIT) as display:
        return await run_beside(work, display)


def resumed(run_id: str, config: Path | None, progress: bool | None) -> Run:  # noqa: FBT001 - see `_shown`
    """Continue a run, and return it when it has ended."""

    def work(host: ThreadHost) -> Run:
        from cluster.commands.run import continued  # noqa: PLC0415 - loads the configuration and the stores

        return _launched(continued(run_id, config, None, accept_config=False, live=False), host)

    return _shown(work, progress)


def _shown(work: _Work, progress: bool | None) -> Run:  # noqa: FBT001 - as the caller gave it
    with display_for(progress, _UNIT) as display:
        return run_here(work, display)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCall:
    """A call of `run`. Calling it runs it in the thread of a host."""

    config: str | os.PathLike[str]
    tasks: str | os.PathLike[str] | None = None
    limit: int | None = None
    overrides: Sequence[str] = ()
    run_id: str | None = None
    engine: Engine | None = None
    address: str = "auto"
    accept_config: bool = False

    def __call__(self, host: ThreadHost) -> Run:
        """Run the configuration to its end. Raises `HeadraceError`."""
        return _launched(self.request(), host, self.engine, self.address)

    def request(self) -> BatchRequest:
        """Return the request of the run, whose tasks have been read. Raises `HeadraceError`."""
        from actors.core.run_id import check_run_id  # noqa: PLC0415 - `import headrace` waits for no module
        from cluster.config.loading import loaded  # noqa: PLC0415 - same
        from cluster.ray.job_paths import below_root  # noqa: PLC0415 - same
        from cluster.records.run_journal import RunOrigin  # noqa: PLC0415 - same
        from cluster.run.launch import BatchRequest, new_run_id  # noqa: PLC0415 - same

        path, given = Path(self.config), [*self.overrides]
        if self.tasks is not None:
            given.append(f"tasks={{kind: file, path: {orjson.dumps(os.fspath(self.tasks)).decode()}}}")
        settings = below_root(loaded(path, overrides=given, env=os.environ), os.environ)
        named = new_run_id(settings.name) if self.run_id is None else check_run_id(self.run_id)
        origin = RunOrigin.of(settings, path, given, self.limit, accept_config=self.accept_config)
        return BatchRequest(settings, named, origin, live=False)


def _launched(
    batch: BatchRequest, host: ThreadHost, engine: Engine | None = None, address: str = "auto"
) -> Run:
    from cluster.commands.batch import engine_of, how_to_continue  # noqa: PLC0415 - loads the engines
    from cluster.run.engine import EngineName  # noqa: PLC0415 - same
    from cluster.run.launch import launch  # noqa: PLC0415 - same

    timeline = Timeline()
    wanted = None if engine is None else EngineName(engine)
    chosen = engine_of(batch.config, batch.origin.overrides, wanted, address)
    host.continued_by = f"headrace.run with run_id={batch.run_id!r} continues"
    try:
        ended = launch(batch, chosen, host.noting(timeline.add))
    except HeadraceError as error:
        if batch.can_go_on:
            error.add_note(how_to_continue(batch))
        raise
    host.end(ended_text(ended.summary, _UNIT))
    made = Run(batch, ended.summary, timeline, resumed)
    if ended.summary.stopped_by:
        message = f"run {made.id} was stopped: no call can be answered: {ended.summary.stopped_by}"
        stopped = RunStoppedError(message, made)
        stopped.add_note(how_to_continue(batch))
        raise stopped
    return made
