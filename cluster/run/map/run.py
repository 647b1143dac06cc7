"""Maps a question over the rows of a table: the run of `map`, for the command and for the Python API.

Rule: A row whose failure may pass is asked again. A row that would fail again is asked only on request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from actors.core.errors import HeadraceError
from actors.core.messages.tasks import Report, Task, TaskState
from actors.core.messages.values import Json
from cluster.config.model import HeadraceConfig
from cluster.records.run_journal import Repetition, RunOrigin
from cluster.report.console import number
from cluster.report.results import ResultWriter
from cluster.report.summary import RunSummary
from cluster.run.engine import LocalEngine, RayEngine
from cluster.run.host import RunHost
from cluster.run.launch import launch
from cluster.run.sampling import EstimatedJob

if TYPE_CHECKING:
    from cluster.records.input_digest import RunInput

from cluster.run.map.history import MapHistory, history_of
from cluster.run.map.job import MapJob, check_job, map_origin


@dataclass(frozen=True, slots=True)
class MapEnded:
    """The end of a run: its summary, and its first reports. `fails_again` is that of `BatchEnded`."""

    run_id: str
    summary: RunSummary
    reports: tuple[Report, ...]
    fails_again: bool = False


def estimated(job: MapJob, history: MapHistory) -> EstimatedJob:
    """Return the job for an estimate. A sample becomes the beginning of the job's run."""
    return EstimatedJob(job.config, lambda: job.rows, history.run_id, map_origin(job, job.config))


@dataclass(slots=True)
class _MapRun:
    """The run of a job, for `launch`."""

    job: MapJob
    run_id: str
    reader: Callable[[ResultWriter, RunSummary], None] | None
    sample: Mapping[str, Json] | None = None  # with which the run began
    config: HeadraceConfig = field(init=False)
    origin: RunOrigin = field(init=False)
    run_input: RunInput | None = None  # the id of the run names the rows: they cannot have changed
    retry: Repetition = field(init=False)
    stops_at_failure: bool = field(init=False)
    can_go_on: bool = False

    def __post_init__(self) -> None:
        config = self.job.config
        if self.job.fresh:
            config = config.model_copy(update={"llm": config.llm.model_copy(update={"cache": False})})
        if "raw" in self.job.extras:
            config = config.model_copy(update={"output": config.output.model_copy(update={"raw": True})})
        self.config = config
        self.origin = replace(map_origin(self.job, config), sample=self.sample)
        self.retry = Repetition(
            (TaskState.FAILED, TaskState.CANCELLED), only_transient=not self.job.retry_failed
        )
        self.stops_at_failure = self.job.stops_at_failure

    @property
    def described(self) -> str:
        return number(self.count, "row")

    @property
    def count(self) -> int:
        return self.job.rows.count

    def tasks(self) -> Iterator[Task]:
        return iter(self.job.rows)

    def writer(self) -> ResultWriter:
        return ResultWriter.for_rows(
            self.config,
            self.job.target,
            run_id=self.run_id,
            extras=self.job.extras,
            input_columns=self.job.rows.columns,
            arrow_input=self.job.arrow_input,
        )

    def read(self, writer: ResultWriter, summary: RunSummary) -> None:
        if self.reader is not None:
            self.reader(writer, summary)


def run_map(
    job: MapJob,
    engine: LocalEngine | RayEngine,
    host: RunHost,
    *,
    history: MapHistory | None = None,
    read: Callable[[ResultWriter, RunSummary], None] | None = None,
) -> MapEnded:
    """Run a job to its end, or continue its run. Raises `HeadraceError`; its notes say how to continue.

    `read` is called once after the end. It may read the table from the writer, if the run is whole:
    `summary.open_tasks` is 0.
    """
    check_job(job)
    known = history or history_of(job)
    run = _MapRun(job, known.run_id, read, None if known.run is None else known.run.origin.get("sample"))
    try:
        ended = launch(run, engine, host)
    except HeadraceError as error:
        if run.can_go_on:
            error.add_note("finished answers are stored; the same job again continues")
        raise
    return MapEnded(known.run_id, ended.summary, ended.reports, ended.fails_again)


def write_empty(job: MapJob) -> tuple[str, ...]:
    """Write the table of a job without rows, and return its place. Makes no call. Raises `HeadraceError`."""
    check_job(job)
    with ResultWriter.for_rows(
        job.config,
        job.target,
        extras=job.extras,
        input_columns=job.rows.columns,
        arrow_input=job.arrow_input,
    ) as writer:
        writer.open()
        writer.finish()
        writer.publish()
        return writer.paths
