"""Starts the cluster that a run has for itself: what Ray needs to run actors and tasks here, and no more.

Ray 2.60 starts the same daemons for every cluster, most of them Python processes that load Ray. Those that
nobody asks for anything here are left out: each takes as much as an actor of ours to start.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray._private import services
from ray._private.node import Node
from ray._private.ray_constants import DASHBOARD_ADDRESS, KV_NAMESPACE_DASHBOARD, PROCESS_TYPE_RAYLET
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR
from ray._raylet import (  # type: ignore[attr-defined] # it is compiled
    DASHBOARD_AGENT_LISTEN_PORT_NAME,
    METRICS_AGENT_PORT_NAME,
    METRICS_EXPORT_PORT_NAME,
    RUNTIME_ENV_AGENT_PORT_NAME,
    GcsClient,
    persist_port,
)

from cluster.ray import idle_agent
from cluster.ray.ctrl_c import heard
from cluster.ray.environment import FEW_ARENAS, FLAGS
from cluster.ray.private_place import sessions_directory

_OBJECT_STORE_BYTES = 100 * 1024 * 1024  # only small values travel
_NODE_WITHIN_S = 30.0  # as long as Ray itself would look for it
_LOOK_EVERY_S = 0.02
_NOBODY = b"127.0.0.1:0"
_AGENTS = ("dashboard_agent_command", "runtime_env_agent_command")
_AGENTS_PORTS = (
    DASHBOARD_AGENT_LISTEN_PORT_NAME,
    METRICS_AGENT_PORT_NAME,
    METRICS_EXPORT_PORT_NAME,
    RUNTIME_ENV_AGENT_PORT_NAME,
)
_NO_SERVICE = -1  # as Ray's own agents say it of what they do not offer


def start(*, dashboard: bool) -> None:
    """Start a cluster on this machine, with a dashboard if `dashboard`, and connect to it.

    Raises `PlaceError` where its files would lie in another user's directory.
    """
    for name, value in FEW_ARENAS.items():
        os.environ.setdefault(name, value)
    with heard(), _node_looked_for_often(), _few_daemons(dashboard=dashboard):
        ray.init(
            address="local",
            include_dashboard=dashboard,
            object_store_memory=_OBJECT_STORE_BYTES,
            logging_level=logging.WARNING,
            _temp_dir=str(sessions_directory()),  # Ray's own, /tmp/ray, belongs to whoever comes first
            _system_config=dict(FLAGS),
        )


@contextlib.contextmanager
def _node_looked_for_often() -> Iterator[None]:
    """Have `ray.init` go on when its node is there: Ray 2.60 looks once a second, and tells nobody."""
    get_node = services.get_node

    def found(gcs_address: str, node_id: str) -> dict[str, Any]:
        client = GcsClient(address=gcs_address)
        deadline = time.monotonic() + _NODE_WITHIN_S
        while not _is_there(client, node_id) and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)
        return get_node(gcs_address, node_id)  # type: ignore[no-any-return, no-untyped-call] # Ray's

    with _replaced(services, "get_node", found):
        yield


@contextlib.contextmanager
def _few_daemons(*, dashboard: bool) -> Iterator[None]:
    """Have `ray.init` start no autoscaler, and what serves a dashboard only where that was asked for.

    The autoscaler looks for machines to be had, of which this is all there is. The dashboard's server also
    serves usage statistics, which are off. Its agent measures this node for the dashboard and Prometheus; the
    other agent makes the runtime environments that submitted jobs ask for.
    """
    with contextlib.ExitStack() as replaced:
        replaced.enter_context(_replaced(Node, "start_monitor", lambda _: None))
        if not dashboard:
            replaced.enter_context(_replaced(services, "start_api_server", _no_api_server))
            # A submitted job's runtime environment is made anew in a cluster of its own.
            if hasattr(os, "pidfd_open") and RAY_JOB_CONFIG_JSON_ENV_VAR not in os.environ:
                start = _without_agents(services.start_ray_process)
                replaced.enter_context(_replaced(services, "start_ray_process", start))
        yield


def _no_api_server(_: Any, __: Any, ___: Any, gcs_address: str, *____: Any, **_____: Any) -> tuple[str, None]:
    """Stand in for `ray._private.services.start_api_server`."""
    # Else Ray's agent looks for the address, and logs once a second that there is none.
    GcsClient(address=gcs_address).internal_kv_put(
        DASHBOARD_ADDRESS.encode(), _NOBODY, True, KV_NAMESPACE_DASHBOARD
    )
    return "", None


def _without_agents(start: Callable[..., Any]) -> Callable[..., Any]:
    """Return `ray._private.services.start_ray_process`, as `start` is, but for a raylet's agents.

    A raylet does not begin without both, and ends with either: so there is something that does nothing. It
    waits for the files in which its agents tell their ports.
    """
    idle = subprocess.list2cmdline([sys.executable, "-IS", str(Path(idle_agent.__file__))])

    def started(command: list[str], process_type: str, *arguments: Any, **named: Any) -> Any:
        if process_type == PROCESS_TYPE_RAYLET:
            given = dict(word.removeprefix("--").split("=", 1) for word in command if "=" in word)
            for port in _AGENTS_PORTS:
                persist_port(given["session_dir"], given["node_id"], port, _NO_SERVICE)
            given |= dict.fromkeys(_AGENTS, idle)
            alone = [word for word in command if "=" not in word]
            command = [*alone, *(f"--{name}={value}" for name, value in given.items())]
        return start(command, process_type, *arguments, **named)

    return started


@contextlib.contextmanager
def _replaced(owner: object, name: str, value: object) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _is_there(client: GcsClient, node_id: str) -> bool:
    return any(node.hex() == node_id for node in client.get_all_node_info(timeout=_NODE_WITHIN_S))
