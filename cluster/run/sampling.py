"""Asks a random sample of a job's rows, for an estimate. The sample is the beginning of the job's run.

Rule: the answers are kept. The run that follows continues the sample's, and pays only for the other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from actors.core.errors import ConfigError
from actors.core.journal.reads import read_run
from actors.core.messages.tasks import Task
from actors.core.messages.values import Usage
from cluster.config.model import HeadraceConfig
from cluster.config.output import OutputSettings
from cluster.estimate.figures import Estimate, against
from cluster.estimate.job import SAMPLE, estimate_job, sample_of
from cluster.estimate.measure import ended_tasks
from cluster.records.input_digest import RunInput
from cluster.records.records import CODEC, store_if_any
from cluster.records.run_journal import Repetition, RunOrigin
from cluster.report.console import number
from cluster.report.results import ResultWriter
from cluster.report.summary import RunSummary
from cluster.run.engine import LocalEngine, RayEngine
from cluster.run.host import RunHost
from cluster.run.launch import launch

Rows = Callable[[], Iterable[Task]]


@dataclass(slots=True)
class EstimatedJob:
    """A job that can be estimated: its configuration, a reader of all its rows, and its run.

    `origin` is that of the run; it is needed to ask a sample. `sample` is the size and the seed of the sample
    that was asked.
    """

    config: HeadraceConfig
    rows: Rows
    run_id: str = ""
    origin: RunOrigin | None = None
    sample: tuple[int, int] | None = None

    def estimate(self) -> Estimate:
        """Return the estimate. Makes no call.

        It rests on the sample that was asked, or else on the one with which the run began.
        """
        with store_if_any(self.config.store.settings()) as store:
            return estimate_job(self.config, self.rows(), store=store, run_id=self.run_id, sample=self.sample)

    def ask_sample(
        self, engine: LocalEngine | RayEngine, host: RunHost, *, size: int = SAMPLE, seed: int = 0
    ) -> RunSummary | None:
        """Ask the rows of a sample that have not been asked. Return None if all have.

        Raises `HeadraceError`. A sample that was interrupted is continued by the same call.
        """
        assert self.origin is not None  # noqa: S101 - a caller that asks has a run
        if self.config.store.kind == "memory":
            raise ConfigError("store.kind is memory: a sample would be lost; use another store")
        self.sample = size, seed
        with store_if_any(self.config.store.settings()) as store:
            drawn = sample_of(
                self.config, self.rows(), store=store, run_id=self.run_id, sample=size, seed=seed
            )
            ended = set(ended_tasks(store, self.run_id))
        if not drawn or ended.issuperset(row.task.key for row in drawn):
            return None
        # The store keeps the origin with which a run began. A sample of a run that exists is not in it.
        places = {row.task.key: row.place for row in drawn}
        origin = replace(self.origin, sample={"size": size, "seed": seed, "places": places})
        tasks = tuple(row.task for row in drawn)
        return launch(SampleRun(self.config, self.run_id, origin, tasks), engine, host).summary


@dataclass(frozen=True, slots=True)
class Expectation:
    """The estimate of a run that began with a sample, and what the run had cost until then."""

    estimate: Estimate
    before: Usage

    @classmethod
    def of(cls, job: EstimatedJob) -> Expectation | None:
        """Return what is expected of a run; None if it did not begin with a sample, or has nothing to do."""
        with store_if_any(job.config.store.settings()) as store:
            run = None if store is None else read_run(store, CODEC, job.run_id)
            if run is None or not run.origin.get("sample"):
                return None
            estimate = estimate_job(job.config, job.rows(), store=store, run_id=job.run_id)
        is_sampled = estimate.usd.mid is not None and bool(estimate.todo.low)
        return cls(estimate, run.spent.usage) if is_sampled else None

    def compared(self, summary: RunSummary) -> str:
        """Return a line that compares the estimate with what the run took."""
        took = summary.usage.less(self.before)
        return against(self.estimate, usd=took.cost_usd, tokens=took.tokens, seconds=summary.elapsed_s)


@dataclass(slots=True)
class SampleRun:
    """The run of a sample, for `launch`. It writes no results: the whole run does."""

    config: HeadraceConfig
    run_id: str
    origin: RunOrigin
    drawn: tuple[Task, ...]
    run_input: RunInput | None = None  # the sample is not the input of the run
    retry: Repetition = field(default_factory=Repetition)
    stops_at_failure: bool = False
    can_go_on: bool = False

    @property
    def described(self) -> str:
        """The number of rows, in words."""
        return f"a sample of {number(self.count, 'random row')}"

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(self.drawn)

    def tasks(self) -> Iterator[Task]:
        """Return a new stream of the rows."""
        return iter(self.drawn)

    def writer(self) -> ResultWriter:
        """Return a writer without a file."""
        return ResultWriter.for_rows(self.config.model_copy(update={"output": OutputSettings()}), None)

    def read(self, writer: ResultWriter, summary: RunSummary) -> None:
        """Read nothing."""
