"""A run in Python: what it shows, and what does not leave the process."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace

import pytest

from actors.core.messages.values import Usage
from cluster.report.summary import RunState, RunSummary
from headrace.batch import RunStoppedError
from headrace.handle import Run
from headrace.progress.timeline import Timeline
from tests.unit.support.tables import settings

KEY = "sk-canary-12345678"
ENDPOINT = {"name": "main", "base_url": "http://h.test/v1", "model": "m", "api_key": KEY}


def run(*, is_priced=True):
    """Return a run whose configuration has a key."""
    batch = SimpleNamespace(config=settings(llm={"endpoints": [ENDPOINT]}), origin=None)
    summary = RunSummary("r1", RunState.SUCCEEDED, 1.0, usage=Usage(10, 2), is_priced=is_priced)
    return Run(batch, summary, Timeline(), lambda *_: pytest.fail("it is not resumed"))


def test_the_cost_is_unknown_without_a_price():
    assert run().cost == 0.0
    assert run(is_priced=False).cost is None


@pytest.mark.parametrize("made", [run(), RunStoppedError("stopped", run())])
@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy])
def test_a_run_is_not_pickled_since_its_configuration_has_keys(made, copied):
    with pytest.raises(TypeError, match=r"cannot be pickled.*run_id='r1'"):
        copied(made)
