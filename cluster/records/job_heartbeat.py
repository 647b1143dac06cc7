"""Whether the job of a run is alive, judged by what it writes to the run's store.

After its head was lost, Ray says for ever of the jobs of its earlier life that they run. The owner of a run
shows a sign of life in the store; one that shows none for a whole lease is dead, as `journal_runs` has it.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping

from actors.core.journal import keys
from actors.core.liveness import LeaseWatch
from actors.journal.stores.base import Store

JOB_VARIABLE = "HEADRACE_JOB"  # `submit` tells a job its own id by it
_MOST_INTERRUPTIONS = 5  # after these the store is too slow to tell who is alive


class Sign(enum.Enum):
    """What a store shows of a job."""

    ALIVE = "alive"
    SILENT = "silent"  # the run is the job's, and shows no sign of life
    UNKNOWN = "unknown"  # the run is not the job's yet, or the store cannot be read, or not fast enough


def owner_of_job(owner: str, env: Mapping[str, str]) -> str:
    """Return the name of an owner, with the job in it that this process runs in, if any."""
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
    """Return what `store` shows of a job, watched for a lease of `lease_s`. Raises what ails the store.

    A store tells nobody of changes: who waits for one without a journal has to look again.
    """
    watch, first = LeaseWatch(lease_s), None
    while watch.interruptions <= _MOST_INTERRUPTIONS:
        began = clock()
        seen = _look(store, run_id)
        first = first or seen
        if _job_of(first[0]) != job_id:
            return Sign.UNKNOWN
        if seen != first:
            return Sign.ALIVE
        if watch.observe(seen, began, clock()):
            return Sign.SILENT
        pause(watch.pause_s)
    return Sign.UNKNOWN


def _look(store: Store, run_id: str) -> tuple[bytes | None, bytes | None]:
    return store.get(keys.writer(run_id)), store.get(keys.heartbeat(run_id))


def _job_of(writer: bytes | None) -> str:
    """Return the last part of the owner's name in `writer`, which is ``owner:life``."""
    owner = (writer or b"").decode("utf-8", "surrogatepass").rpartition(":")[0]
    return owner.rpartition("/")[2]
