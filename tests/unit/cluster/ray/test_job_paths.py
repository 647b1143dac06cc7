from __future__ import annotations

import json
import os

import pytest

from cluster.config.model import load
from cluster.ray.job_paths import below_root, in_job, loses_its_state

IN_JOB = {"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}


@pytest.fixture
def config(tmp_path):
    def make(**sections):
        document = {
            "sources": [{"name": "wire", "kind": "simulated"}],
            "evaluate": {"prompt": "{text}", "output": {"q": {"type": "number", "min": 0, "max": 1}}},
            "dimensions": [{"name": "q", "field": "q"}],
            **sections,
        }
        path = tmp_path / "config.yaml"
        path.write_text(json.dumps(document))
        return load(path, env={})

    return make


def test_relative_places_lie_below_the_root_where_there_is_one(config):
    placed = below_root(config(), {"HEADRACE_ROOT": "/data/jobs"})
    assert placed.store.path == "/data/jobs/.headrace/state.db"
    assert placed.output.directory == "/data/jobs/runs"
    assert below_root(config(), {}) == config()


def test_absolute_places_and_other_stores_stay_what_they_are(config):
    settings = config(store={"kind": "memory"}, output={"directory": "/out"})
    assert below_root(settings, {"HEADRACE_ROOT": "/data"}) == settings
    settings = config(store={"kind": "sqlite", "path": "/s.db"})
    assert below_root(settings, {"HEADRACE_ROOT": "/data"}).store.path == "/s.db"


def test_a_job_whose_store_lies_in_its_own_directory_loses_its_state(config):
    assert loses_its_state(config(), IN_JOB)
    assert not loses_its_state(config(), {})
    assert not loses_its_state(below_root(config(), {"HEADRACE_ROOT": os.sep}), IN_JOB)
    assert not loses_its_state(config(store={"kind": "memory"}), IN_JOB)
    assert in_job(IN_JOB)
