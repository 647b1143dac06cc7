"""Connects to a Ray cluster, or starts one on this machine for the length of a run."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator

import ray
from ray.exceptions import RayError

from actors.core.errors import Blame, HeadraceError
from cluster.ctrl_c import heard

# Internal flags of Ray 2.60: without both, a killed actor is reported after 1.2-1.9 s, with them after 0.1 s.
_FAST_DEATH = {"timeout_ms_task_wait_for_death_info": 50, "core_worker_internal_heartbeat_ms": 50}
# Ray runs workers at nice 15, where anything else on the machine starves the actors that hold open requests.
_NICENESS = {"worker_niceness": 0}
# Ray's head would keep the story of 100,000 tasks, some kilobytes each: in a long run, hundreds of megabytes.
_SHORT_MEMORY = {"task_events_max_num_task_in_gcs": 2_000}
# A driver would wait, for ever, for workers that were started beforehand: also for one that was killed.
_NO_WAITING = {"prestart_worker_first_driver": False}
_OBJECT_STORE_BYTES = 100 * 1024 * 1024  # only small values travel
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
            _start(dashboard=dashboard)
            yield "a Ray cluster of this run's own"
        else:
            _connect(address)
            yield f"the cluster at {address}"
    finally:
        ray.shutdown()


def _start(*, dashboard: bool) -> None:
    with heard():
        ray.init(
            address="local",
            include_dashboard=dashboard,
            object_store_memory=_OBJECT_STORE_BYTES,
            logging_level=logging.WARNING,
            _system_config={**_FAST_DEATH, **_NICENESS, **_SHORT_MEMORY, **_NO_WAITING},
        )


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
