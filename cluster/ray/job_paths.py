"""Resolves the relative paths of a run's store and results when the run is a job of a cluster.

The working directory of a job holds the uploaded files and is removed with the cluster: a run that keeps its
state there cannot be resumed. HEADRACE_ROOT names the directory at which relative paths begin instead. The
command that starts a cluster or submits a job sets it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.input.local_copy import is_url
from cluster.ray.job_plan import ROOT_VARIABLE

if TYPE_CHECKING:
    from cluster.config.model import HeadraceConfig

_JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray sets it for the drivers of submitted jobs only


def in_job(env: Mapping[str, str]) -> bool:
    """Return whether this process is the driver of a submitted job."""
    return _JOB_VARIABLE in env


def below_root(config: HeadraceConfig, env: Mapping[str, str]) -> HeadraceConfig:
    """Return `config` with the paths of its store and its results below HEADRACE_ROOT, if that is set."""
    root = env.get(ROOT_VARIABLE)
    if not root:
        return config
    output = config.output
    if not is_url(output.directory):
        output = output.model_copy(update={"directory": str(Path(root, output.directory))})
    store = config.store
    if store.kind == "sqlite":
        store = store.model_copy(update={"path": str(Path(root, store.path))})
    return config.model_copy(update={"output": output, "store": store})


def loses_its_state(config: HeadraceConfig, env: Mapping[str, str]) -> bool:
    """Return whether the state is removed with the cluster, because no directory on the host is named."""
    store = config.store
    return in_job(env) and store.kind == "sqlite" and not Path(store.path).is_absolute()
