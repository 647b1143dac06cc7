"""Decides whether the Ray job of a run is alive, by the heartbeat that the run's owner writes to its store.

After a loss of its head, Ray reports the jobs from before the loss as running indefinitely.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from actors.journal.stores.base import Store
from cluster.records.owner_watch import Sign, observed, watched

JOB_VARIABLE = "HEADRACE_JOB"  # `submit` passes the job its own id in this variable


def owner_of_job(owner: str, env: Mapping[str, str]) -> str:
    """Return the name of an owner; it includes the id of the job in which this process runs, if any."""
    job = env.get(JOB_VARIABLE)
    return f"{owner}/{job}" if job else owner


def sign_of(
    store: Store,
    run_id: str,
    job_id: str,
    lease_s: float,
    *,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Sign:
    """Watch the job of a run for a lease. The sign is UNKNOWN if the run belongs to another owner.

    Raises the errors of the store.
    """
    if _job_of(observed(store, run_id).writer) != job_id:
        return Sign.UNKNOWN
    sign, seen = watched(store, run_id, lease_s, pause=pause, clock=clock)
    return sign if _job_of(seen.writer) == job_id else Sign.UNKNOWN


def _job_of(writer: bytes) -> str:
    """Return the last part of the owner's name in `writer`, which is ``owner:life``."""
    owner = writer.decode("utf-8", "surrogatepass").rpartition(":")[0]
    return owner.rpartition("/")[2]
