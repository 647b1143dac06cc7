"""A run that is stopped before it begins is not opened, and its tasks are those of the first reading."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest

from actors.core.errors import ConfigChangedError, StoppedError
from actors.core.messages.journal import OpenRun
from actors.journal.stores.sqlite import SqliteStore
from cluster.config.model import HeadraceConfig
from cluster.input.checked_tasks import InputChangedMeanwhileError
from cluster.records.run_journal import RunOrigin
from cluster.run.launch import BatchRequest, launch
from cluster.run.map.question import MapQuestion, map_config
from cluster.run.stopping import StopRequest
from tests.unit.support.journal_desk import Desk


class StoppedHost:
    """A host that has been asked to stop before the run has an event loop."""

    def say(self, text):
        pass

    def stop_event(self):
        stop = StopRequest()
        stop.request()
        return stop


class IdleEngine:
    described = "nowhere"

    @contextlib.contextmanager
    def running(self, say):
        yield lambda config, run_id: pytest.fail("no actor is built")


def test_no_actor_is_built_for_a_run_that_is_stopped_already():
    question = MapQuestion("{text}", {"a": {"type": "string"}}, model="m", base_url="http://h.test/v1")
    run = SimpleNamespace(
        config=map_config(question, {}),
        run_id="r-1",
        described="no rows",
        writer=lambda: None,
        origin=RunOrigin({}),
    )
    with pytest.raises(StoppedError, match="interrupted before the run began"):
        launch(run, IdleEngine(), StoppedHost())


def test_a_file_of_tasks_that_is_changed_after_it_was_read_gives_no_tasks(tmp_path):
    path = tmp_path / "tasks.csv"
    path.write_text("key,text\na,good\nb,bad\n")
    config = HeadraceConfig.model_validate(
        {
            "tasks": {"kind": "file", "path": str(path)},
            "evaluate": {"prompt": "Rate {text}", "output": {"a": {"type": "string"}}},
        }
    )
    request = BatchRequest(config, "r-1", RunOrigin({}), live=False)
    assert [task.key for task in request.tasks()] == ["a", "b"]
    path.write_text("key,text\na,good\nb,worse\n")
    with pytest.raises(InputChangedMeanwhileError, match=r"tasks\.csv: .*rows 1 to 2 differ"):
        next(request.tasks())


@pytest.mark.parametrize("accepted", [False, True])
def test_a_changed_configuration_is_refused_before_any_part_of_the_run_is_built(
    tmp_path, monkeypatch, accepted
):
    monkeypatch.chdir(tmp_path)
    with contextlib.closing(SqliteStore(".headrace/state.db")) as store:
        Desk(store).tell(OpenRun("r-1", "map-rows", {"llm": "here"}, RunOrigin({}).stored()))
    question = MapQuestion("{text}", {"a": {"type": "string"}}, model="m", base_url="http://h.test/v1")
    run = SimpleNamespace(
        config=map_config(question, {}),
        run_id="r-1",
        described="no rows",
        writer=lambda: None,
        origin=RunOrigin({"llm": "there"}, accept_config=accepted),
    )
    refused, why = (StoppedError, "interrupted") if accepted else (ConfigChangedError, "llm: was 'here'")
    with pytest.raises(refused, match=why):
        launch(run, IdleEngine(), StoppedHost())
