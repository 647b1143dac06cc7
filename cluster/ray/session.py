"""Connects the driver to a Ray cluster, or starts one on this machine for the length of a run."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType

import ray
from ray.exceptions import RayError

from actors.core.errors import Blame, HeadraceError, text_of
from actors.runtime.telemetry.logs import writes_json
from cluster.ray.environment import CLUSTER, OBJECT_STORE_BYTES, with_defaults
from cluster.ray.private_directory import sessions_directory

_CONNECT_WITHIN_S = 5.0


class ClusterUnreachableError(HeadraceError):
    """No cluster answers at the address that was given."""

    blame = Blame.CLUSTER


@contextlib.contextmanager
def session(address: str, *, dashboard: bool = True) -> Iterator[str]:
    """Connect to Ray, and yield a description of the cluster.

    `address`: "local" starts a cluster on this machine, which ends with this context; anything else is the
    ``host:port`` of a running cluster. Call `cluster.ray.environment.resolve` before this module is imported.
    Raises `ClusterUnreachableError`, or `DirectoryError` if another user owns the directory of Ray's files.
    """
    try:
        yield _start(dashboard=dashboard) if address == "local" else _connect(address)
    finally:
        ray.shutdown()


def _start(*, dashboard: bool) -> str:
    os.environ.update(with_defaults(CLUSTER, os.environ))
    with interruptible():
        context = ray.init(
            address="local",
            include_dashboard=dashboard,
            object_store_memory=OBJECT_STORE_BYTES,
            logging_level=logging.WARNING,
            configure_logging=not writes_json(),
            # By default /tmp/ray, which belongs to the first user who starts Ray on this machine.
            _temp_dir=str(sessions_directory()),
        )
    url, token = context.dashboard_url, os.environ.get("RAY_AUTH_TOKEN_PATH")
    if not url:
        return "a Ray cluster of this run's own"
    shown = f"dashboard http://{url.removeprefix('http://')}"
    return f"a Ray cluster of this run's own ({shown}{f', token in {token}' if token else ''})"


def _connect(address: str) -> str:
    host, _, port = address.rpartition(":")
    try:
        # ray.init tries for two minutes before it fails.
        socket.create_connection((host, int(port)), _CONNECT_WITHIN_S).close()
        ray.init(address=address, logging_level=logging.WARNING, configure_logging=not writes_json())
    except (OSError, ValueError, RayError) as error:
        raise ClusterUnreachableError(
            f"no Ray cluster answers at {address!r}: {text_of(error)}\n"
            "Check the address (host:port) and RAY_AUTH_TOKEN, or use --address local."
        ) from error
    return f"the cluster at {address}"


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Have Ctrl-C end this context with KeyboardInterrupt, whatever the code within does with it.

    Ray forks many times as it starts. Python discards an exception that is raised in a fork hook, and an
    interrupted child is another error: a Ctrl-C would be lost, and the run would go on. The context does
    nothing outside the main thread, or if SIGINT already has another handler. A shell has its background
    commands ignore SIGINT; a run stops at it in any case (`cluster.run.stopping`), and so does its start.
    """
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    if not is_main or before not in (signal.default_int_handler, signal.SIG_IGN):
        yield
        return
    interrupted = False

    def on_signal(_: int, __: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    except Exception as error:
        if interrupted:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupted:
        raise KeyboardInterrupt
