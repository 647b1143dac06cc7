"""Finds the store that an argument of a command names: a file, the URL of a database, or a configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from actors.core.errors import ConfigError
from actors.journal.stores.opening import (
    MemorySettings,
    PostgresSettings,
    RedisSettings,
    SqliteSettings,
    StoreSettings,
)
from cluster.config.loading import loaded

_CONFIGS = (".yaml", ".yml", ".json")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def settings_of(place: str, env: Mapping[str, str]) -> StoreSettings:
    """Return the settings of the store. Raises `ConfigError`."""
    if "://" in place:
        return _of_url(place, env)
    if place.endswith(_CONFIGS):
        settings = loaded(Path(place), env=env).store.settings()
        if isinstance(settings, MemorySettings):
            raise ConfigError(
                f"store.kind of {place} is memory: such a store ends with the process that has it"
            )
        return settings
    path = Path(place)
    if path.is_dir():
        raise ConfigError(f"{place} is a directory: name the file of the store in it, such as state.db")
    return SqliteSettings(str(path.absolute()))


def config_of(place: str) -> Path | None:
    """Return the configuration that `place` names, None if it names a store."""
    return Path(place) if "://" not in place and place.endswith(_CONFIGS) else None


def _of_url(place: str, env: Mapping[str, str]) -> StoreSettings:
    parts = urlsplit(place)
    if parts.password and not _VARIABLE.fullmatch(parts.password):
        raise ConfigError(
            "the URL of the store shows a password to all users of this machine: write ${NAME} in its place, "
            "in single quotes, and set the variable NAME; or name a configuration"
        )
    missing = [name for name in _VARIABLE.findall(place) if name not in env]
    if missing:
        raise ConfigError(f"the URL of the store names the variable {missing[0]}, which is not set")
    url = _VARIABLE.sub(lambda found: env[found[1]], place)
    if parts.scheme in {"postgresql", "postgres"}:
        return PostgresSettings(url)
    if parts.scheme in {"redis", "rediss", "unix"}:
        return RedisSettings(url)
    raise ConfigError(
        f"{parts.scheme}:// names no store: use postgresql://…, redis://…, the path of a SQLite file, or a "
        "configuration"
    )
