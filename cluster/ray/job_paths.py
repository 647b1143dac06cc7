"""Where a run keeps its state where that is told by a relative path: below the directory of whoever asked.

A job's own directory is made of what was uploaded and goes with the cluster: a run that keeps its state there
cannot be gone on with. So whoever starts a cluster or submits a job says where on its host such paths begin:
HEADRACE_ROOT.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cluster.config.model import HeadraceConfig, SqliteStore
from cluster.ray.job_plan import ROOT_VARIABLE

_JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray sets it for the drivers of submitted jobs alone


def in_job(env: Mapping[str, str]) -> bool:
    """Whether this process is the driver of a submitted job."""
    return _JOB_VARIABLE in env


def below_root(config: HeadraceConfig, env: Mapping[str, str]) -> HeadraceConfig:
    """Return `config` with the paths of its store and its output below HEADRACE_ROOT, where that is set."""
    root = env.get(ROOT_VARIABLE)
    if not root:
        return config
    output = config.output.model_copy(update={"directory": str(Path(root, config.output.directory))})
    store = config.store
    if isinstance(store, SqliteStore):
        store = store.model_copy(update={"path": str(Path(root, store.path))})
    return config.model_copy(update={"output": output, "store": store})


def loses_its_state(config: HeadraceConfig, env: Mapping[str, str]) -> bool:
    """Whether the state goes with the cluster, since nobody said where on the host to keep it."""
    store = config.store
    return in_job(env) and isinstance(store, SqliteStore) and not Path(store.path).is_absolute()
