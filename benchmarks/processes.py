"""Processor time and memory of a process and its descendants, by role."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import psutil

_RAY_ITSELF = {"raylet", "gcs_server", "DashboardAgent", "RuntimeEnvAgent"}


def family(root: int, apart: Collection[int] = ()) -> Iterator[psutil.Process]:
    """Yield the process `root` and its descendants, without those in `apart` and their descendants."""
    try:
        top = psutil.Process(root)
        members = [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    outside = set(apart)
    for process in members:  # a parent comes before its children
        if process.pid in outside or _parent(process) in outside:
            outside.add(process.pid)
        else:
            yield process


def processor_s(root: int, apart: Collection[int] = ()) -> float:
    """Return the processor time of a family so far, including children that have ended."""
    return sum(seconds for _, seconds in _processor_times(root, apart))


def processor_by_role(root: int, apart: Collection[int] = ()) -> dict[str, float]:
    """Return the processor time of a family so far, by role."""
    spent: dict[str, float] = defaultdict(float)
    for process, seconds in _processor_times(root, apart):
        spent[role(process, root)] += seconds
    return dict(spent)


def resident_by_role(root: int, apart: Collection[int] = ()) -> dict[str, int]:
    """Return the resident bytes of a family, by role."""
    held: dict[str, int] = defaultdict(int)
    for process in family(root, apart):
        try:
            held[role(process, root)] += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return dict(held)


def more(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """Return how much each role has grown."""
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


def role(process: psutil.Process, root: int) -> str:
    """Return the role of a process: the class of an actor, Ray's program, or the module."""
    try:
        words = process.cmdline()
    except psutil.NoSuchProcess:
        words = []
    if not words:
        return "ended"
    title = words[0]
    if title.startswith("ray::"):
        return _role_at_ray(title.removeprefix("ray::").split(".")[0].split("(")[0].split(":")[0].strip())
    if _RAY_ITSELF & {Path(word).name for word in words[:3]} or "/ray/" in " ".join(words[:3]):
        return "Ray itself"
    return "driver" if process.pid == root else Path(title).name


def _role_at_ray(name: str) -> str:
    if name in _RAY_ITSELF:
        return "Ray itself"
    return "workers" if name in ("IDLE", "") or name[0].islower() else name.removesuffix("Actor")


def _processor_times(root: int, apart: Collection[int]) -> Iterator[tuple[psutil.Process, float]]:
    for process in family(root, apart):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # it ended after it was listed: its parent accounts for its time
        yield process, times.user + times.system + times.children_user + times.children_system


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return 0
