"""Which engine runs a batch."""

from __future__ import annotations

import gc

import pytest

from actors.core.errors import ConfigError
from cluster.run.engine import EngineName, LocalEngine, chosen_engine

AUTO, LOCAL, RAY = EngineName.AUTO, EngineName.LOCAL, EngineName.RAY
JOB = {"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}
CLUSTER = {"RAY_ADDRESS": "10.0.0.1:6379"}


@pytest.mark.parametrize(
    ("wanted", "address", "env", "engine"),
    [
        (AUTO, "auto", {}, LOCAL),
        (AUTO, "auto", {"RAY_ADDRESS": ""}, LOCAL),
        (AUTO, "auto", CLUSTER, RAY),
        (AUTO, "auto", JOB, RAY),
        (AUTO, "local", {}, RAY),
        (AUTO, "10.0.0.1:6379", {}, RAY),
        (RAY, "auto", {}, RAY),
        (LOCAL, "auto", CLUSTER | JOB, LOCAL),
    ],
)
def test_ray_runs_what_names_a_cluster_and_the_local_engine_all_else(wanted, address, env, engine):
    assert chosen_engine(wanted, address, env) is engine


def test_an_address_of_a_cluster_contradicts_the_local_engine():
    with pytest.raises(ConfigError, match="--address local selects Ray, but the engine is local"):
        chosen_engine(LOCAL, "local", {})


def test_the_local_engine_leaves_the_garbage_collector_as_it_found_it(monkeypatch):
    """The process of a notebook goes on after a run, and has cycles of its own."""
    monkeypatch.setattr("cluster.assembly.local.build", lambda config, run_id: None)
    gc.unfreeze()  # what tests/conftest.py has frozen
    before = gc.get_threshold(), gc.get_freeze_count()
    with LocalEngine().running(print) as build:
        build(None, "r")
        assert gc.get_threshold() != before[0]
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
