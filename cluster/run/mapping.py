"""Maps a question over the rows of a table: the run of `map`, for the command and for the Python API.

Rule 1: A run is identified by what is asked and by the rows. The same job finds its run and continues it:
    ended rows are read from the journal, and only the others are asked.
Rule 2: A row whose failure may pass is asked again. A row that would fail again is asked only on request.
Rule 3: Other rows, or another question, make another run. Equal calls share their answer across runs.
Rule 4: A fresh job uses and leaves no shared answer. It continues its last fresh run if that has rows to
    ask, by rule 2, and otherwise begins another: their ids are the job's id and ``-f1``, ``-f2`` and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from actors.core.errors import ConfigError, HeadraceError
from actors.core.journal.reads import list_runs, read_run, read_task
from actors.core.messages.journal import RunView
from actors.core.messages.tasks import Report, Task, TaskState
from actors.core.messages.values import Json
from cluster.checks.placeholders import check_placeholders
from cluster.config.model import HeadraceConfig
from cluster.input.digest import digest_of
from cluster.input.rows import RowInput
from cluster.records.reading import all_tasks
from cluster.records.records import CODEC, store_if_any
from cluster.records.run_journal import Repetition, RunOrigin, may_succeed
from cluster.report.console import number
from cluster.report.item_columns import refuse_name_clash
from cluster.report.results import ResultWriter
from cluster.report.summary import RunState, RunSummary
from cluster.report.tables.earlier_result import refuse_foreign
from cluster.report.tables.parquet_input import ParquetInput, refuse_unwritable, unread_of
from cluster.report.tables.targets import is_same_file, refuse_unusable, shown, target_format
from cluster.run.engine import LocalEngine, RayEngine
from cluster.run.host import RunHost
from cluster.run.launch import launch
from cluster.run.sampling import EstimatedJob

if TYPE_CHECKING:
    from actors.journal.stores.base import Store
    from cluster.records.input_digest import RunInput
    from cluster.report.tables.parquet_input import ArrowInput

_ID_BYTES = 4
_KNOWN_RUNS = 1000
_RUNNING = "running"  # also the state of a run whose process was killed
_REPLACING = "give --replace to replace it, --prefix TEXT to name new columns apart, or choose another name"
_UNFINISHED = frozenset({_RUNNING, RunState.INTERRUPTED, RunState.CANCELLED})
# Keys of an endpoint that do not change its answers.
_INCIDENTAL = frozenset(
    {
        *("name", "api_key", "price", "max_answer_bytes"),
        *("max_in_flight", "start_in_flight", "requests_per_minute", "tokens_per_minute"),
    }
)


@dataclass(frozen=True, slots=True)
class MapJob:
    """A question about every row, and where its answers go.

    `config` is in map form. `table` is the path or the URL of the rows, None for rows in memory. `target` is
    the path or the URL of the result; None writes no file. `extras` are columns besides the answers: cost,
    latency, raw. `replaces`: an answer replaces a column of the input with its name. `overwrites`: the result
    replaces any file at its target, not only an earlier result. `retry_failed` asks all failed rows again.
    `fresh` uses no answer of another run. `stops_at_failure` ends the run at the first failed row. `command`
    is the command line that continues the run, without secrets. `arrow_input` gives a Parquet table the types
    of the input.
    """

    config: HeadraceConfig
    rows: RowInput
    table: str | None = None
    target: str | None = None
    extras: tuple[str, ...] = ()
    replaces: bool = False
    overwrites: bool = False
    retry_failed: bool = False
    fresh: bool = False
    stops_at_failure: bool = False
    command: tuple[str, ...] = ()
    arrow_input: ArrowInput | None = None


@dataclass(frozen=True, slots=True)
class MapHistory:
    """The earlier runs of a job in its store.

    `run` is the run that the job continues. `notes` say why earlier answers cannot be used.
    """

    run_id: str
    run: RunView | None = None
    notes: tuple[str, ...] = ()

    @property
    def ended(self) -> int:
        """The number of rows that have an answer or failed."""
        return 0 if self.run is None else self.run.tasks.ended


@dataclass(frozen=True, slots=True)
class MapEnded:
    """The end of a run: its summary, and its first reports. `fails_again` is that of `BatchEnded`."""

    run_id: str
    summary: RunSummary
    reports: tuple[Report, ...]
    fails_again: bool = False


def parquet_input(rows: RowInput) -> ArrowInput | None:
    """Return the rows as Arrow if they are in a Parquet file: then their columns keep their types."""
    return None if rows.parquet is None else ParquetInput(rows.parquet, rows.chosen)


def check_job(job: MapJob) -> None:
    """Raise `ConfigError` for a wrong placeholder, name or target, before anything is paid for."""
    if not job.replaces:
        refuse_name_clash(job.config, job.rows.columns, remedy=_REPLACING)
    if job.target is not None:
        target_format(job.target)
        refuse_unusable(job.target)
        if job.table is not None and is_same_file(job.target, job.table):
            raise ConfigError(
                f"{shown(job.target)}: the result would replace the table itself: name another file"
            )
        refuse_unwritable(job.arrow_input, [(shown(job.target), target_format(job.target))])
        if not job.overwrites:
            refuse_foreign(job.target, job.rows.columns)
    unread = unread_of(job.arrow_input)
    columns = [name for name in job.rows.columns if name not in unread]
    # The columns of JSON lines and lists are only known from their rows.
    if job.rows.count or columns:
        check_placeholders(job.config, columns, max(job.rows.count, 1), {"evaluate.prompt": "the prompt"})


# ---- identity --------------------------------------------------------------------------------------------


def asked_of(config: HeadraceConfig) -> str:
    """Return the digest of what is asked, and of whom: steps, and the endpoints' models and addresses."""
    stored = config.stored()
    llm = stored["llm"]
    endpoints = [
        {name: value for name, value in endpoint.items() if name not in _INCIDENTAL}
        for endpoint in llm["endpoints"]
    ]
    simulator = (llm["simulator"] or {}).get("seed")
    return digest_of([stored["evaluate"], endpoints, simulator]).hex()


