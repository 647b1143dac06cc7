"""Connects to a Ray cluster, or starts one on this machine for the length of a run."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Iterator

from actors.core.errors import Blame, HeadraceError

# Internal flags of Ray 2.60: without both, a killed actor is reported after 1.2-1.9 s, with them after 0.1 s.
_FAST_DEATH = {"timeout_ms_task_wait_for_death_info": 50, "core_worker_internal_heartbeat_ms": 50}
# Ray runs workers at nice 15, where anything else on the machine starves the actors that hold open requests.
_NICENESS = {"worker_niceness": 0}
_OBJECT_STORE_BYTES = 100 * 1024 * 1024  # only small values travel


class ClusterUnreachableError(HeadraceError):
    """No cluster answers at the address that was given."""

    blame = Blame.CLUSTER


@contextlib.contextmanager
def session(address: str, *, dashboard: bool = False) -> Iterator[str]:
    """Have Ray connected; yield where to, in words.

    `address`: "local" starts a cluster here that ends with this context; "auto" takes the one that is
    running (or named by RAY_ADDRESS), else starts one; all else is an address. Raises
    `ClusterUnreachableError`.
    """
    _prepare_environment(local=address == "local")
    import ray  # noqa: PLC0415 - the environment above is read when ray is imported

    if address != "local":
        try:
            ray.init(address=address, logging_level=logging.WARNING, log_to_driver=True)
        except ConnectionError as error:
            if address != "auto":
                raise ClusterUnreachableError(
                    f"no Ray cluster answers at {address}: {error}\n"
                    "Check the address and RAY_AUTH_TOKEN, or use --address local."
                ) from error
        else:
            try:
                yield f"the cluster at {ray.get_runtime_context().gcs_address}"
            finally:
                ray.shutdown()
            return
    ray.init(
        address="local",
        include_dashboard=dashboard,
        object_store_memory=_OBJECT_STORE_BYTES,
        logging_level=logging.WARNING,
        log_to_driver=True,
        _system_config={**_FAST_DEATH, **_NICENESS},
    )
    try:
        yield "a Ray cluster of this run's own"
    finally:
        ray.shutdown()


def _prepare_environment(*, local: bool) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if "RAY_AUTH_MODE" not in os.environ and local:
        # Left unset, Ray would write a token into the home directory and change the mode of later clusters.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
