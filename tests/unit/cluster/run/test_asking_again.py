"""A run's question is asked again as it was, and what a spent budget left out is asked by the next call."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from actors.core.errors import Blame, ConfigChangedError, Failure, FailureKind
from actors.core.journal.reads import read_run
from actors.core.messages.journal import Accept, Finish
from actors.core.messages.tasks import Task
from actors.journal.stores.sqlite import SqliteStore
from cluster.config.loading import loaded
from cluster.records.records import CODEC
from cluster.records.run_journal import RunOrigin
from cluster.run import asking_again
from cluster.run.asking_again import AskedAgain, question_of
from tests.unit.support.journal_desk import RUN, Desk
from tests.unit.support.tables import rated

JOB = """
name: again
tasks: {kind: range, count: 4}
llm: {simulator: {latency_s: 0.01, seed: 7}}
evaluate: {prompt: "Rate {key}", output: {m: "good | bad"}}
"""


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """Return the journal of a run of `JOB`, all of whose tasks have ended."""
    monkeypatch.chdir(tmp_path)
    path = Path("job.yaml")
    path.write_text(JOB)
    config = loaded(path, env=os.environ)
    Path(".headrace").mkdir(mode=0o700)
    with closing(SqliteStore(".headrace/state.db")) as store:
        made = Desk(store)
        origin = RunOrigin.of(config, path)
        made.open(RUN, config=origin.config, origin=origin.stored())
        for number in range(4):
            made.tell(Accept(RUN, Task(f"t{number}", {})))
            made.tell(Finish(RUN, rated(f"t{number}", values={"m": "good"})))
        yield made


def question(desk, *overrides):
    return question_of(read_run(desk.store, CODEC, RUN), desk.store, None, overrides, os.environ)


def again(desk, budget=None):
    run = read_run(desk.store, CODEC, RUN)
    return AskedAgain.of(run, desk.store, question(desk), size=3, seed=0, budget=budget)


def test_another_question_is_not_asked_as_that_of_the_run(desk):
    assert question(desk).asked_steps[0].prompt == "Rate {key}"
    Path("job.yaml").write_text(JOB.replace("Rate {key}", "Please rate the item {key}"))
    with pytest.raises(ConfigChangedError) as refused:
        question(desk)
    text = str(refused.value)
    assert "evaluate.prompt: was 'Rate {key}', is 'Please rate the item {key}' now" in text
    assert text.endswith("use the configuration that it began with")
    assert "accept" not in text


def test_an_override_that_changes_the_question_is_refused(desk):
    with pytest.raises(ConfigChangedError, match=r"llm\.simulator\.seed: was 7, is 8 now"):
        question(desk, "llm.simulator.seed=8")


def test_what_a_spent_budget_left_out_is_counted_and_asked_again(desk, monkeypatch):
    launched = []

    class Ended:
        summary = None

    def launch(run, _engine, _host):
        launched.append(run)
        return Ended

    monkeypatch.setattr(asking_again, "launch", launch)
    sample = again(desk, budget=0.4)
    assert sample.unpaid() == 0  # it has not begun
    desk.open(sample.run_id, config=sample.config.stored())
    kinds = (None, FailureKind.BUDGET, FailureKind.PERMANENT)
    for task, kind in zip(sample.tasks, kinds, strict=True):
        error = None if kind is None else Failure(kind, Blame.LIMIT, "no")
        desk.tell(Accept(sample.run_id, task))
        desk.tell(Finish(sample.run_id, rated(task.key, values={"m": "good"}, error=error)))

    assert sample.unpaid() == 1
    more = again(desk, budget=50)
    assert (more.run_id, more.tasks) == (sample.run_id, sample.tasks)
    more.ask(None, None)
    [run] = launched
    assert set(run.retry.states) >= {"failed", "partial"}
    assert run.retry.only_transient
