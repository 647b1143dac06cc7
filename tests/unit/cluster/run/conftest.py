"""Fixtures of the tests of batch runs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cluster.records.run_journal import RunOrigin
from cluster.run import batch as batch_run
from cluster.run.batch import BatchRun
from tests.unit.support.batch_world import Silent, Writer


@pytest.fixture
def make_run(monkeypatch):
    monkeypatch.setattr(batch_run, "_REFRESH_S", 0)
    monkeypatch.setattr(batch_run, "_FIRST_REFRESH_S", 0)

    def make(writer=None, topology=None, *, is_map=False, active=10, **options):
        limits = SimpleNamespace(active_tasks=active, accepted_tasks=active, budget_usd=None)
        config = SimpleNamespace(limits=limits, name="test", is_map=is_map)
        origin = RunOrigin({})
        writer = writer or Writer()
        options = {"total": 2, "origin": origin, **options}
        return BatchRun(config, "run", topology or Silent(), writer, **{"alone_s": 0.0, **options})

    return make
