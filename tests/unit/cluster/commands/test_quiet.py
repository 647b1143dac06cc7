"""What the commands that run tasks print with ``--quiet``: only errors."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cluster.commands import batch
from cluster.config.model import HeadraceConfig
from cluster.records.run_journal import RunOrigin
from cluster.report.summary import RunState, RunSummary
from cluster.run.engine import EngineName
from cluster.run.launch import BatchRequest

CONFIG = HeadraceConfig.model_validate(
    {
        "tasks": {"kind": "range", "count": 1},
        "sources": [{"name": "wire", "kind": "simulated"}],
        "evaluate": {"prompt": "{text}", "output": {"q": {"type": "number", "min": 0, "max": 1}}},
        "dimensions": [{"name": "q", "field": "q"}],
    }
)


@pytest.mark.parametrize(
    ("quiet", "stopped_by", "printed"),
    [(False, "", True), (True, "", False), (True, "main refuses the key", False)],
)
def test_a_quiet_run_prints_only_why_it_stopped(monkeypatch, capsys, quiet, stopped_by, printed):
    state = RunState.FAILED if stopped_by else RunState.SUCCEEDED
    ended = SimpleNamespace(summary=RunSummary("r1", state, 1.0, stopped_by=stopped_by), reports=())

    def launch(request, engine, host):
        host.say("a message")
        return ended

    monkeypatch.setattr(batch, "launch", launch)
    request = BatchRequest(CONFIG, "r1", RunOrigin.of(CONFIG), live=True)
    batch.run_batch(request, EngineName.LOCAL, "auto", quiet=quiet)
    out, err = capsys.readouterr()
    assert (bool(out), "a message" in err) == (printed, printed)
    assert ("no call can be answered: main refuses the key" in err) == bool(stopped_by)