def history_of(job: MapJob) -> MapHistory:
    """Find the run of a job in its store. Raises the errors of the store."""
    asked = asked_of(job.config)
    name = job.config.name
    run_id = f"{name}-{digest_of([asked, job.rows.digest]).hex()[: 2 * _ID_BYTES]}"
    with store_if_any(job.config.store.settings()) as store:
        if store is None:
            return MapHistory(_fresh_id(run_id, 1) if job.fresh else run_id)
        if job.fresh:
            return _fresh_history(job, run_id, store)
        known = read_run(store, CODEC, run_id)
        runs = () if known is not None else list_runs(store, CODEC, limit=_KNOWN_RUNS)
    others = [run for run in runs if run.name == name]
    return MapHistory(run_id, known, _notes(others, asked, job.rows.digest))


def _fresh_id(run_id: str, number: int) -> str:
    return f"{run_id}-f{number}"


def _fresh_history(job: MapJob, run_id: str, store: Store) -> MapHistory:
    """Return the last fresh run of the job `run_id` if it has rows to ask, else a new one."""
    prefix = _fresh_id(run_id, 0)[:-1]
    found = list_runs(store, CODEC, limit=_KNOWN_RUNS, after=prefix)
    numbered = {int(number): run for run in found if (number := run.run_id.removeprefix(prefix)).isdecimal()}
    if not numbered:
        return MapHistory(_fresh_id(run_id, 1))
    last = max(numbered)
    run = numbered[last]
    if run.state in _UNFINISHED or run.tasks.ended < job.rows.count or _is_repeated(job, run, store):
        return MapHistory(run.run_id, run)
    return MapHistory(_fresh_id(run_id, last + 1))


def _is_repeated(job: MapJob, run: RunView, store: Store) -> bool:
    """Return whether a row of a run that has ended would be asked again."""
    if job.retry_failed or not run.tasks.failed:
        return run.tasks.failed > 0
    failed = all_tasks(store, run.run_id, TaskState.FAILED)
    return any(
        may_succeed((read_task(store, CODEC, run.run_id, task.key) or (None, None))[1]) for task in failed
    )


def _notes(runs: Sequence[RunView], asked: str, digest: str) -> tuple[str, ...]:
    """Return why a job is new although its input, or its question, was used before.

    A run without an answer has nothing to reuse. How many answers can be reused is not known: the calls that
    find an answer are made only in the run.
    """
    for run in runs:
        if not run.tasks.succeeded + run.tasks.partial:
            continue
        has_same_rows = (run.origin.get("input") or {}).get("digest") == digest
        has_same_question = run.origin.get("asked") == asked
        if has_same_rows and not has_same_question:
            changed = "the question, the model or the endpoint has changed"
            return (f"{changed} since run {run.run_id}: only answers to equal questions are reused",)
        if has_same_question and not has_same_rows:
            return (f"the rows have changed since run {run.run_id}: answers to equal prompts are reused",)
    return ()


def map_origin(job: MapJob, config: HeadraceConfig) -> RunOrigin:
    """Return the origin of the run of a job, which runs under `config`."""
    rows: Mapping[str, Json] = {"tasks": job.rows.count, "digest": job.rows.digest}
    # A job whose budget or speed was changed continues the same run.
    origin = RunOrigin.of(config, accept_config=True)
    return replace(origin, input=rows, command=job.command, asked=asked_of(job.config))


def estimated(job: MapJob, history: MapHistory) -> EstimatedJob:
    """Return the job for an estimate. A sample becomes the beginning of the job's run."""
    return EstimatedJob(job.config, lambda: job.rows, history.run_id, map_origin(job, job.config))


# ---- the run ---------------------------------------------------------------------------------------------


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
