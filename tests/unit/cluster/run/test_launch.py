"""A run that is stopped before it begins is not opened."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest

from actors.core.errors import StoppedError
from cluster.run.launch import launch
from cluster.run.map_question import MapQuestion, map_config
from cluster.run.stopping import StopRequest


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
        config=map_config(question, {}), run_id="r-1", described="no rows", writer=lambda: None
    )
    with pytest.raises(StoppedError, match="interrupted before the run began"):
        launch(run, IdleEngine(), StoppedHost())
