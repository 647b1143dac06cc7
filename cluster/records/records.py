"""Opens a store without a cluster, and finds a run and its start in it."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from actors.core.errors import ConfigError, StoreError
from actors.core.journal.batch import CheckedCodec
from actors.core.journal.format import check_format
from actors.core.journal.reads import list_runs, read_run
from actors.core.journal.runs import refuse_changed
from actors.core.messages.journal import OpenRun, RunView
from actors.journal.stores.base import Store
from actors.journal.stores.codec import JsonCodec
from actors.journal.stores.opening import (
    DEFAULT_PATH,
    MemorySettings,
    SqliteSettings,
    StoreSettings,
    open_store,
)
from cluster.config.loading import loaded
from cluster.config.problem import nearest
from cluster.program import program

CODEC = JsonCodec()
_ADVICE = "use the directory in which the run was started, or name its configuration with --config"


@dataclass(frozen=True, slots=True)
class RunStart:
    """The inputs with which a run was started.

    With the overrides for the keys `withheld`, which are secret, and `asked`, which a store may not decide,
    they suffice to load its configuration again.
    """

    path: Path
    overrides: tuple[str, ...]
    withheld: tuple[str, ...]
    asked: tuple[str, ...]
    limit: int | None


@contextlib.contextmanager
def opened(config: Path | None, env: Mapping[str, str]) -> Iterator[Store]:
    """Open the store that `config` names, or the default store. Raises `ConfigError` if it does not exist."""
    with opened_store(store_settings(config, env), may_lock=True) as found:
        yield found


def store_settings(config: Path | None, env: Mapping[str, str]) -> StoreSettings:
    """Return the settings of the store that `config` names, or of the default store."""
    if config is None:
        return SqliteSettings(str(Path(DEFAULT_PATH).absolute()))
    return loaded(config, env=env).store.settings()


@contextlib.contextmanager
def opened_store(settings: StoreSettings, *, may_lock: bool = False, advice: str = "") -> Iterator[Store]:
    """Open an existing store. Raises `ConfigError` if it does not exist, and the errors of the store.

    `may_lock` is that of `open_store`. `advice` says what to do if there is no store.
    """
    if absence := _absence(settings, advice or _ADVICE):
        raise ConfigError(absence)
    found = open_store(settings, may_lock=may_lock)
    try:
        check_format(found)
        yield found
    finally:
        found.close()


@contextlib.contextmanager
def store_if_any(settings: StoreSettings) -> Iterator[Store | None]:
    """Open a store as `opened_store` does, or yield None if it does not exist yet."""
    if _absence(settings, _ADVICE):
        yield None
        return
    with opened_store(settings) as found:
        yield found


def _absence(settings: StoreSettings, advice: str) -> str:
    """Return why there is no store yet, empty if there may be one."""
    if isinstance(settings, SqliteSettings) and not Path(settings.path).exists():
        return f"there is no store at {settings.path}: {advice}"
    if isinstance(settings, MemorySettings):
        return "store.kind is memory: the store ends with its run"
    return ""


def found_run(store: Store, run_id: str) -> RunView:
    """Return a run. Raises `ConfigError`, which suggests the nearest id, if there is no such run."""
    run = read_run(store, CODEC, run_id)
    if run is None:
        near = nearest(run_id, [known.run_id for known in list_runs(store, CODEC, limit=1000)])
        hint = f"did you mean {near}?" if near else f"`{program()} runs` lists the runs"
        raise ConfigError(f"there is no run {run_id}: {hint}")
    return run


def refuse_changed_run(settings: StoreSettings, record: OpenRun) -> None:
    """Raise `ConfigChangedError` if the run of `record` began with another configuration.

    Does nothing if this process cannot read the store: the journal compares them too.
    """
    with contextlib.suppress(StoreError), store_if_any(settings) as store:
        if store is not None:
            refuse_changed(store, CheckedCodec(CODEC), record)


def start_of(run_id: str, config: Path | None, env: Mapping[str, str]) -> RunStart:
    """Return the inputs of a run. If its configuration has been moved, `config` is the configuration.

    Raises `ConfigError` if the run or its configuration does not exist, or another user owns the latter.
    """
    from cluster.records.stored_overrides import divided  # noqa: PLC0415 - loads ruamel

    with opened(config, env) as store:
        origin = found_run(store, run_id).origin
    if not origin.get("path"):
        raise ConfigError(
            f"run {run_id} was not started with a configuration file: `{program()} run CONFIG --run-id "
            f"{run_id}` continues it with one"
        )
    path = Path(origin["path"])
    if not path.exists():
        if config is None:
            here = Path(path.name)
            raise ConfigError(
                f"run {run_id} was started with the configuration {path}, which no longer exists: if it was "
                f"moved, add --config {shlex.quote(str(here)) if here.exists() else 'PATH'}"
            )
        path = config  # the user names it, not the store
    elif not is_of_user(path):
        raise ConfigError(
            f"the configuration {path}, which the store names, belongs to another user: if you trust it, "
            f"use `{program()} run CONFIG --run-id {run_id}`"
        )
    kept, asked = divided(origin["overrides"])
    return RunStart(path, tuple(kept), tuple(origin["withheld"]), tuple(asked), origin["limit"])


def is_of_user(path: Path) -> bool:
    """Return whether this user, root, or the owner of the working directory owns the file `path`."""
    return path.stat().st_uid in (0, os.geteuid(), Path.cwd().stat().st_uid)


def with_overrides(start: RunStart, overrides: list[str]) -> list[str]:
    """Return the overrides of the run's start, followed by `overrides`.

    Raises `ConfigError` if `overrides` lacks one that the store does not hold, or may not decide.
    """
    known = {override.partition("=")[0] for override in overrides}
    reasons = {
        "secrets are not stored": start.withheld,
        "what names code, hosts, attachments or variables is not taken from a store": start.asked,
    }
    lacking = {why: [key for key in keys if key not in known] for why, keys in reasons.items()}
    if missing := dict.fromkeys(key for keys in lacking.values() for key in keys):
        whys = "; ".join(why for why, keys in lacking.items() if keys)
        wanted = " ".join(f"--set {key}=…" for key in missing)
        raise ConfigError(f"{whys}: give {wanted} again")
    return [*start.overrides, *overrides]
