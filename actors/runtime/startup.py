"""What every actor's process does once, at its start."""

from __future__ import annotations

import contextlib
import gc
import os
from pathlib import Path

import ray
from ray._private.worker import global_worker
from ray.util import serialization_addons

from actors.runtime.log_guard import guard_logs

_NICENESS = 5
_THREADS = Path("/proc/self/task")  # on Linux each thread has a priority of its own


def travel_light() -> None:
    """Keep Ray from loading, into a worker, what it takes to send Arrow's tables and pydantic's fields.

    Nobody sends those here. They are pyarrow, numpy and half of pydantic: before an actor's first line a
    quarter of a second of processor time, where ten start at once, and 40 MB for each of them.
    """
    if global_worker.mode == ray.WORKER_MODE:
        serialization_addons.apply = lambda _: None


def settle_in(*, makes_cycles: bool = False) -> None:
    """Guard the log, and tune the garbage collector: a process holds many small objects, and few cycles.

    By default each 700 allocations start a collection, and full ones walk all of Ray's modules: with 500
    requests in flight that took a tenth of a client's processor time. Where others' code `makes_cycles`, only
    the modules are left out: else what hangs on a cycle stays for hours.
    """
    guard_logs()
    gc.collect()
    gc.freeze()
    if not makes_cycles:
        gc.set_threshold(50_000, 20, 20)


def give_way() -> None:
    """Let the processes that somebody waits for go first where processor time is short.

    What works off a batch takes whatever there is. Beside it, on two busy cores, the HTTP door answered in
    twice the time; so does Ray itself. At this niceness a third of a core's time is still sure.
    """
    threads = [int(thread.name) for thread in _THREADS.iterdir()] if _THREADS.is_dir() else [0]
    for thread in threads:
        # A thread of Ray's that ended meanwhile would end the actor.
        with contextlib.suppress(ProcessLookupError):
            if os.getpriority(os.PRIO_PROCESS, thread) < _NICENESS:
                os.setpriority(os.PRIO_PROCESS, thread, _NICENESS)


travel_light()  # when an actor's class is loaded: its first argument would load it all
