"""Connects to a Ray cluster, or starts one on this machine for the length of a run."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import ray
from ray._private import services
from ray._private.node import Node
from ray._private.ray_constants import DASHBOARD_ADDRESS, KV_NAMESPACE_DASHBOARD
from ray._raylet import GcsClient  # type: ignore[attr-defined] # it is compiled
from ray.exceptions import RayError

from actors.core.errors import Blame, HeadraceError
from cluster.ctrl_c import heard
from cluster.ray_environment import FEW_ARENAS, FLAGS

_OBJECT_STORE_BYTES = 100 * 1024 * 1024  # only small values travel
_CONNECT_WITHIN_S = 5.0
_NODE_WITHIN_S = 30.0  # as long as Ray itself would look for it
_LOOK_EVERY_S = 0.02
_NOBODY = b"127.0.0.1:0"


class ClusterUnreachableError(HeadraceError):
    """No cluster answers at the address that was given."""

    blame = Blame.CLUSTER


@contextlib.contextmanager
def session(address: str, *, dashboard: bool = False) -> Iterator[str]:
    """Have Ray connected; yield where to, in words.

    `address`: "local" starts a cluster here that ends with this context, with a dashboard if `dashboard`; all
    else is the ``host:port`` of a running one. Raises `ClusterUnreachableError`.
    """
    try:
        if address == "local":
            _start(dashboard=dashboard)
            yield "a Ray cluster of this run's own"
        else:
            _connect(address)
            yield f"the cluster at {address}"
    finally:
        ray.shutdown()


def _start(*, dashboard: bool) -> None:
    for name, value in FEW_ARENAS.items():
        os.environ.setdefault(name, value)
    with heard(), _node_looked_for_often(), _few_daemons(dashboard=dashboard):
        ray.init(
            address="local",
            include_dashboard=dashboard,
            object_store_memory=_OBJECT_STORE_BYTES,
            logging_level=logging.WARNING,
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
    """Have `ray.init` start no autoscaler, and no server of a dashboard that nobody asked for.

    Ray 2.60 starts both for every cluster: a second until they are loaded, and 200 MB. One serves usage
    statistics then, which are off, the other looks for machines to be had, of which this is all there is.
    """
    with contextlib.ExitStack() as replaced:
        replaced.enter_context(_replaced(Node, "start_monitor", lambda _: None))
        if not dashboard:
            replaced.enter_context(_replaced(services, "start_api_server", _no_api_server))
        yield


def _no_api_server(_: Any, __: Any, ___: Any, gcs_address: str, *____: Any, **_____: Any) -> tuple[str, None]:
    """Stand in for `ray._private.services.start_api_server`."""
    # Else Ray's agent looks for the address, and logs once a second that there is none.
    GcsClient(address=gcs_address).internal_kv_put(
        DASHBOARD_ADDRESS.encode(), _NOBODY, True, KV_NAMESPACE_DASHBOARD
    )
    return "", None


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


def _connect(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        # Ray itself would try for two minutes.
        socket.create_connection((host, int(port)), _CONNECT_WITHIN_S).close()
        ray.init(address=address, logging_level=logging.WARNING)
    except (OSError, ValueError, RayError) as error:
        raise ClusterUnreachableError(
            f"no Ray cluster answers at {address!r}: {error}\n"
            "Check the address (host:port) and RAY_AUTH_TOKEN, or use --address local."
        ) from error
