"""A sample is the beginning of a run, and the run is compared with what was expected of it."""

from __future__ import annotations

import contextlib

import pytest

from actors.core.errors import ConfigError
from actors.core.messages.journal import TaskTally
from actors.core.messages.tasks import Task
from actors.core.messages.values import Usage
from cluster.config.kinds.store import RedisSection
from cluster.config.model import HeadraceConfig
from cluster.records import records
from cluster.records.run_journal import RunOrigin
from cluster.report.summary import RunState, RunSummary
from cluster.run import sampling
from cluster.run.sampling import EstimatedJob, Expectation
from tests.unit.support.stored_run import StoredRun

PRICE = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 10.0}
CONFIG = HeadraceConfig.model_validate(
    {
        "llm": {
            "endpoints": ({"name": "e", "base_url": "http://127.0.0.1:1/v1", "model": "m", "price": PRICE},),
            "cache": True,
        },
        "evaluate": {"prompt": "Rate {text}", "output": {"label": {"type": "string"}}, "max_tokens": 50},
    }
)
ROWS = [Task(f"r{number}", {"text": f"row {number}"}) for number in range(200)]
SPENT = Usage(60, 10, 0.00016)


class Launched(Exception):  # noqa: N818 - it carries the run that would be launched
    pass


@pytest.fixture
def stored(monkeypatch):
    """Return a function that has jobs find the store of a run, and catch what they launch."""

    def use(run):
        store = contextlib.nullcontext(None if run is None else run.store)

        def launch(launched, engine, host):
            raise Launched(launched)

        monkeypatch.setattr(sampling, "store_if_any", lambda _: store)
        monkeypatch.setattr(sampling, "launch", launch)
        return EstimatedJob(CONFIG, lambda: ROWS, "map-1", RunOrigin.of(CONFIG))

    return use


def asked(job, **options):
    """Return the run that a sample would launch, None if it launches none."""
    try:
        assert job.ask_sample(None, None, **options) is None
    except Launched as caught:
        return caught.args[0]


def test_a_sample_is_a_run_of_random_rows_that_keeps_their_places(stored):
    run = asked(stored(None), size=30, seed=2)
    tasks = list(run.tasks())
    assert (run.run_id, run.count, len({task.key for task in tasks})) == ("map-1", 30, 30)
    places = run.origin.sample["places"]
    assert all(ROWS[places[task.key]] is task for task in tasks)
    assert (run.origin.sample["size"], run.origin.sample["seed"]) == (30, 2)


def test_a_sample_that_has_ended_is_not_asked_again(stored):
    run = StoredRun(CONFIG)
    job = stored(run)
    for task in asked(job, size=30, seed=2).tasks():
        run.answer(task, SPENT)
    assert asked(job, size=30, seed=2) is None
    assert job.estimate().output_tokens.mid == 170 * 10
    assert asked(job, size=30, seed=3) is not None


def test_a_store_in_memory_keeps_no_sample(stored):
    job = stored(None)
    job.config = CONFIG.model_copy(update={"store": HeadraceConfig.model_validate(
        {"store": {"kind": "memory"}, "evaluate": CONFIG.evaluate.model_dump()}
    ).store})  # fmt: skip
    with pytest.raises(ConfigError, match="a sample would be lost"):
        job.ask_sample(None, None)


def test_a_run_that_began_with_a_sample_is_compared_with_its_estimate(stored):
    job = stored(None)
    drawn = asked(job, size=30, seed=2)
    run = StoredRun(CONFIG, origin=drawn.origin.stored())
    for task in drawn.tasks():
        run.answer(task, SPENT)
    expected = Expectation.of(stored(run))
    summary = RunSummary(
        "map-1", RunState.SUCCEEDED, 12.0, tasks=TaskTally(200, 200), usage=Usage(12_000, 2_000, 0.032)
    )
    line = expected.compared(summary)
    assert line.startswith("actual  $0.0272, estimated $0.027")
    assert "11,900 tokens" in line or "11.9 k tokens" in line


def test_nothing_is_expected_of_a_run_without_a_sample_or_without_a_store(stored):
    run = StoredRun(CONFIG)
    for task in ROWS[:30]:
        run.answer(task, SPENT)
    assert Expectation.of(stored(run)) is None
    assert Expectation.of(stored(None)) is None


def test_a_store_that_cannot_be_opened_is_no_new_store(monkeypatch):
    """Its answers would be counted as missing, and be paid for again."""

    def without_driver(settings, *, may_lock):
        raise ConfigError("redis is not installed")

    monkeypatch.setattr(records, "open_store", without_driver)
    store = RedisSection(kind="redis", url="redis://h")
    job = EstimatedJob(CONFIG.model_copy(update={"store": store}), lambda: ROWS, "map-1", None)
    with pytest.raises(ConfigError, match="redis is not installed"):
        job.estimate()
