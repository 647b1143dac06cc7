"""Asks the question of a run again about some of its tasks, to see how its answers change by themselves.

Rule 1: The question is not taken from the store, where another user may have written it. It comes from the
    configuration with which the run began, which must not have changed, or from a saved job of `map` that
    asks the same.
Rule 2: The answers are kept in a run of their own. The same call continues it, and pays nothing twice. Tasks
    that failed for a reason that may have passed, such as a spent budget, are asked again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.core.errors import ConfigError, FailureKind
from actors.core.estimate.totals import Reservoir
from actors.core.journal.batch import CheckedCodec
from actors.core.journal.runs import refuse_changed
from actors.core.messages.journal import RunView
from actors.core.messages.tasks import Task, TaskState
from actors.core.run_id import check_run_id
from actors.journal.stores.base import Store
from cluster.config.loading import loaded
from cluster.config.model import HeadraceConfig
from cluster.program import program
from cluster.ray.job_paths import below_root
from cluster.records.reading import all_ended, all_tasks
from cluster.records.records import CODEC, start_of, store_if_any, with_overrides
from cluster.records.run_journal import Repetition, RunOrigin
from cluster.report.summary import RunSummary
from cluster.run.engine import LocalEngine, RayEngine
from cluster.run.host import RunHost
from cluster.run.launch import launch
from cluster.run.map.job import asked_of
from cluster.run.sampling import EstimatedJob, SampleRun

_MOST_ROWS = 100_000
_CHANGED = "asked again, {run_id} would not show its own changes: use the configuration that it began with"
_REPEATED = (TaskState.FAILED, TaskState.CANCELLED, TaskState.PARTIAL)


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """The tasks of a run that are asked again, in the run `run_id`."""

    config: HeadraceConfig
    run_id: str
    origin: RunOrigin
    tasks: tuple[Task, ...]

    @classmethod
    def of(
        cls, run: RunView, store: Store, config: HeadraceConfig, *, size: int, seed: int, budget: float | None
    ) -> AskedAgain:
        """Return a random sample of the tasks of a run that have ended. Raises `ConfigError` if none has."""
        drawn: Reservoir[Task] = Reservoir(min(size, _MOST_ROWS), seed)
        for task in all_tasks(store, run.run_id):
            if task.ended_at is not None:
                drawn.offer(Task(task.key, task.params))
        if not drawn.seen:
            raise ConfigError(f"run {run.run_id} has no task that has ended: nothing can be asked again")
        fresh = config.model_copy(update={"llm": config.llm.model_copy(update={"cache": False})})
        if budget is not None:
            limits = fresh.limits.model_copy(update={"budget_usd": budget})
            fresh = fresh.model_copy(update={"limits": limits})
        return cls(
            fresh,
            check_run_id(f"{run.run_id}-again-{size}-{seed}"),
            RunOrigin.of(fresh, accept_config=True),
            drawn.rows,
        )

    def job(self) -> EstimatedJob:
        """Return the job for an estimate."""
        return EstimatedJob(self.config, lambda: self.tasks, self.run_id, self.origin)

    def ask(self, engine: LocalEngine | RayEngine, host: RunHost) -> RunSummary:
        """Ask the tasks that have not been asked again yet. Raises `HeadraceError`."""
        retry = Repetition(_REPEATED, only_transient=True)
        sample = SampleRun(self.config, self.run_id, self.origin, self.tasks, retry=retry)
        return launch(sample, engine, host).summary

    def unpaid(self) -> int:
        """Return the number of tasks without all answers because the budget was spent."""
        with store_if_any(self.config.store.settings()) as store:
            if store is None:
                return 0
            return sum(
                any(item.error is not None and item.error.kind is FailureKind.BUDGET for item in report.items)
                for _, report in all_ended(store, self.run_id)
            )


def question_of(
    run: RunView, store: Store, config: Path | None, overrides: Sequence[str], env: Mapping[str, str]
) -> HeadraceConfig:
    """Return the configuration that asks the question of a run in `store`.

    `config` is the job of a run of `map`, or the configuration of another run if it was moved. Raises
    `ConfigError`, and `ConfigChangedError` if the configuration has changed since the run began.
    """
    if "asked" not in run.origin:
        start = start_of(run.run_id, config, env)
        given = with_overrides(start, [*overrides])
        found = below_root(loaded(start.path, overrides=given, env=env), env)
        record = RunOrigin.of(found, start.path).record(run.run_id, run.name)
        refuse_changed(store, CheckedCodec(CODEC), record, _CHANGED.format(run_id=run.run_id))
        return found
    if config is None:
        raise ConfigError(
            f"run {run.run_id} is one of `map`, whose question is not taken from the store: repeat its "
            "command with --save job.yaml --dry-run, then add --config job.yaml here"
        )
    found = below_root(loaded(config, overrides=overrides, env=env), env)
    if asked_of(found) != run.origin["asked"]:
        raise ConfigError(
            f"{config} asks another question, or another model, than run {run.run_id}: save the job again "
            f"with `{program()} map … --save`"
        )
    return found
