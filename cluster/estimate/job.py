"""Estimates what a job will cost and take, from its configuration, its rows and the answers in its store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from actors.core.estimate.totals import LEAST
from actors.core.journal import keys
from actors.core.journal.reads import read_run
from actors.core.journal.rows import load_answer
from actors.core.messages.tasks import Task
from actors.core.messages.values import Json
from actors.journal.stores.base import Store
from cluster.config.model import HeadraceConfig
from cluster.estimate.bounds import Bounds
from cluster.estimate.count import DrawnRow, JobCount, count_rows
from cluster.estimate.figures import Estimate
from cluster.estimate.measure import ended_tasks, sample_cost
from cluster.estimate.questions import JobQuestions
from cluster.estimate.reckoning import from_bounds, from_sample
from cluster.records.records import CODEC

SAMPLE = 30


def estimate_job(
    config: HeadraceConfig,
    rows: Iterable[Task],
    *,
    store: Store | None = None,
    run_id: str = "",
    sample: tuple[int, int] | None = None,
) -> Estimate:
    """Return what a job takes from now on. Makes no call.

    `rows` are all rows of the input. `store` is the job's store, if it exists: rows whose answers it holds,
    and those that the run `run_id` has ended, cost nothing. `sample` is the size and the seed of a sample, by
    default those of the sample with which the run began. If the run has ended all of its rows, the estimate
    rests on what they cost.
    """
    run = None if store is None else read_run(store, CODEC, run_id)
    began = {} if run is None else run.origin.get("sample") or {}
    size, seed = sample or (int(began.get("size", SAMPLE)), int(began.get("seed", 0)))
    count = _counted(config, rows, store, run_id, sample=size, seed=seed)
    bounds = Bounds.of(config, count)
    measured = sample_cost(store, run_id, count.drawn)
    if run is None or measured is None or len(measured.rows) < LEAST:
        return from_bounds(count, bounds)
    return from_sample(count, bounds, measured, run.spent.usage)


def sample_of(
    config: HeadraceConfig,
    rows: Iterable[Task],
    *,
    store: Store | None = None,
    run_id: str = "",
    sample: int = SAMPLE,
    seed: int = 0,
) -> tuple[DrawnRow, ...]:
    """Return the random rows that the run `run_id` has to end before `estimate_job` can rest on them."""
    return _counted(config, rows, store, run_id, sample=sample, seed=seed).drawn


def _counted(
    config: HeadraceConfig, rows: Iterable[Task], store: Store | None, run_id: str, *, sample: int, seed: int
) -> JobCount:
    def find(content: str) -> Mapping[str, Json] | None:
        data = None if store is None else store.get(keys.content(content))
        return None if data is None else load_answer(CODEC, data).values

    questions = JobQuestions(config) if config.is_map else None
    return count_rows(questions, rows, find, ended_tasks(store, run_id), size=sample, seed=seed)
