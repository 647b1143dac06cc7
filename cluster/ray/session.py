"""Connects to a Ray cluster, or starts one on this machine for the length of a run."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator

import ray
from ray.exceptions import RayError

from actors.core.errors import Blame, HeadraceError, text_of
from cluster.ray import own_cluster

_CONNECT_WITHIN_S = 5.0


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
            own_cluster.start(dashboard=dashboard)
            yield "a Ray cluster of this run's own"
        else:
            _connect(address)
            yield f"the cluster at {address}"
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        # Ray itself would try for two minutes.
        socket.create_connection((host, int(port)), _CONNECT_WITHIN_S).close()
        ray.init(address=address, logging_level=logging.WARNING)
    except (OSError, ValueError, RayError) as error:
        raise ClusterUnreachableError(
            f"no Ray cluster answers at {address!r}: {text_of(error)}\n"
            "Check the address (host:port) and RAY_AUTH_TOKEN, or use --address local."
        ) from error
