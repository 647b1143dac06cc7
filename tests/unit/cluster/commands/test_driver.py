"""What the commands that run say of a run that cannot be gone on with, or that failed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

import driver
from actors.core.errors import StoreUnavailableError
from actors.core.messages.journal import CloseRun, Finish
from actors.core.messages.tasks import TaskState
from actors.journal.stores.sqlite import SqliteStore
from cluster.commands import batch
from tests.unit.support.journal_desk import RUN, Desk, report

DEMO = Path(driver.__file__).parent / "configs" / "chaos.yaml"
TASKS = "tasks={kind: range, count: 2}"
CAUSE = "the disk is full: free some space"


@pytest.fixture
def cli(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return CliRunner()


def cancelled_run(*, ended):
    with closing(SqliteStore(".headrace/state.db")) as store:
        desk = Desk(store)
        desk.open(origin={"path": "gone.yaml"})
        desk.accept("t1", "t2")
        desk.tell(Finish(RUN, report("t1")))
        if ended:
            desk.tell(Finish(RUN, report("t2", TaskState.CANCELLED)))
        desk.tell(CloseRun(RUN, "cancelled", {"run_id": RUN, "state": "cancelled"}))


def test_a_cancelled_run_is_not_gone_on_with(cli):
    cancelled_run(ended=True)
    told = cli.invoke(driver.app, ["resume", RUN, "--json"])
    assert told.exit_code == 130
    assert f"run {RUN} was cancelled" in told.stderr
    assert orjson.loads(told.stdout)["state"] == "cancelled"
    assert "cancelled" in cli.invoke(driver.app, ["status", RUN]).stdout


def test_a_cancelled_run_with_open_tasks_is_gone_on_with(cli):
    cancelled_run(ended=False)
    told = cli.invoke(driver.app, ["resume", RUN])
    assert told.exit_code == 2
    assert "gone.yaml" in told.stderr  # it went as far as to load the configuration


@pytest.mark.parametrize("can_go_on", [True, False])
def test_how_to_go_on_comes_after_the_cause_and_only_for_a_run_that_this_command_began(
    cli, monkeypatch, can_go_on
):
    def fail(batch, *_):
        batch.can_go_on = can_go_on
        raise StoreUnavailableError(CAUSE)

    monkeypatch.setattr(batch, "launch", fail)
    told = cli.invoke(driver.app, ["run", str(DEMO), "--run-id", RUN, "--set", TASKS])
    assert told.exit_code == 1
    assert CAUSE in told.stderr
    at = told.stderr.find(f"continue with: headrace resume {RUN}")
    assert at > told.stderr.index(CAUSE) if can_go_on else at == -1


def test_a_defect_in_a_local_run_names_the_command_that_continues_it(cli, monkeypatch):
    advised = []
    monkeypatch.setattr(batch, "advise_after_defect", advised.append)

    def fail(*_):
        raise StoreUnavailableError(CAUSE)

    monkeypatch.setattr(batch, "launch", fail)
    arguments = ["run", str(DEMO), "--set", TASKS, "--run-id", RUN, "--engine", "local"]
    cli.invoke(driver.app, arguments)
    (advice,) = advised
    assert advice.startswith(f"run {RUN}: ")
    assert f"headrace resume {RUN}" in advice
