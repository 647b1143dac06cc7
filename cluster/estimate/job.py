"""Estimates what a job will cost and take, from its configuration, its rows and the answers in its store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from actors.core.estimate.totals import LEAST
from actors.core.journal import keys
from actors.core.journal.reads import read_run
from actors.core.journal.rows import load_answer
from actors.core.messages.tasks import Task
from actors.core.messages.values import Json
from actors.journal.stores.base import Store
from cluster.config.model import HeadraceConfig
from cluster.config.steps import StepSettings
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
        found = from_bounds(count, bounds)
    else:
        found = from_sample(count, bounds, measured, run.spent.usage)
    return replace(found, notes=(*found.notes, *_of_reasoning(config)))


def _of_reasoning(config: HeadraceConfig) -> Iterator[str]:
    """Yield a note for each model that is known to reason, which costs more than the form shows."""
    for one in config.llm.endpoints:
        steps = (step for step in config.asked_steps if not step.endpoints or one.name in step.endpoints)
        bounds = sorted({step.max_tokens for step in steps if isinstance(step, StepSettings)})
        if one.max_tokens is not None and bounds:
            shown = " or ".join(f"{each:,}" for each in bounds)
            yield f"the reasoning of {one.model} is output, which max_tokens bounds with the answer: {shown}"


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
