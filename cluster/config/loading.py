"""Loads the configuration of this process, and removes its secrets from the log and from errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from actors.core.errors import ConfigError
from actors.core.liveness import LEASE_S, LONGEST_LEASE_S
from actors.core.messages.values import Json
from actors.runtime.log_guard import guard_logs

if TYPE_CHECKING:
    from cluster.config.model import HeadraceConfig


def loaded(path: Path, *, overrides: Sequence[str] = (), env: Mapping[str, str]) -> HeadraceConfig:
    """Return the same as `model.load`, and remove the secrets from this process's log and errors.

    Raises `ConfigFileError`.
    """
    from cluster.config.model import load  # noqa: PLC0415 - loads pydantic, which takes longer than most commands

    config = load(path, overrides=overrides, env=env)
    guard_logs(config.censor())
    return config


def longest_lease(paths: Iterable[Json], env: Mapping[str, str]) -> float:
    """Return the longest lease that an owner may have, by these configurations and the default."""
    leases = [LEASE_S]
    for path in paths:
        if isinstance(path, str | Path):
            try:
                leases.append(lease_of(Path(path), env) or LEASE_S)
            except ConfigError:  # it may be deleted, or damaged
                continue
    return float(max(leases))


def lease_of(path: Path, env: Mapping[str, str]) -> float | None:
    """Return `store.lease_s` of the YAML file at `path`, None if it has none.

    A store may name any file: its other keys, which may name modules and files, are not used. Raises
    `ConfigFileError`.
    """
    from cluster.config.file import read  # noqa: PLC0415 - loads ruamel
    from cluster.config.paths import value_at  # noqa: PLC0415 - same

    if not path.is_file():  # to open a pipe would wait indefinitely
        return None
    found = value_at(read(path, (), env).values, ("store", "lease_s"))
    try:
        lease_s = float(found)
    except (TypeError, ValueError):
        return None
    return lease_s if 0 < lease_s <= LONGEST_LEASE_S else None
