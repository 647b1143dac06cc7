"""Finds the earlier runs of a job of `map` in its store.

Rule 1: A run is identified by what is asked and by the rows. The same job finds its run and continues it:
    ended rows are read from the journal, and only the others are asked.
Rule 2: Other rows, or another question, make another run. Equal calls share their answer across runs.
Rule 3: A fresh job uses and leaves no shared answer. It continues its last fresh run if that has rows to
    ask, and otherwise begins another: their ids are the job's id and ``-f1``, ``-f2`` and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.core.journal.reads import list_runs, read_run, read_task
from actors.core.messages.journal import RunView
from actors.core.messages.tasks import TaskState
from cluster.input.digest import digest_of
from cluster.records.reading import all_tasks
from cluster.records.records import CODEC, store_if_any
from cluster.records.run_journal import may_succeed
from cluster.report.summary import RunState

if TYPE_CHECKING:
    from actors.journal.stores.base import Store

from cluster.run.map.job import MapJob, asked_of

_ID_BYTES = 4
_KNOWN_RUNS = 1000
_RUNNING = "running"  # also the state of a run whose process was killed
_UNFINISHED = frozenset({_RUNNING, RunState.INTERRUPTED, RunState.CANCELLED})


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
