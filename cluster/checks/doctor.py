"""Checks the machine and the store for frequent problems.

The checks cost no money and change nothing that a run reads. Each gives one finding, with advice if there is
a problem. A check that this machine does not support is omitted.
"""

from __future__ import annotations

import enum
import importlib.metadata
import os
import resource
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from actors.core.errors import ConfigError, StoreError, text_of
from actors.core.journal.batch import WriteBatch
from actors.core.journal.format import check_format
from actors.journal.stores.base import Store
from actors.journal.stores.opening import MemorySettings, SqliteSettings, open_store
from actors.journal.stores.sqlite import SqliteStore
from cluster.config.kinds.store import StoreKeys
from cluster.config.model import HeadraceConfig
from cluster.input.local_copy import is_url
from cluster.ray.private_directory import root_path

OLDEST_PYTHON = (3, 11)
RAY = "2.60"
ACTOR_BYTES = 150 << 20  # measured resident memory, mostly of Python and Ray
RAY_BYTES = 1 << 30  # of Ray's own processes and its object store
LOW_DISK_BYTES, FULL_DISK_BYTES = 1 << 30, 100 << 20
SPARE_FILES = 256  # files that a process opens in addition to its requests
_PROBE = b"~doctor"  # sorts after all keys of the journal
_CONNECT_S = 3.0


