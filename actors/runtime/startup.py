"""What the process of each actor does once, when it starts."""

from __future__ import annotations

import contextlib
import gc
import os
from pathlib import Path

from actors.runtime.log_guard import guard_logs

_NICENESS = 5
_THREADS = Path("/proc/self/task")  # on Linux each thread has a priority of its own


def settle_in(*, makes_cycles: bool = False) -> None:
    """Guard the log, and tune the garbage collector for many small objects and few cycles.

    By default Python collects after each 700 allocations, and a full collection visits all loaded modules:
    with 500 requests in flight that takes a tenth of a client's processor time. `makes_cycles`: other code in
    the process creates cycles, so only the loaded modules are exempt; otherwise cycles would stay for hours.
    """
    guard_logs()
    gc.collect()
    gc.freeze()
    if not makes_cycles:
        gc.set_threshold(50_000, 20, 20)


def give_way() -> None:
    """Lower the priority of this process, which works off a batch.

    Otherwise, on two busy cores, the HTTP API takes twice as long to answer, and so does Ray itself. At this
    niceness the process still gets a third of a core.
    """
    threads = [int(thread.name) for thread in _THREADS.iterdir()] if _THREADS.is_dir() else [0]
    for thread in threads:
        # Without this, a thread of Ray's that ended meanwhile would end the actor.
        with contextlib.suppress(ProcessLookupError):
            if os.getpriority(os.PRIO_PROCESS, thread) < _NICENESS:
                os.setpriority(os.PRIO_PROCESS, thread, _NICENESS)
