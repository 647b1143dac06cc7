"""Finds the processes of a run, and kills or freezes them."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable

import psutil

from cluster.chaos.plan import Blow, Strike, StrikeTarget

_FOUND_WITHIN_S = 120.0  # Ray takes half a minute to start on a busy machine
_LOOK_EVERY_S = 0.02

# The titles that Ray gives the processes of actors, and of workers that run tasks.
TITLES = {
    StrikeTarget.CLIENT: ("ray::LLMClientActor",),
    StrikeTarget.DISPATCHER: ("ray::DispatcherActor",),
    StrikeTarget.PIPELINE: ("ray::PipelineActor",),
    StrikeTarget.JOURNAL: ("ray::JournalActor",),
    StrikeTarget.SOURCE: ("ray::SourceActor",),
    StrikeTarget.WORKER: ("ray::IDLE", "ray::aggregate", "ray::verify"),
}


def strike(blow: Strike, driver: psutil.Process, *, is_over: Callable[[], bool]) -> bool:
    """Carry out `blow` on the run of `driver`. Return whether there was a target.

    Waits up to two minutes for a target that is starting, unless the run ends.
    """
    found = _targets(blow.target, driver)
    deadline = time.monotonic() + _FOUND_WITHIN_S
    while not found and not is_over() and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
        found = _targets(blow.target, driver)
    if not found:
        return False
    struck = found if blow.target is StrikeTarget.EVERYTHING else [found[blow.pick % len(found)]]
    if blow.blow is Blow.FREEZE:
        return _frozen(struck[0], blow.seconds)
    hits = [_signal(process, signal.SIGKILL) for process in struck]
    return any(hits)


def end_all(driver: psutil.Process) -> None:
    """Kill the remaining processes of a run, including the driver."""
    for process in _targets(StrikeTarget.EVERYTHING, driver):
        _signal(process, signal.SIGKILL)


def _targets(target: StrikeTarget, driver: psutil.Process) -> list[psutil.Process]:
    if target is StrikeTarget.DRIVER:
        return [driver]
    try:
        below = driver.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    if target is StrikeTarget.EVERYTHING:
        return [driver, *below]
    titles = TITLES[target]
    return sorted(
        (process for process in below if _title(process).startswith(titles)), key=lambda process: process.pid
    )


def _title(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _signal(process: psutil.Process, number: signal.Signals) -> bool:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True


def _frozen(process: psutil.Process, seconds: float) -> bool:
    if not _signal(process, signal.SIGSTOP):
        return False
    time.sleep(seconds)
    return _signal(process, signal.SIGCONT)