class Level(enum.StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARN = "warn"  # a run may fail
    FAIL = "fail"  # a run will fail


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check. `advice` says what to do; it is empty if there is no problem."""

    name: str
    level: Level
    found: str
    advice: str = ""


def check_machine(
    config: HeadraceConfig | None, env: Mapping[str, str], *, is_local: bool
) -> Iterator[Finding]:
    """Check what a run of `config` needs of this machine; without one, what every run needs.

    is_local: whether the run has the local engine, with all actors in one process and without Ray.
    """
    yield _python()
    yield _ray()
    yield from _disks(config, is_local=is_local)
    yield _ports()
    if env.get("RAY_ADDRESS") and not is_local:
        yield _cluster(env["RAY_ADDRESS"])
    if config is not None:
        yield from _memory(config, is_local=is_local)
        yield _files(config, is_local=is_local)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Finding("python", Level.FAIL, f"Python {version}", "use Python 3.11 or newer")
    return Finding("python", Level.OK, f"Python {version}")


def _ray() -> Finding:
    try:
        version = importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        return Finding(
            "ray", Level.FAIL, "Ray is not installed", "install what pyproject.toml names: make install"
        )
    if not version.startswith(f"{RAY}."):
        advice = f"install Ray {RAY}: Headrace is tested with that version"
        return Finding("ray", Level.WARN, f"Ray {version}", advice)
    return Finding("ray", Level.OK, f"Ray {version}")


def _disks(config: HeadraceConfig | None, *, is_local: bool) -> Iterator[Finding]:
    places = {} if is_local else {"sessions of Ray": root_path()}
    if config is not None and not is_url(config.output.directory):
        places["results"] = Path(config.output.directory)
    settings = None if config is None else config.store.settings()
    if isinstance(settings, SqliteSettings):
        places["the store"] = Path(settings.path).parent
    for what, path in places.items():
        there = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
        free = shutil.disk_usage(there).free
        found = f"{_bytes(free)} free for {what} ({there})"
        level = Level.OK if free >= LOW_DISK_BYTES else Level.WARN if free >= FULL_DISK_BYTES else Level.FAIL
        yield Finding(
            "disk", level, found, "" if level is Level.OK else "free space, or name another directory"
        )


def _ports() -> Finding:
    try:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            socket.create_connection(listener.getsockname(), _CONNECT_S).close()
    except OSError as error:
        found = f"no connection over 127.0.0.1: {text_of(error)}"
        return Finding(
            "ports", Level.FAIL, found, "permit connections between processes over the loopback address"
        )
    return Finding("ports", Level.OK, "processes can connect over 127.0.0.1")


def _cluster(address: str) -> Finding:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except (OSError, ValueError) as error:
        advice = (
            "unset RAY_ADDRESS, or set it to the host:port of a running cluster; else runs end with code 4"
        )
        return Finding(
            "cluster", Level.FAIL, f"nothing answers at RAY_ADDRESS={address}: {text_of(error)}", advice
        )
    return Finding("cluster", Level.OK, f"something answers at RAY_ADDRESS={address}")


def _memory(config: HeadraceConfig, *, is_local: bool) -> Iterator[Finding]:
    available = _available_bytes()
    if available is None:
        return
    cores = os.cpu_count() or 1
    actors = len(config.sources) + config.llm.clients + config.cluster.pipelines + 2
    needed, users = (actors + cores) * ACTOR_BYTES + RAY_BYTES, f"{actors} actors and {cores} workers"
    advice = "use fewer llm.clients, cluster.pipelines or sources, or a machine with more memory"
    if is_local:
        needed, users, advice = ACTOR_BYTES, "one process", "use a machine with more memory"
    found = f"{_bytes(available)} available for {users} (about {_bytes(needed)})"
    if available >= needed:
        yield Finding("memory", Level.OK, found)
    else:
        yield Finding("memory", Level.WARN, found, advice)


def _available_bytes() -> int | None:
    """Return the available memory of the machine, or of the container if that is less."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        known = dict(line.split(":", 1) for line in lines)
        available = int(known["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None  # not Linux
    group = Path("/sys/fs/cgroup")
    try:
        most = int((group / "memory.max").read_text())
        return min(available, most - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        return available  # no container, or one without a limit


def _files(config: HeadraceConfig, *, is_local: bool) -> Finding:
    in_flight = sum(endpoint.max_in_flight for endpoint in config.llm.endpoints)
    if config.llm.simulator is not None:
        in_flight = config.llm.simulator.max_in_flight
    clients = 1 if is_local else config.llm.clients
    needed = -(-in_flight // clients) + SPARE_FILES
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = "any number of" if soft == resource.RLIM_INFINITY else f"{soft:,}"
    found = (
        f"a process may open {allowed} files; {in_flight:,} requests in flight need {needed:,} in each client"
    )
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return Finding("files", Level.OK, found)
    more = "" if is_local else "more llm.clients or "
    advice = f"set ulimit -n {needed}, or use {more}a lower max_in_flight"
    return Finding("files", Level.FAIL, found, advice)


# ---- the store -------------------------------------------------------------------------------------------


def check_store(configured: StoreKeys) -> Iterator[Finding]:
    """Check that the store can be opened, read and written; verify every value of a file store."""
    settings = configured.settings()
    if isinstance(settings, MemorySettings):
        advice = "to resume runs, set store.kind to sqlite, postgres or redis"
        yield Finding("store", Level.WARN, "store.kind is memory: the store ends with its run", advice)
        return
    if isinstance(settings, SqliteSettings) and not Path(settings.path).exists():
        yield _place_for(Path(settings.path))
        return
    try:
        store = open_store(settings)
    except (ConfigError, StoreError) as error:
        yield Finding("store", Level.FAIL, str(error), "follow the advice in the message")
        return
    try:
        yield from _opened(store, configured.kind)
    finally:
        store.close()


def _place_for(path: Path) -> Finding:
    there = next(each for each in path.parents if each.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        advice = "permit writing there, or name another path (store.path)"
        return Finding("store", Level.FAIL, f"{path} cannot be created: {there} is not writable", advice)
    return Finding("store", Level.OK, f"there is none yet; the first run creates {path}")


def _opened(store: Store, kind: str) -> Iterator[Finding]:
    for note in store.notes():
        yield Finding("store", Level.WARN, note, "nothing to do: it is repaired, and reported once")
    try:
        check_format(store)
        store.commit(WriteBatch({_PROBE: b"1"}))
        store.commit(WriteBatch(deletions=[(_PROBE, _PROBE + b"\0")]))
        yield Finding("store", Level.OK, f"the {kind} store can be read and written")
        if isinstance(store, SqliteStore):
            damages = store.damages()
            for damage in damages:
                yield Finding(
                    "store", Level.FAIL, damage, "restore it from a copy, or name another store.path"
                )
            if not damages:
                yield Finding("store", Level.OK, "no value in it is damaged")
    except StoreError as error:
        yield Finding("store", Level.FAIL, str(error), "follow the advice in the message")


def _bytes(count: int) -> str:
    return f"{count / (1 << 30):,.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):,.0f} MiB"
