"""Sets up the process of an actor at its start."""

from __future__ import annotations

import contextlib
import gc
import os
from pathlib import Path

from actors.runtime.log_guard import guard_logs

_NICENESS = 5
_THREADS = Path("/proc/self/task")  # on Linux the niceness applies to a single thread


def settle_in(*, makes_cycles: bool = False) -> None:
    """Guard the log, and tune the garbage collector for many small objects and few cycles.

    By default Python collects after 700 allocations, and a full collection visits all loaded modules. With
    500 requests in flight this takes a tenth of the processor time of a client.

    makes_cycles: whether other code in the process creates reference cycles. Only the loaded modules are then
    exempt from collection; with higher thresholds cycles would stay for hours.
    """
    guard_logs()
    gc.collect()
    gc.freeze()
    if not makes_cycles:
        gc.set_threshold(50_000, 20, 20)


def give_way() -> None:
    """Lower the priority of this process, which does batch work.

    Without this, on two busy cores, the HTTP API and Ray take twice as long to answer. At this niceness the
    process still gets a third of a core.
    """
    threads = [int(thread.name) for thread in _THREADS.iterdir()] if _THREADS.is_dir() else [0]
    for thread in threads:
        # A thread of Ray may have ended meanwhile; the error would end the actor.
        with contextlib.suppress(ProcessLookupError):
            if os.getpriority(os.PRIO_PROCESS, thread) < _NICENESS:
                os.setpriority(os.PRIO_PROCESS, thread, _NICENESS)
